"""The tuner in real time."""

from collections import deque

import anyio
import pytest
from tuners import Counting, make_ledger, open_journal

from asynctune.events import Ended, Paused, Report, Started
from asynctune.journal import read_lines
from asynctune.proposer import InlineProposer, ThreadProposer
from asynctune.replay import replay
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.fifo import FIFO
from asynctune.testing import check_ledger
from asynctune.tuner import Outcome, Tuner


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
