"""The tuner, in real time and in virtual time."""

import time
from collections import deque
from itertools import pairwise
from math import inf

import anyio
import pytest
from small_experiments import CLUSTERS, METHODS, Landscape, journal_of, small_experiment

from asynctune import virtualtime
from asynctune.events import CapacityChanged, Cause, Ended, Failed, Paused, Report, Started
from asynctune.exceptions import DeadlockError
from asynctune.experiment import JOURNAL, run_experiment
from asynctune.journal import JournalWriter, header_line, read_lines
from asynctune.ledger import Ledger
from asynctune.proposer import InlineProposer, ThreadProposer
from asynctune.replay import replay
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.fifo import FIFO
from asynctune.searchers.base import Proposal
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.testing import check_ledger
from asynctune.tuner import Outcome, Tuner
from sims.backend import SimulatedBackend
from sims.profiles import local


class Counting:
    """A searcher that proposes {"x": k / 10, "n": 1} after some seconds of work in real time."""

    needs_data = False

    def __init__(self, seconds=0.0, size=10**9):
        self.seconds, self.size = seconds, size

    def propose(self, snapshot, k):
        time.sleep(self.seconds)
        return Proposal(k, {"x": k % 10 / 10, "n": 1} if k < self.size else None)

    def describe(self):
        return {"searcher": "counting"}


class RealBackend:
    """Runs every attempt as a task of the real loop: `train(order, report)`.

    Args:
        tasks: The task group.
        train: The training; commands cancel it.
        start_seconds: How long a start command takes.
        levels: The last level.
        tells_start: Whether it tells that an attempt has started.
    """

    virtual_time = False

    def __init__(self, tasks, train, start_seconds=0.0, levels=4, tells_start=True):
        self.tells_start = tells_start
        self.tasks, self.train, self.start_seconds = tasks, train, start_seconds
        self.levels = levels
        self.queue, self.arrived = deque(), anyio.Event()
        self.scopes, self.log, self.closed = {}, [], False

    def describe(self):
        return {"backend": "tasks"}

    async def open(self, clock):
        self.clock = clock

    def ready_at(self, order):
        return None

    async def start(self, order):
        key = order.trial, order.attempt
        if key not in self.scopes:
            self.scopes[key] = anyio.CancelScope()
            self.log.append(("start", *key))
            await anyio.sleep(self.start_seconds)
            self.tasks.start_soon(self._run, order)

    async def _run(self, order):
        key = order.trial, order.attempt
        reports = []

        def report(resource, loss):
            index = len(reports)
            reports.append(resource)
            self.put(Report(self.clock(), *key, index, resource, {"loss": loss}))

        if self.tells_start:
            self.put(Started(self.clock(), *key))
        with self.scopes[key]:
            await self.train(order, report)
        whole = order.until == self.levels or ("stop", *key) in self.log
        if ("pause", *key) in self.log or not whole:
            self.put(Paused(self.clock(), *key, reports[-1]))
        else:
            self.put(Ended(self.clock(), *key))

    def put(self, event):
        self.queue.append(event)
        self.arrived.set()

    async def pause(self, trial, attempt):
        self._cancel("pause", trial, attempt)

    async def stop(self, trial, attempt):
        self._cancel("stop", trial, attempt)

    def _cancel(self, command, trial, attempt):
        if (trial, attempt) in self.scopes:
            self.log.append((command, trial, attempt))
            self.scopes[trial, attempt].cancel()

    async def discard(self, trial):
        self.log.append(("discard", trial))

    async def recover(self, expected):
        return {(e.order.trial, e.order.attempt): "unknown" for e in expected}

    def poll(self, until):
        batch = list(self.queue)
        self.queue.clear()
        return batch

    async def events(self, until):
        with anyio.move_on_after(max(0.0, until - self.clock())):
            while not self.queue:
                self.arrived = anyio.Event()
                await self.arrived.wait()
        return self.poll(until)

    async def aclose(self, *, leave_running):
        self.closed = True
        for scope in self.scopes.values():
            scope.cancel()


def make_ledger(scheduler=None, n_workers=2, max_resource=4, retries=None, **bounds):
    return Ledger(
        scheduler or FIFO(max_resource=max_resource),
        n_workers=n_workers,
        metric="loss",
        mode="min",
        max_resource=max_resource,
        stopping=StoppingCriterion(**bounds or {"max_trials": 3}),
        retries=retries or RetryPolicy(),
    )


def open_journal(path, *, durable=True):
    if not path.exists():
        writer = JournalWriter(path, durable=durable)
        writer.append(header_line({}))
        writer.close()
    return JournalWriter(path, durable=durable)


# Real time.


