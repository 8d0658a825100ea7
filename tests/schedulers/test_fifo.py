"""FIFO: trials run to the end in the order of their proposals."""

from math import inf

from asynctune.schedulers.base import COMPLETE, CONTINUE, Exhausted, Propose, Start, Wait
from asynctune.schedulers.fifo import FIFO
from asynctune.searchers.base import Observation, Pending, Proposal


def started(fifo, n):
    for k in range(n):
        assert fifo.next() == Propose(k, len(fifo.snapshot().observations))
        assert fifo.next() == Wait("proposal")
        fifo.accept(Proposal(k, {"x": k}))
        assert fifo.next() == Start(k, 9)
    return fifo


def test_trials_run_to_the_end():
    fifo = started(FIFO(max_resource=9), 2)
    assert fifo.config(1) == {"x": 1}
    for level in range(1, 9):
        assert fifo.report(1, level, 9.0 - level) is CONTINUE
    assert fifo.snapshot().observations == []
    assert fifo.report(1, 9, 0.5) is COMPLETE
    fifo.finished(1, failed=False)
    assert fifo.snapshot().observations == [Observation(1, 9, 0.5)]
    assert fifo.snapshot().pending == (Pending({"x": 0}, 9),)


def test_a_trial_that_ends_early_counts_with_its_last_value():
    fifo = started(FIFO(max_resource=9), 4)
    fifo.report(0, 4, 0.4)
    fifo.finished(0, failed=False)
    fifo.finished(1, failed=False)  # without a report: of no use to the searcher
    fifo.report(2, 4, 0.1)
    fifo.finished(2, failed=True)
    fifo.report(3, 4, inf)
    fifo.finished(3, failed=False)
    snapshot = fifo.snapshot()
    assert snapshot.observations == [Observation(0, 9, 0.4), Observation(3, 9, inf)]
    assert snapshot.failed == {2}
    assert snapshot.pending == ()


def test_the_end_of_the_space():
    fifo = started(FIFO(max_resource=9), 1)
    assert fifo.next() == Propose(1, 0)
    fifo.accept(Proposal(1, None))
    assert fifo.next() == Wait("exhausted")
    assert fifo.ahead(3) is None
    fifo.report(0, 9, 1.0)
    assert fifo.next() == Exhausted()


def test_what_was_started_is_brought_to_its_end():
    fifo = started(FIFO(max_resource=9), 1)
    assert fifo.ahead(1) == Propose(1, 0)
    fifo.accept(Proposal(1, {"x": 1}))
    assert fifo.next(new=False) == Wait("draining")
    fifo.report(0, 9, 1.0)
    assert fifo.next(new=False) == Exhausted()
    assert fifo.next() == Start(1, 9)


def test_settings():
    assert FIFO(max_resource=9).describe() == {"scheduler": "FIFO", "max_resource": 9}
