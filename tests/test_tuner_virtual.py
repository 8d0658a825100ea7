"""The tuner in virtual time."""

from collections import deque
from itertools import pairwise
from math import inf

import anyio
import pytest
from small_experiments import CLUSTERS, METHODS, Landscape, journal_of, small_experiment
from tuners import Counting, make_ledger, open_journal

from asynctune import virtualtime
from asynctune.events import CapacityChanged, Cause, Ended, Failed, Report
from asynctune.exceptions import DeadlockError
from asynctune.experiment import JOURNAL, run_experiment
from asynctune.journal import read_lines
from asynctune.proposer import InlineProposer
from asynctune.replay import replay
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.fifo import FIFO
from asynctune.stopping import RetryPolicy
from asynctune.testing import check_ledger
from asynctune.tuner import Tuner
from sims.backend import SimulatedBackend
from sims.profiles import local


class Scripted:
    """A backend under virtual time that delivers given events, whatever it is told."""

    virtual_time = True

    def __init__(self, events):
        self.script, self.log = deque(events), []

    def describe(self):
        return {}

    async def open(self, clock):
        self.clock, self.loop = clock, virtualtime.current_loop()

    def ready_at(self, order):
        return None

    async def start(self, order):
        self.log.append((self.clock(), "start", order.trial, order.attempt))

    async def pause(self, trial, attempt):
        self.log.append((self.clock(), "pause", trial, attempt))

    async def stop(self, trial, attempt):
        self.log.append((self.clock(), "stop", trial, attempt))

    async def discard(self, trial):
        self.log.append((self.clock(), "discard", trial))

    async def recover(self, expected):
        return {(e.order.trial, e.order.attempt): "running" for e in expected}

    def poll(self, until):
        batch = []
        while self.script and self.script[0].time <= self.clock():
            batch.append(self.script.popleft())
        return batch

    async def events(self, until):
        await anyio.sleep_until(min(self.script[0].time if self.script else inf, until))
        return self.poll(until)

    async def aclose(self, *, leave_running):
        pass


def virtually(path, backend, ledger, *, searcher=None, cost=0.0, during=None, start=0.0):
    async def main():
        writer = open_journal(path, durable=False)
        tuner = Tuner(
            ledger,
            backend,
            writer,
            InlineProposer(searcher or Counting(), cost),
            virtualtime.current_loop().time,
            observer=lambda ledger, now: check_ledger(ledger),
        )
        try:
            async with anyio.create_task_group() as tasks:
                if during is not None:
                    tasks.start_soon(during, tuner)
                outcome = await tuner.run()
                tasks.cancel_scope.cancel()
        finally:
            writer.close()
        return outcome

    outcome = virtualtime.run(main, start=start)
    return outcome, list(read_lines(path))


def report(time, trial, index, resource, loss=1.0, attempt=0):
    return Report(time, trial, attempt, index, resource, {"loss": loss})


def simulated(landscape=None, **options):
    profile = local().with_options({"prices": {}, "startup_delay": 0.0, **options})
    return SimulatedBackend(landscape or Landscape(), profile, metric="loss", seed=0)


def test_an_event_at_the_deadline_counts_and_what_follows_from_it_does_not(tmp_path):
    backend = Scripted(
        [
            report(10.0, 0, 0, 4),
            Ended(10.0, 0, 0),
            report(10.0, 1, 0, 1),
            report(10.0 + 1e-9, 1, 1, 2),
        ]
    )
    ledger = make_ledger(max_wallclock_time=10.0)
    outcome, lines = virtually(tmp_path / "j", backend, ledger)
    assert outcome == ("max_wallclock_time", 10.0)
    assert ledger.reports == 2
    assert len(ledger.trials) == 2  # the worker that came free at the deadline starts nothing
    assert [line["event"] for line in lines[-4:]] == ["report", "ended", "report", "finished"]


def test_events_of_the_deadline_come_before_it_in_several_batches(tmp_path):
    # Epochs of one second without delays: a pause, a promotion and a start fall on the deadline.
    ledger = make_ledger(
        ASHA(max_resource=27, continue_in_place=False),
        max_resource=27,
        max_wallclock_time=2.0,
    )
    backend = simulated(Landscape(lock_step=True))
    outcome, lines = virtually(tmp_path / "j", backend, ledger, searcher=Counting())
    assert outcome == ("max_wallclock_time", 2.0)
    at_deadline = [line["event"] for line in lines if line["t"] == 2.0]
    assert at_deadline == ["report", "paused", "report", "paused", "finished"]


