"""Single rules of the ledger."""

from math import inf, nan

import pytest
from ledgers import MAX, make_ledger

from asynctune.events import CapacityChanged, Cause, Ended, Failed, Paused, Report
from asynctune.exceptions import UsageError
from asynctune.ledger import Launch
from asynctune.schedulers.base import Propose, Wait
from asynctune.searchers.base import Proposal
from asynctune.stopping import RetryPolicy
from asynctune.trial import BUSY, TRANSITIONS, State


def started(ledger, now=0.0):
    """Start one more trial."""
    step = ledger.next(now)
    if isinstance(step, Propose):
        ledger.accept(Proposal(step.k, {"x": step.k}))
        step = ledger.next(now)
    assert isinstance(step, Launch)
    return step.order


def report(order, index, resource, value=1.0, time=1.0, cost=0.0):
    return Report(time, order.trial, order.attempt, index, resource, {"loss": value}, cost)


def test_a_trial_promoted_while_it_pauses_goes_on_as_soon_as_it_has_paused():
    ledger = make_ledger("new attempts", n_workers=2)
    first, second = started(ledger), started(ledger)
    assert ledger.observe(report(first, 0, 1, 1.0)).decision.action == "pause"
    assert ledger.observe(report(second, 0, 1, 2.0)).decision.action == "pause"
    ledger.observe(Paused(2.0, second.trial, 0, 1))
    promise = ledger.next(2.0)
    assert promise[:2] == (0, 3)
    assert isinstance(ledger.next(2.0), Propose)
    ledger.observe(Paused(3.0, first.trial, 0, 1))
    assert ledger.trials[0].state is State.QUEUED
    launch = ledger.next(3.0)
    assert launch.why is None
    assert launch.order[:6] == (0, 1, 0, {"x": 0}, 1, 3)


def test_a_trial_stopped_while_it_pauses_is_never_promoted():
    ledger = make_ledger("new attempts", n_workers=2)
    first, second = started(ledger), started(ledger)
    ledger.observe(report(first, 0, 1, 1.0))
    ledger.observe(report(second, 0, 1, 2.0))
    assert ledger.stop(0, 1.5)
    assert not ledger.stop(0, 1.6)
    seen = ledger.observe(Paused(2.0, first.trial, 0, 1))
    assert seen == ("ended", None, True)
    assert isinstance(ledger.next(2.0), Propose)
    assert ledger.story(0)[-2:] == ("stopping at 1.5 s", "ended at 2 s")


def test_epochs_repeated_after_a_restart_from_scratch_are_repeated():
    ledger = make_ledger("FIFO", n_workers=1)
    order = started(ledger)
    for level in (1, 2, 3):
        ledger.observe(report(order, level - 1, level, 9.0 - level, cost=0.1 * level))
    ledger.observe(Failed(5.0, 0, 0, Cause.PREEMPTION, "spot", 0, 0.4))
    again = ledger.next(5.0).order
    assert (again.attempt, again.from_resource) == (1, 0)
    statuses = [ledger.observe(report(again, i, i + 1, 0.0)).status for i in range(4)]
    assert statuses == ["repeated", "repeated", "repeated", "running"]
    assert ledger.reports == 7
    assert ledger.resource_total == 4
    assert ledger.best_metric == 0.0  # of the fourth epoch: repeated ones never count
    assert ledger.cost == pytest.approx(0.4)


