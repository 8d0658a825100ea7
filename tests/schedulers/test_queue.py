"""The queue of proposals that every scheduler owns."""

import pytest

from asynctune.exceptions import IllegalEventError
from asynctune.schedulers.base import Propose
from asynctune.schedulers.queue import ProposalQueue
from asynctune.searchers.base import Fit, Observation, Pending, Proposal


def config(k):
    return {"x": k}


def test_one_proposal_at_a_time_and_in_order():
    queue = ProposalQueue()
    assert queue.take() is None
    assert queue.ask() == Propose(0, 0)
    assert queue.asked
    assert queue.ahead(5) is None
    queue.accept(Proposal(0, config(0)), 3)
    assert not queue.asked
    assert queue.ahead(1) is None
    assert queue.ahead(2) == Propose(1, 0)
    queue.accept(Proposal(1, config(1)), 3)
    assert (queue.take(), queue.take(), queue.take()) == (0, 1, None)
    assert queue.configs == [config(0), config(1)]


@pytest.mark.parametrize("k", [0, 2])
def test_what_was_not_asked_for_is_refused(k):
    queue = ProposalQueue()
    with pytest.raises(IllegalEventError, match=f"proposal {k} was not asked for; asked for: None"):
        queue.accept(Proposal(k, config(k)), 1)
    queue.ask()
    queue.accept(Proposal(0, config(0)), 1)
    queue.ask()
    with pytest.raises(IllegalEventError, match="asked for: 1"):
        queue.accept(Proposal(k, config(k)), 1)
    assert queue.asked
    assert queue.configs == [config(0)]


def test_no_config_means_that_the_space_is_exhausted():
    queue = ProposalQueue()
    queue.ask()
    queue.accept(Proposal(0, None), 1)
    assert queue.exhausted
    assert not queue.asked
    assert queue.ahead(5) is None
    assert queue.snapshot().configs == []


def test_pending_is_of_what_a_value_is_to_come():
    queue = ProposalQueue()
    for k in range(4):
        queue.ask()
        queue.accept(Proposal(k, config(k)), 1)
    queue.take()
    queue.expect(0, 3)
    queue.settle(1)
    queue.settle(2, failed=True)
    queue.settle(99)
    snapshot = queue.snapshot()
    assert snapshot.pending == (Pending(config(0), 3), Pending(config(3), 1))
    assert snapshot.failed == {2}


def test_a_snapshot_does_not_change():
    queue = ProposalQueue()
    queue.ask()
    queue.accept(Proposal(0, config(0), Fit((1.0,), 0)), 1)
    queue.observe(0, 1, 5.0)
    before = queue.snapshot()
    assert before[2:] == (1, (Pending(config(0), 1),), frozenset(), Fit((1.0,), 0))
    queue.observe(0, 3, 4.0)
    queue.settle(0, failed=True)
    queue.ask()
    queue.accept(Proposal(1, config(1)), 1)
    assert before.observations[: before.length] == [Observation(0, 1, 5.0)]
    assert before[2:] == (1, (Pending(config(0), 1),), frozenset(), Fit((1.0,), 0))
    after = queue.snapshot()
    assert after.observations is before.observations  # never copied
    assert after.length == 2
    assert after.fit == Fit((1.0,), 0)  # the last one that there was