def test_a_deadline_without_events(tmp_path):
    outcome, lines = virtually(tmp_path / "j", Scripted([]), make_ledger(max_wallclock_time=12.5))
    assert outcome == ("max_wallclock_time", 12.5)
    assert lines[-1]["t"] == 12.5


@pytest.mark.parametrize(
    ("bounds", "count"),
    [
        ({"max_evaluations": 7}, lambda ledger: ledger.reports == 7),
        ({"max_resource_total": 9}, lambda ledger: ledger.resource_total == 9),
        ({"max_cost": 0.01}, lambda ledger: ledger.cost >= 0.01),
        ({"metric_value": 0.5}, lambda ledger: ledger.best_metric <= 0.5),
    ],
)
def test_bounds_end_the_experiment_with_the_report_that_reaches_them(bounds, count, tmp_path):
    profile = {"instance_type": "ml.g4dn.xlarge", "prices": {"ml.g4dn.xlarge": 0.736}}
    ledger = make_ledger(n_workers=3, max_resource=27, **bounds)
    outcome, lines = virtually(
        tmp_path / "j", simulated(Landscape(lock_step=True), **profile), ledger
    )
    assert outcome.reason == next(iter(bounds))
    assert count(ledger)
    assert [line["event"] for line in lines[-2:]] == ["report", "finished"]
    assert lines[-1]["t"] == lines[-2]["t"] == outcome.time


@pytest.mark.parametrize("kind", [FIFO, ASHA])
def test_an_exhausted_space_ends_the_experiment_when_all_trials_have(kind, tmp_path):
    ledger = make_ledger(kind(max_resource=27), n_workers=3, max_resource=27, max_trials=99)
    outcome, lines = virtually(tmp_path / "j", simulated(), ledger, searcher=Counting(size=5))
    assert outcome.reason == "exhausted"
    assert len(ledger.trials) == 5
    assert not ledger.busy
    idle = [line["workers"] for line in lines if line["event"] == "idle"]
    assert {"exhausted"} == {reason for workers in idle for reason in workers}
    answers = [line["config"] for line in lines if line["event"] == "proposal_ready"]
    assert len(answers) == 6
    assert answers[-1] is None


def test_max_trials_drains(tmp_path):
    ledger = make_ledger(n_workers=3, max_resource=27, max_trials=5)
    outcome, lines = virtually(tmp_path / "j", simulated(), ledger)
    assert outcome.reason == "max_trials"
    assert all(trial.finished and trial.highest == 27 for trial in ledger.trials)
    assert len(ledger.trials) == 5
    assert sum(line["event"] == "proposal_ready" for line in lines) == 5
    idle = [line["workers"] for line in lines if line["event"] == "idle"]
    assert idle == [{"draining": 1}, {"draining": 2}, {"draining": 3}]


def test_too_many_failures_end_the_experiment(tmp_path):
    backend = Scripted([Failed(t + 1.0, t, 0, Cause.USER_ERROR, "bug") for t in range(9)])
    ledger = make_ledger(n_workers=9, max_trials=99, retries=RetryPolicy(max_failures=2))
    outcome, _ = virtually(tmp_path / "j", backend, ledger)
    assert outcome == ("max_failures", 3.0)
    assert [line[1:] for line in backend.log if line[1] == "discard"] == [
        ("discard", t) for t in range(3)
    ]


def test_a_retry_waits_out_its_back_off_and_others_go_first(tmp_path):
    backend = Scripted(
        [
            Failed(5.0, 0, 0, Cause.INFRASTRUCTURE, "gone"),
            report(20.0, 1, 0, 4),
            Ended(20.0, 1, 0),
            report(21.0, 0, 0, 4, attempt=1),
            Ended(21.0, 0, 1),
        ]
    )
    ledger = make_ledger(n_workers=1, max_trials=2, retries=RetryPolicy(backoff=8.0))
    outcome, _ = virtually(tmp_path / "j", backend, ledger)
    starts = [entry for entry in backend.log if entry[1] == "start"]
    # Its worker went to another trial meanwhile, so it waits for that one, without turning.
    assert starts == [(0.0, "start", 0, 0), (5.0, "start", 1, 0), (20.0, "start", 0, 1)]
    assert outcome == ("max_trials", 21.0)


