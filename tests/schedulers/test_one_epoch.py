"""The one-epoch baseline against a look at all first values."""

import random
from math import inf

import pytest

from asynctune.exceptions import UsageError
from asynctune.schedulers.base import COMPLETE, CONTINUE, Exhausted, Propose, Start, Wait
from asynctune.schedulers.one_epoch import OneEpoch
from asynctune.searchers.base import Observation, Pending, Proposal
from asynctune.testing import check_scheduler


def running(scheduler, n):
    """Start `n` trials."""
    for k in range(n):
        assert scheduler.next() == Propose(k, len(scheduler.snapshot().observations))
        scheduler.accept(Proposal(k, {"x": k}))
        assert scheduler.next() == Start(k, scheduler.max_resource)
    return scheduler


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("grace", [1, 3])
def test_those_run_on_that_are_among_the_best_so_far(k, grace):
    stopped_at_first = overtaken = complete = 0
    for seed in range(5):
        chance = random.Random(seed)
        scheduler = OneEpoch(max_resource=9, k=k, grace_period=grace)
        firsts, reached = {}, {}
        for trial in range(80):
            running_now = [t for t in reached if reached[t] is not None]
            while len(running_now) >= 6:
                t = chance.choice(running_now)
                reached[t] += 1
                value = inf if chance.random() < 0.1 else float(chance.randrange(30))
                if reached[t] == grace:
                    firsts[t] = value
                decision = scheduler.report(t, reached[t], value)
                best = sorted((v, j) for j, v in firsts.items() if v < inf)[:k]
                kept = reached[t] < grace or (firsts[t], t) in best
                if not kept:
                    assert decision.action == "stop"
                    cutoff = best[-1][0] if len(best) == k else None
                    assert decision.why == (grace, firsts[t], len(firsts), cutoff)
                    stopped_at_first += reached[t] == grace
                    overtaken += reached[t] > grace
                elif reached[t] == 9:
                    assert decision is COMPLETE
                    complete += 1
                else:
                    assert decision.action == "continue"
                    assert (decision.why is not None) == (reached[t] == grace)
                if decision.action != "continue":
                    scheduler.finished(t, failed=False)
                    reached[t] = None
                    running_now.remove(t)
            scheduler.next()
            scheduler.accept(Proposal(trial, {"x": trial}))
            assert scheduler.next() == Start(trial, 9)
            reached[trial] = 0
    assert min(stopped_at_first, overtaken, complete) > 0


def test_the_searcher_learns_first_and_final_values():
    scheduler = running(OneEpoch(max_resource=3), 2)
    scheduler.report(0, 1, 5.0)
    assert scheduler.snapshot().pending == (Pending({"x": 0}, 3), Pending({"x": 1}, 1))
    scheduler.report(0, 2, 4.0)
    assert scheduler.report(0, 3, 3.0) is COMPLETE
    assert scheduler.report(1, 1, 6.0).action == "stop"
    seen = [Observation(0, 1, 5.0), Observation(0, 3, 3.0), Observation(1, 1, 6.0)]
    assert scheduler.snapshot().observations == seen
    assert scheduler.snapshot().pending == ()


def test_a_complete_trial_keeps_its_place():
    scheduler = running(OneEpoch(max_resource=2), 2)
    scheduler.report(0, 1, 5.0)
    scheduler.report(0, 2, 9.0)
    scheduler.finished(0, failed=False)
    assert scheduler.report(1, 1, 6.0) == ("stop", (1, 6.0, 2, 5.0))


def test_one_that_fails_makes_room():
    scheduler = running(OneEpoch(max_resource=3), 3)
    scheduler.report(0, 1, 5.0)
    scheduler.finished(0, failed=True)
    assert scheduler.report(1, 1, 6.0) == ("continue", (1, 6.0, 2, 6.0))
    scheduler.finished(2, failed=True)
    assert scheduler.report(1, 2, 7.0) is CONTINUE
    assert scheduler.snapshot().failed == {0, 2}


def test_a_trial_that_ends_early_counts_with_its_last_value():
    scheduler = running(OneEpoch(max_resource=9, grace_period=3, k=2), 3)
    scheduler.report(0, 2, 4.0)
    scheduler.finished(0, failed=False)
    scheduler.report(1, 4, 3.0)
    scheduler.report(1, 5, 2.0)
    scheduler.finished(1, failed=False)
    seen = [Observation(0, 3, 4.0), Observation(1, 3, 3.0), Observation(1, 9, 2.0)]
    assert scheduler.snapshot().observations == seen
    assert scheduler.next(new=False) == Wait("draining")
    scheduler.finished(2, failed=False)
    assert scheduler.next(new=False) == Exhausted()


def test_a_report_of_the_last_level_alone_counts_for_both():
    scheduler = running(OneEpoch(max_resource=9), 2)
    assert scheduler.report(0, 9, 4.0) is COMPLETE
    assert scheduler.report(1, 9, 5.0).action == "stop"
    seen = [Observation(0, 1, 4.0), Observation(0, 9, 4.0), Observation(1, 1, 5.0)]
    assert scheduler.snapshot().observations == seen


def test_with_one_level_every_trial_is_complete():
    scheduler = running(OneEpoch(max_resource=1), 2)
    assert scheduler.report(0, 1, 3.0) is COMPLETE
    assert scheduler.report(1, 1, inf) is COMPLETE
    assert scheduler.snapshot().observations == [Observation(0, 1, 3.0), Observation(1, 1, inf)]


@pytest.mark.parametrize("settings", [{}, {"k": 3}, {"grace_period": 4, "k": 2}])
def test_keeps_to_the_protocol(settings):
    for seed in range(3):

        def make():
            return OneEpoch(max_resource=9, **settings)

        check_scheduler(make, max_resource=9, seed=seed)
        check_scheduler(make, max_resource=9, n_workers=1, n_configs=5, seed=seed)
    check_scheduler(lambda: OneEpoch(max_resource=1), max_resource=1)


def test_settings_are_checked_and_told():
    with pytest.raises(UsageError, match="k must be at least 1; got 0"):
        OneEpoch(max_resource=9, k=0)
    with pytest.raises(UsageError, match=r"grace_period must lie between 1 and .* 9; got 10"):
        OneEpoch(max_resource=9, grace_period=10)
    told = OneEpoch(max_resource=9, k=2, grace_period=3).describe()
    assert (told["k"], told["grace_period"], told["reduction_factor"]) == (2, 3, 3.0)