def test_each_cause_has_its_own_budget_and_only_infrastructure_waits():
    retries = RetryPolicy(user_error=1, infrastructure=2, preemption=1, timeout=0, backoff=8.0)
    ledger = make_ledger("FIFO", n_workers=1, retries=retries)
    order, now = started(ledger), 0.0
    for cause, wait in (
        (Cause.INFRASTRUCTURE, 8.0),
        (Cause.USER_ERROR, 0.0),
        (Cause.INFRASTRUCTURE, 16.0),
        (Cause.PREEMPTION, 0.0),
    ):
        assert ledger.observe(Failed(now, 0, order.attempt, cause, "")).status == "queued"
        assert ledger.next_due() == now + wait
        if wait:
            step = ledger.next(now + wait - 0.5)
            assert isinstance(step, Propose)
            ledger.accept(Proposal(step.k, None))
            assert ledger.next(now + wait - 0.5) == Wait("back-off")
        now += wait
        order = ledger.next(now).order
        assert order.trial == 0
        if wait:  # the space must not stay exhausted for the next round
            ledger.scheduler._queue.exhausted = False
    seen = ledger.observe(Failed(now, 0, order.attempt, Cause.TIMEOUT, "hung"))
    assert seen == ("failed", None, True)
    assert ledger.trials[0].finished
    assert ledger.next_due() == inf
    assert ledger.failed == 1
    assert ledger.ended is None


def test_too_many_failed_trials_end_the_experiment():
    ledger = make_ledger("FIFO", n_workers=1, retries=RetryPolicy(max_failures=1))
    for trial, over in ((0, None), (1, "max_failures")):
        order = started(ledger)
        ledger.observe(Failed(1.0, trial, order.attempt, Cause.USER_ERROR, "bug"))
        assert ledger.ended == over


def test_a_trial_that_ends_without_any_report_has_failed():
    ledger = make_ledger("FIFO", n_workers=1)
    order = started(ledger)
    assert ledger.observe(Ended(1.0, order.trial, 0)).status == "failed"
    assert ledger.trials[0].failures == {Cause.USER_ERROR: 1}


def test_a_failure_after_the_last_level_changes_nothing():
    ledger = make_ledger("FIFO", n_workers=1)
    order = started(ledger)
    assert ledger.observe(report(order, 0, MAX)).decision.action == "complete"
    assert ledger.observe(report(order, 1, MAX + 1)) == ("late", None, False)
    seen = ledger.observe(Failed(2.0, 0, 0, Cause.USER_ERROR, "while it tidied up"))
    assert seen == ("ended", None, False)
    assert ledger.failed == 0
    assert ledger.scheduler.snapshot().length == 1


def test_a_script_that_pauses_beyond_its_rung_goes_on_beyond_it():
    ledger = make_ledger("new attempts", n_workers=1)
    order = started(ledger)
    assert order.until == 1
    assert ledger.observe(Paused(1.0, 0, 0, 1)).status == "queued"  # it reports even epochs only
    order = ledger.next(1.0).order
    assert (order.from_resource, order.until) == (1, 2)
    assert ledger.observe(report(order, 0, 2)).decision.action == "pause"


def test_a_checkpoint_lies_within_the_training():
    ledger = make_ledger("new attempts", n_workers=2)
    orders = [started(ledger), started(ledger)]
    for k, value in ((0, 1.0), (1, 2.0)):
        ledger.observe(report(orders[k], 0, 1, value))
    for index, level in enumerate(range(2, MAX + 3), start=1):  # its pause took long to arrive
        assert ledger.observe(report(orders[0], index, level)).status == "late"
    ledger.observe(Paused(2.0, 0, 0, MAX + 2))
    order = ledger.next(2.0).order
    assert (order.trial, order.from_resource, order.until) == (0, MAX, MAX)


def test_a_script_that_pauses_without_progress_has_failed():
    ledger = make_ledger("new attempts", n_workers=1)
    started(ledger)
    assert ledger.observe(Paused(1.0, 0, 0, 0)).status == "failed"


def test_nan_and_infinite_values_are_recorded_and_never_win():
    for mode in ("min", "max"):
        ledger = make_ledger("promotion", n_workers=4, mode=mode)
        for value in (nan, inf, -inf):
            order = started(ledger)
            seen = ledger.observe(report(order, 0, 1, value))
            assert seen.decision.action == "pause"
            assert seen.decision.why.value == inf
        assert ledger.best_metric is None
        order = started(ledger)
        assert ledger.observe(report(order, 0, 1, 7.0)).decision.action == "continue"
        assert (ledger.best_metric, ledger.best_trial) == (7.0, 3)