def test_a_retry_waits_for_capacity_without_turning(tmp_path):
    backend = Scripted(
        [
            CapacityChanged(0.0, 1, "quota"),
            Failed(5.0, 0, 0, Cause.INFRASTRUCTURE, "gone"),
            report(20.0, 1, 0, 4),
            Ended(20.0, 1, 0),
            report(21.0, 0, 0, 4, attempt=1),
            Ended(21.0, 0, 1),
        ]
    )
    ledger = make_ledger(n_workers=2, max_trials=2, retries=RetryPolicy(backoff=8.0))
    outcome, _ = virtually(tmp_path / "j", backend, ledger)
    starts = [entry for entry in backend.log if entry[1] == "start"]
    assert starts == [(0.0, "start", 0, 0), (5.0, "start", 1, 0), (20.0, "start", 0, 1)]
    assert outcome == ("max_trials", 21.0)


def test_a_retry_is_made_at_the_end_of_its_back_off(tmp_path):
    backend = Scripted([Failed(5.0, 0, 0, Cause.INFRASTRUCTURE, "gone"), report(60.0, 1, 0, 4)])
    ledger = make_ledger(n_workers=2, max_wallclock_time=60.0, retries=RetryPolicy(backoff=8.0))
    _, lines = virtually(tmp_path / "j", backend, ledger, searcher=Counting(size=2))
    starts = [entry for entry in backend.log if entry[1] == "start"]
    assert starts[-1] == (13.0, "start", 0, 1)
    idle = [(line["t"], line["workers"]) for line in lines if line["event"] == "idle"]
    assert idle == [(5.0, {"back-off": 1}), (13.0, {})]


def test_a_costly_decision_takes_virtual_time(tmp_path):
    ledger = make_ledger(n_workers=2, max_resource=27, max_wallclock_time=100.0)
    _, lines = virtually(tmp_path / "j", simulated(), ledger, cost=7.0)
    starts = [line["t"] for line in lines if line["event"] == "start"]
    assert starts[:2] == [7.0, 14.0]
    assert [line["cost"] for line in lines if line["event"] == "proposal_ready"][:2] == [7.0, 7.0]


def test_a_deadlock_names_the_trials(tmp_path):
    class Lost(SimulatedBackend):
        async def start(self, order):
            if order.trial != 1:
                await super().start(order)
            else:
                self._running[order.trial] = None

    profile = local().with_options({"prices": {}})
    backend = Lost(Landscape(), profile, metric="loss", seed=0)
    ledger = make_ledger(n_workers=2, max_resource=27, max_trials=2)
    with pytest.raises(ExceptionGroup) as caught:
        virtually(tmp_path / "j", backend, ledger)
    assert caught.group_contains(DeadlockError, match="running trials: 1")
    fresh = make_ledger(n_workers=2, max_resource=27, max_trials=2)
    assert [e.order.trial for e in replay(fresh, read_lines(tmp_path / "j")).expected] == [1]


def test_other_tasks_share_the_virtual_loop(tmp_path):
    ticks = []

    async def during(tuner):
        while True:
            await anyio.sleep(100.0)
            ticks.append((anyio.current_time(), tuner.ledger.reports))

    alone = make_ledger(n_workers=2, max_resource=27, max_wallclock_time=5000.0)
    outcome, lines = virtually(tmp_path / "alone", simulated(), alone)
    ledger = make_ledger(n_workers=2, max_resource=27, max_wallclock_time=5000.0)
    again, shared = virtually(tmp_path / "shared", simulated(), ledger, during=during)
    assert (outcome, lines) == (again, shared)
    # What falls on the very end may come before or after it.
    assert [t for t, _ in ticks if t < 5000] == [100.0 * k for k in range(1, 50)]
    times = [line["t"] for line in lines if line["event"] == "report"]
    for now, reports in ticks[:-1]:
        assert sum(t < now for t in times) <= reports <= sum(t <= now for t in times)


def test_trials_can_be_awaited_in_virtual_time(tmp_path):
    seen = []

    async def during(tuner):
        for number in (0, 3):
            state = await tuner.trial(number)
            seen.append((number, state, anyio.current_time()))

    ledger = make_ledger(n_workers=2, max_resource=27, max_trials=5)
    _, lines = virtually(tmp_path / "j", simulated(), ledger, during=during)
    ends = {line["trial"]: line["t"] for line in lines if line["event"] == "ended"}
    assert seen == [(0, "ended", ends[0]), (3, "ended", ends[3])]