def really(path, train, *, ledger, searcher=None, start_seconds=0.0, during=None, **settings):
    """Run an experiment in real time; `during(tuner)` is awaited beside it."""

    async def main():
        origin = anyio.current_time()
        writer = open_journal(path)
        try:
            async with anyio.create_task_group() as tasks:
                backend = RealBackend(tasks, train, start_seconds, tells_start=not start_seconds)
                tuner = Tuner(
                    ledger,
                    backend,
                    writer,
                    ThreadProposer(searcher or Counting(), tasks),
                    lambda: anyio.current_time() - origin,
                    observer=lambda ledger, now: check_ledger(ledger),
                    **settings,
                )
                if during is not None:
                    tasks.start_soon(during, tuner)
                outcome = await tuner.run()
                tasks.cancel_scope.cancel()
        finally:
            writer.close()
        assert backend.closed
        return outcome, backend

    outcome, backend = anyio.run(main)
    return outcome, backend, list(read_lines(path))


def steady(seconds):
    async def train(order, report):
        for epoch in range(order.from_resource + 1, order.until + 1):
            await anyio.sleep(seconds)
            report(epoch, order.config["x"] + 1 / epoch)

    return train


def test_real_time(tmp_path):
    outcome, backend, lines = really(tmp_path / "j", steady(0.01), ledger=make_ledger())
    assert outcome.reason == "max_trials"
    reports = [line for line in lines if line["event"] == "report"]
    assert [(r["trial"], r["resource"]) for r in reports if r["trial"] == 2] == [
        (2, epoch) for epoch in (1, 2, 3, 4)
    ]
    assert len(reports) == 12
    assert [entry[:2] for entry in backend.log] == [("start", 0), ("start", 1), ("start", 2)]
    assert lines[-1] == {"t": outcome.time, "event": "finished", "reason": "max_trials"}


def test_real_time_with_pauses(tmp_path):
    scheduler = ASHA(max_resource=4, reduction_factor=2, continue_in_place=False)
    outcome, _, lines = really(
        tmp_path / "j", steady(0.003), ledger=make_ledger(scheduler, max_trials=8)
    )
    assert outcome.reason == "max_trials"
    resumed = [line for line in lines if line["event"] == "start" and line["from"]]
    assert resumed
    assert all("rung" in line for line in resumed)
    fresh = make_ledger(
        ASHA(max_resource=4, reduction_factor=2, continue_in_place=False), max_trials=8
    )
    assert replay(fresh, lines).finished == "max_trials"