def test_of_equal_values_the_first_is_the_best():
    ledger = make_ledger("FIFO", n_workers=2, mode="max")
    first, second = started(ledger), started(ledger)
    ledger.observe(report(second, 0, 1, 0.5))
    ledger.observe(report(first, 0, 1, 0.5))
    assert (ledger.best_metric, ledger.best_trial) == (0.5, 1)


@pytest.mark.parametrize(
    ("bounds", "reports"),
    [
        ({"max_evaluations": 3}, 3),
        ({"max_resource_total": 5}, 5),
        ({"max_cost": 0.4}, 4),
        ({"metric_value": 3.0}, 7),
    ],
)
def test_bounds_are_reached_with_the_report_that_reaches_them(bounds, reports):
    ledger = make_ledger("FIFO", n_workers=1, **bounds)
    order = started(ledger)
    for i in range(reports):
        assert ledger.ended is None
        ledger.observe(report(order, i, i + 1, 9.0 - i, cost=0.1 * (i + 1)))
    assert ledger.ended == next(iter(bounds))
    ledger.end("something else")
    assert ledger.ended == next(iter(bounds))


def test_the_bound_of_a_maximised_metric():
    ledger = make_ledger("FIFO", n_workers=1, mode="max", metric_value=0.9)
    order = started(ledger)
    ledger.observe(report(order, 0, 1, 0.89))
    assert ledger.ended is None
    ledger.observe(report(order, 1, 2, 0.9))
    assert ledger.ended == "metric_value"


def test_at_max_trials_what_was_started_is_brought_to_its_end():
    ledger = make_ledger("new attempts", n_workers=2, max_trials=2)
    orders = [started(ledger), started(ledger)]
    ledger.observe(report(orders[0], 0, 1, 1.0))
    ledger.observe(Paused(1.0, 0, 0, 1))
    assert ledger.next(1.0) == Wait("draining")
    ledger.observe(report(orders[1], 0, 1, 2.0))
    assert ledger.next(1.0).order[:2] == (0, 1)
    ledger.observe(Paused(1.0, 1, 0, 1))
    assert ledger.next(1.0) == Wait("draining")


def test_less_capacity_lets_what_runs_go_on():
    ledger = make_ledger("FIFO", n_workers=3)
    orders = [started(ledger) for _ in range(3)]
    ledger.observe(CapacityChanged(1.0, 1, "spot"))
    assert ledger.free == -2
    assert ledger.idle_reasons("exhausted") == {}
    ledger.observe(report(orders[0], 0, MAX))
    ledger.observe(Ended(2.0, 0, 0))
    assert ledger.idle_reasons("exhausted") == {"quota": 1}
    ledger.observe(CapacityChanged(3.0, 5, "spot"))
    assert ledger.free == 1
    assert started(ledger, 3.0)[:3] == (3, 0, 0)


def test_arguments_are_checked():
    with pytest.raises(UsageError, match="n_workers must be at least 1; got 0"):
        make_ledger(n_workers=0)
    with pytest.raises(UsageError, match="mode must be min or max; got 'least'"):
        make_ledger(mode="least")


def test_the_table_of_transitions_is_whole():
    """Nothing a backend may tell of a running attempt is left out of the table."""
    for state in BUSY:
        for word in ("started", "report", "paused", "ended", "failed"):
            if (state, word) != (State.STARTING, "started"):
                assert TRANSITIONS[state, word] is not State.STARTING
    for state in set(State) - BUSY:
        told = [after for (s, _), after in TRANSITIONS.items() if s is state]
        assert set(told) <= {State.QUEUED, State.STARTING}