@pytest.mark.parametrize("stop_delay", [0.0, 30.0])
def test_a_trial_can_be_stopped_by_hand(tmp_path, stop_delay):
    answers = []

    async def during(tuner):
        await anyio.sleep(500.0)
        trial = next(iter(tuner.ledger.busy))
        answers.append((trial, await tuner.trial(trial).stop(), await tuner.trial(trial).stop()))
        answers.append(await tuner.trial(trial))

    def ledger():
        return make_ledger(n_workers=2, max_resource=27, max_wallclock_time=2000.0)

    backend = simulated(stop_delay=stop_delay)
    _, lines = virtually(tmp_path / "j", backend, ledger(), during=during)
    ((trial, first, second), state) = answers
    assert (first, second, state) == (True, False, "ended")
    at = next(n for n, line in enumerate(lines) if line["event"] == "stop")
    assert lines[at] == {"t": 500.0, "event": "stop", "trial": trial, "attempt": 0}
    end = next(x for x in lines[at:] if x["event"] == "ended" and x["trial"] == trial)
    assert end["t"] == 500.0 + stop_delay
    assert not [x for x in lines[at:] if x["event"] == "report" and x["trial"] == trial]
    (expected,) = [x for x in replay(ledger(), lines[: at + 1]).expected if x.order.trial == trial]
    assert expected.commands == (("stop", 500.0),)
    assert replay(ledger(), lines).finished == "max_wallclock_time"


def test_an_end_asked_for_in_virtual_time_comes_with_the_next_instant(tmp_path):
    async def during(tuner):
        await anyio.sleep(500.0)
        tuner.request_end()

    ledger = make_ledger(n_workers=2, max_resource=27, max_wallclock_time=5000.0)
    outcome, lines = virtually(tmp_path / "j", simulated(), ledger, during=during)
    assert outcome.reason == "requested"
    assert 500.0 <= outcome.time < 560.0
    assert lines[-1]["reason"] == "requested"


def test_capacity_that_goes_and_comes(tmp_path):
    backend = Scripted(
        [
            CapacityChanged(0.0, 1, "quota"),
            CapacityChanged(5.0, 3, "quota"),
            CapacityChanged(5.0, 3, "quota"),
            CapacityChanged(6.0, 0, "spot"),
            report(7.0, 0, 0, 4),
            Ended(7.0, 0, 0),
        ]
    )
    ledger = make_ledger(n_workers=3, max_wallclock_time=10.0)
    _, lines = virtually(tmp_path / "j", backend, ledger)
    starts = [entry[0] for entry in backend.log if entry[1] == "start"]
    assert starts == [0.0, 5.0, 5.0]
    idle = [(line["t"], line["workers"]) for line in lines if line["event"] == "idle"]
    assert idle == [(0.0, {"quota": 2}), (5.0, {}), (7.0, {"quota": 1})]
    assert sum(line["event"] == "capacity" for line in lines) == 3


# The invariant, over whole journals.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_worker_is_busy_or_has_a_reason_at_every_instant(method, cluster, tmp_path):
    settings = METHODS[method] | CLUSTERS[cluster]
    experiment = small_experiment(**settings, n_workers=5)
    journal_of(experiment, tmp_path)
    lines = list(read_lines(tmp_path / JOURNAL))
    busy, idle, capacity = set(), {}, 5
    reasons = {"exhausted", "barrier", "proposal", "quota", "back-off", "draining"}
    slots = {}
    for line, following in pairwise(lines):
        match line["event"]:
            case "start":
                assert line["slot"] not in slots.values()
                slots[line["trial"]] = line["slot"]
                busy.add(line["trial"])
            case "paused" | "ended" | "failed":
                busy.remove(line["trial"])
                del slots[line["trial"]]
            case "idle":
                idle = line["workers"]
            case "capacity":
                capacity = line["n"]
        assert len(busy) <= min(5, capacity)
        if following["t"] > line["t"]:
            assert len(busy) + sum(idle.values()) == 5
            assert set(idle) <= reasons
            assert all(n > 0 for n in idle.values())
    times = [line["t"] for line in lines]
    assert times == sorted(times)
    assert lines[-1]["event"] == "finished"


def test_the_observer_sees_every_instant_and_consistent_books(tmp_path):
    times = []

    def observe(ledger, now):
        check_ledger(ledger)
        times.append(now)

    run_experiment(small_experiment(**CLUSTERS["faults"]), tmp_path, observer=observe)
    stamps = {line["t"] for line in read_lines(tmp_path / JOURNAL)}
    assert stamps <= set(times)
    assert times == sorted(times)