def test_a_slow_proposal_delays_no_decision(tmp_path):
    """Reports every 20 ms are taken at once, while each proposal takes 300 ms."""

    async def train(order, report):
        for epoch in range(1, 1001):
            await anyio.sleep(0.02)
            stamps[order.trial, epoch] = anyio.current_time()
            report(epoch, 1.0)

    stamps = {}
    taken = {}

    class Watching(FIFO):
        def report(self, trial, resource, value):
            taken[trial, resource] = anyio.current_time()
            return super().report(trial, resource, value)

    outcome, _, lines = really(
        tmp_path / "j",
        train,
        ledger=make_ledger(Watching(max_resource=1000), max_resource=1000, max_wallclock_time=0.95),
        searcher=Counting(0.3),
    )
    assert outcome == Outcome("max_wallclock_time", 0.95)
    starts = [line["t"] for line in lines if line["event"] == "start"]
    assert len(starts) == 2
    assert starts[1] - starts[0] > 0.29
    during = [k for k, t in stamps.items() if k[0] == 0 and k in taken]
    assert len(during) > 15
    delays = sorted(taken[k] - stamps[k] for k in during)
    assert delays[len(delays) // 2] < 0.02
    ready = [line for line in lines if line["event"] == "proposal_ready"]
    assert all(line["cost"] > 0.29 for line in ready)


def test_a_proposal_that_is_ready_while_a_trial_is_being_started_is_used_at_once(tmp_path):
    _, _, lines = really(
        tmp_path / "j",
        steady(0.5),
        ledger=make_ledger(max_wallclock_time=0.4),
        searcher=Counting(0.01),
        start_seconds=0.05,
    )
    starts = [line["t"] for line in lines if line["event"] == "start"]
    assert len(starts) == 2
    assert starts[1] < 0.3  # not with the first report


def test_a_stock_of_proposals(tmp_path):
    _, _, lines = really(
        tmp_path / "j",
        steady(0.02),
        ledger=make_ledger(max_trials=3),
        searcher=Counting(0.01),
        lookahead=1,
    )
    ahead = [line for line in lines if line.get("ahead")]
    assert ahead
    first_start = next(line for line in lines if line["event"] == "start" and line["trial"] == 2)
    ready = next(line for line in lines if line["event"] == "proposal_ready" and line["k"] == 2)
    assert ready["t"] < first_start["t"]
    assert replay(make_ledger(max_trials=3), lines).finished == "max_trials"


async def end_soon(tuner):
    await anyio.sleep(0.1)
    tuner.request_end("enough")


def test_an_end_asked_for_in_real_time_comes_at_once(tmp_path):
    outcome, _, lines = really(
        tmp_path / "j",
        steady(10.0),
        ledger=make_ledger(max_wallclock_time=20.0),
        during=end_soon,
    )
    assert outcome.reason == "enough"
    assert 0.1 <= outcome.time < 2.0
    assert lines[-1]["reason"] == "enough"


def test_an_end_asked_for_while_a_trial_is_being_started_comes_with_it(tmp_path):
    outcome, _, lines = really(
        tmp_path / "j",
        steady(10.0),
        ledger=make_ledger(n_workers=1, max_wallclock_time=20.0),
        start_seconds=0.3,
        during=end_soon,
    )
    assert outcome.reason == lines[-1]["reason"] == "enough"
    assert outcome.time < 5.0


def test_trials_can_be_awaited(tmp_path):
    results = {}

    async def during(tuner):
        handle = tuner.trial(1)
        assert not handle.done
        results[1] = await handle
        results["then"] = {t.number for t in tuner.ledger.trials if t.finished}
        results["done"] = handle.done
        results[0] = await tuner.trial(0)

    async def train(order, report):
        report(4, 1.0)
        await anyio.sleep(0.02 * (order.trial + 1))

    really(tmp_path / "j", train, ledger=make_ledger(max_trials=4), during=during)
    assert results == {1: "ended", "then": {0, 1}, "done": True, 0: "ended"}


def test_who_waits_for_a_trial_is_told_of_the_end(tmp_path):
    states = []

    async def main():
        writer = open_journal(tmp_path / "j")
        async with anyio.create_task_group() as tasks:
            backend = RealBackend(tasks, steady(10.0))
            origin = anyio.current_time()
            tuner = Tuner(
                make_ledger(max_wallclock_time=10.0),
                backend,
                writer,
                InlineProposer(Counting()),
                lambda: anyio.current_time() - origin,
            )

            async def wait(number):
                states.append(await tuner.trial(number))

            async def run():
                with anyio.move_on_after(0.05):
                    await tuner.run()

            tasks.start_soon(wait, 0)
            tasks.start_soon(wait, 99)
            tasks.start_soon(run)
        writer.close()

    anyio.run(main)
    assert sorted(states) == ["never started", "running"]


def test_a_cancelled_tuner_leaves_a_journal_that_goes_on(tmp_path):
    path = tmp_path / "j"
    ran = []

    async def train(order, report):
        for epoch in range(order.from_resource + 1, order.until + 1):
            await anyio.sleep(0.01)
            ran.append((order.trial, order.attempt, epoch))
            report(epoch, 1.0)

    async def main(ledger, replayed, seconds):
        begun = replayed.time if replayed else 0.0
        origin = anyio.current_time() - begun
        writer = open_journal(path)
        outcome = None
        async with anyio.create_task_group() as tasks:
            backend = RealBackend(tasks, train)
            tuner = Tuner(
                ledger,
                backend,
                writer,
                InlineProposer(Counting()),
                lambda: anyio.current_time() - origin,
                replayed=replayed,
            )
            with anyio.move_on_after(seconds):
                outcome = await tuner.run()
            assert backend.closed
        writer.close()
        return outcome, backend

    outcome, _ = anyio.run(main, make_ledger(max_trials=4), None, 0.06)
    assert outcome is None
    lines = list(read_lines(path))
    assert 3 < len(lines) < 30
    ledger = make_ledger(max_trials=4)
    replayed = replay(ledger, lines)
    assert replayed.finished is None
    assert len(replayed.expected) == 2
    outcome, backend = anyio.run(main, ledger, replayed, 20.0)
    assert outcome.reason == "max_trials"
    # The backend knew nothing of the two attempts any more, so they were started once more.
    assert backend.log[:2] == [("start", *e.order[:2]) for e in replayed.expected]
    assert ledger.trials[3].finished
    assert replay(make_ledger(max_trials=4), read_lines(path)).finished == "max_trials"


def test_what_a_searcher_raises_in_its_thread_reaches_the_caller(tmp_path):
    class Broken(Counting):
        def propose(self, snapshot, k):
            raise ZeroDivisionError("no proposal")

    with pytest.raises(ExceptionGroup) as caught:
        really(tmp_path / "j", steady(0.01), ledger=make_ledger(), searcher=Broken())
    assert caught.group_contains(ZeroDivisionError, match="no proposal")


# Virtual time.


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
