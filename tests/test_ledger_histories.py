"""The ledger over random histories: what holds always, what is refused, what changes nothing."""

from collections import defaultdict
from math import inf, nan
from typing import get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledgers import MAX, RETRIES, SCHEDULERS, make_ledger

from asynctune.events import CapacityChanged, Cause, Ended, Failed, Paused, Report, Started
from asynctune.exceptions import IllegalEventError, UsageError
from asynctune.ledger import Launch, Promise
from asynctune.schedulers.base import Exhausted, Propose, Wait, WaitReason
from asynctune.searchers.base import Proposal
from asynctune.testing import check_ledger, state_of
from asynctune.trial import BUSY, State


class Attempt:
    """What the backend knows of an attempt."""

    def __init__(self, order, time):
        self.order, self.began = order, time
        self.level, self.reports, self.cost = order.from_resource, 0, 0.0
        self.over = False


class Machine(RuleBasedStateMachine):
    """A backend that does anything legal, and now and then something illegal."""

    @initialize(
        scheduler=st.sampled_from(list(SCHEDULERS)),
        n_workers=st.integers(1, 4),
        mode=st.sampled_from(["min", "max"]),
        size=st.sampled_from([2, 6, 10**6]),
        max_trials=st.sampled_from([None, 3, 8]),
    )
    def setup(self, scheduler, n_workers, mode, size, max_trials):
        self.ledger = make_ledger(
            scheduler, n_workers, mode=mode, max_trials=max_trials, max_cost=1e9
        )
        self.size, self.max_trials, self.now = size, max_trials, 0.0
        self.attempts = {}  # running, by trial
        self.events = []  # all ever delivered
        self.freed = {}  # when each slot was freed
        self.latest = defaultdict(lambda: -1)
        self.checkpoint = defaultdict(int)
        self.not_before = {}
        self.promised = set()
        self.best = inf

    def teardown(self):
        if hasattr(self, "ledger"):
            self.finish_everything()

    def attempt(self, data, states=BUSY):
        trials = [t for t in self.attempts if self.ledger.trials[t].state in states]
        return self.attempts[data.draw(st.sampled_from(trials))]

    def running_for_long(self):
        trials = self.ledger.trials
        return [t for t in self.attempts if trials[t].state is not State.STARTING]

    def observe(self, event):
        seen = self.ledger.observe(event)
        assert seen is not None
        self.events.append(event)
        return seen

    # The tuner's part.

    @rule()
    def fill(self):
        """A free worker always gets something to do, or a reason out of the closed set."""
        while self.ledger.free > 0:
            step = self.ledger.next(self.now)
            check_ledger(self.ledger)
            if isinstance(step, Launch):
                self.launched(step)
            elif isinstance(step, Promise):
                assert self.ledger.trials[step.trial].state is State.PAUSING
                assert step.trial not in self.promised
                self.promised.add(step.trial)
            elif isinstance(step, Propose):
                config = {"x": step.k} if step.k < self.size else None
                self.ledger.accept(Proposal(step.k, config))
            else:
                self.idle(step)
                return

    def launched(self, launch):
        order = launch.order
        trial, number = self.ledger.trials[order.trial], order.trial
        assert number not in self.attempts
        assert order.attempt == self.latest[number] + 1
        assert order.slot not in [a.order.slot for a in self.attempts.values()]
        taken = {a.order.slot for a in self.attempts.values()}
        assert order.slot == min(s for s in range(self.ledger.n_workers) if s not in taken)
        assert order.slot_free_since == self.freed.get(order.slot)
        assert order.config == {"x": number}
        assert order.from_resource == min(self.checkpoint[number], MAX)
        assert order.from_resource < order.until or order.from_resource == MAX
        assert order.until <= MAX
        assert self.not_before.pop(number, 0.0) <= self.now
        assert trial.state is State.STARTING
        if launch.why is not None:
            assert launch.why.level <= trial.highest
        self.promised.discard(number)
        self.latest[number] = order.attempt
        self.attempts[number] = Attempt(order, self.now)
        if self.max_trials is not None:
            assert len(self.ledger.trials) <= self.max_trials

    def idle(self, step):
        before = state_of(self.ledger)
        assert self.ledger.next(self.now) == step
        assert state_of(self.ledger) == before
        if isinstance(step, Exhausted):
            assert not self.not_before
            assert self.latest.keys() >= set(range(min(self.size, 10**5)))
            return
        assert isinstance(step, Wait)
        assert step.reason in get_args(WaitReason)
        if step.reason == "back-off":
            assert min(self.not_before.values()) > self.now
            assert self.ledger.next_due() == min(self.not_before.values())
        if step.reason == "draining":
            assert len(self.ledger.trials) == self.max_trials

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 10.0, 40.0]))
    def time_passes(self, seconds):
        self.now += seconds

    # The backend's part: legal events.

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def started(self, data):
        attempt = self.attempt(data)
        seen = self.observe(Started(self.now, attempt.order.trial, attempt.order.attempt))
        assert seen.decision is None
        assert self.ledger.trials[attempt.order.trial].state is not State.STARTING

    @precondition(lambda self: self.attempts)
    @rule(
        data=st.data(),
        step=st.sampled_from([1, 1, 1, 2, 4]),
        value=st.one_of(st.integers(0, 5).map(float), st.sampled_from([nan, inf, -inf, 0.5])),
    )
    def report(self, data, step, value):
        attempt = self.attempt(data)
        number = attempt.order.trial
        trial = self.ledger.trials[number]
        attempt.level = min(attempt.level + step, max(MAX + 1, attempt.level + 1))
        attempt.cost += 0.25
        event = Report(
            self.now,
            number,
            attempt.order.attempt,
            attempt.reports,
            attempt.level,
            {"loss": value, "other": nan},
            attempt.cost,
        )
        state, highest, total = trial.state, trial.highest, self.ledger.reports
        attempt.reports += 1
        seen = self.observe(event)
        assert self.ledger.reports == total + 1
        late = state in (State.PAUSING, State.STOPPING) or MAX <= highest < attempt.level
        if late or attempt.level <= highest:
            assert seen.status == ("late" if late else "repeated")
            assert seen.decision is None
            assert trial.highest == highest
            return
        assert seen.status == "running"
        assert trial.highest == attempt.level
        signed = value if self.ledger.mode == "min" else -value
        if abs(value) < inf:
            self.best = min(self.best, signed)
        after = {"pause": State.PAUSING, "stop": State.STOPPING}
        assert trial.state is after.get(seen.decision.action, State.RUNNING)

    def over(self, attempt, event):
        number = attempt.order.trial
        before = self.ledger.trials[number].state
        seen = self.observe(event)
        del self.attempts[number]
        self.freed[attempt.order.slot] = self.now
        attempt.over = True
        return before, self.ledger.trials[number], seen

    @precondition(lambda self: self.running_for_long())
    @rule(data=st.data(), keeps=st.booleans())
    def paused(self, data, keeps):
        attempt = self.attempt(data, BUSY - {State.STARTING})
        number = attempt.order.trial
        resource = attempt.level if keeps else 0
        event = Paused(self.now, number, attempt.order.attempt, resource, attempt.cost + 0.5)
        held = self.ledger.trials[number].held
        before, trial, seen = self.over(attempt, event)
        if trial.highest >= MAX or before is State.STOPPING:
            assert trial.state is State.ENDED
            return
        if trial.state is State.FAILED:
            assert before is State.RUNNING
            assert attempt.reports == 0
            assert resource <= attempt.order.from_resource
            return
        self.checkpoint[number] = resource
        if before is State.PAUSING and held:
            assert trial.state is State.PAUSED
            assert not seen.discard
        else:  # promoted meanwhile, or paused without being asked to
            assert trial.state is State.QUEUED
            self.not_before[number] = self.now

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def ended(self, data):
        attempt = self.attempt(data)
        number = attempt.order.trial
        held = self.ledger.trials[number].held
        before, trial, seen = self.over(
            attempt, Ended(self.now, number, attempt.order.attempt, attempt.cost)
        )
        if before is State.PAUSING:
            self.checkpoint[number] = trial.highest
            assert trial.state is (State.PAUSED if held else State.QUEUED)
            if not held:
                self.not_before[number] = self.now
        elif before is not State.STOPPING and not trial.highest:
            assert trial.state is State.FAILED  # without any report
        else:
            assert trial.state is State.ENDED
            assert trial.finished
            assert seen.discard == (trial.highest < MAX)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), cause=st.sampled_from(Cause), keeps=st.booleans())
    def failed(self, data, cause, keeps):
        attempt = self.attempt(data)
        number = attempt.order.trial
        trial = self.ledger.trials[number]
        held, count = trial.held, (trial.failures or {}).get(cause, 0)
        resource = attempt.level if keeps else 0
        event = Failed(
            self.now, number, attempt.order.attempt, cause, "oh", resource, attempt.cost + 1
        )
        before, trial, seen = self.over(attempt, event)
        if before is State.STOPPING or trial.highest >= MAX:
            assert trial.state is State.ENDED
        elif before is State.PAUSING:
            self.checkpoint[number] = resource
            assert trial.state is (State.PAUSED if held else State.QUEUED)
            if not held:
                self.not_before[number] = self.now
        elif count < getattr(RETRIES, cause):
            assert trial.state is State.QUEUED
            self.checkpoint[number] = resource
            wait = 10.0 * 2**count if cause is Cause.INFRASTRUCTURE else 0.0
            self.not_before[number] = self.now + wait
        else:
            assert trial.state is State.FAILED
            assert trial.finished
            assert seen.discard

    @rule(n=st.integers(0, 6))
    def capacity(self, n):
        event = CapacityChanged(self.now, n, "quota")
        if n == self.ledger.capacity:
            before = state_of(self.ledger)
            assert self.ledger.observe(event) is None
            assert state_of(self.ledger) == before
        else:
            assert self.ledger.observe(event) is not None
        assert self.ledger.capacity == n
        reasons = self.ledger.idle_reasons("exhausted")
        idle = self.ledger.n_workers - len(self.attempts)
        assert reasons.get("quota", 0) == min(idle, max(0, self.ledger.n_workers - n))

    @precondition(lambda self: self.ledger.trials)
    @rule(data=st.data())
    def stop(self, data):
        trial = data.draw(st.sampled_from(self.ledger.trials))
        before = trial.state
        stopped = self.ledger.stop(trial.number, self.now)
        assert stopped == (before in BUSY - {State.STOPPING})
        assert trial.state is (State.STOPPING if stopped else before)

    # What is to change nothing.

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def delivered_again(self, data):
        event = data.draw(st.sampled_from(self.events))
        trial = self.ledger.trials[event.trial]
        over = event.attempt < trial.attempt or trial.state not in BUSY
        if not over and not isinstance(event, Report):
            return  # told once more that it has started: that is no news, but not refused either
        before = state_of(self.ledger)
        assert self.ledger.observe(event) is None
        assert state_of(self.ledger) == before

    @precondition(lambda self: self.attempts)
    @rule(
        data=st.data(),
        what=st.sampled_from(["no such trial", "no such attempt", "gap", "over", "no metric"]),
    )
    def illegal(self, data, what):
        ledger = self.ledger
        if what == "no such trial":
            number = data.draw(st.sampled_from([-1, len(ledger.trials), 10**6]))
            event = data.draw(
                st.sampled_from(
                    [
                        Started(self.now, number, 0),
                        Report(self.now, number, 0, 0, 1, {"loss": 1.0}),
                        Ended(self.now, number, 0),
                    ]
                )
            )
        elif what == "no such attempt":
            trial = data.draw(st.sampled_from(ledger.trials))
            event = Failed(self.now, trial.number, trial.attempt + 1, Cause.TIMEOUT, "")
        elif what == "over" and (resting := [t for t in ledger.trials if t.state not in BUSY]):
            trial = data.draw(st.sampled_from(resting))
            event = Report(self.now, trial.number, trial.attempt, trial.reports, 20, {"loss": 1.0})
        else:
            attempt = self.attempt(data)
            gap = what != "no metric"
            event = Report(
                self.now,
                attempt.order.trial,
                attempt.order.attempt,
                attempt.reports + gap,
                attempt.level + 1,
                {"loss" if gap else "accuracy": 1.0},
            )
        before = state_of(ledger)
        with pytest.raises(UsageError if what == "no metric" else IllegalEventError) as caught:
            ledger.observe(event)
        assert state_of(ledger) == before
        if what != "no metric":
            assert caught.value.trial == event.trial
            assert caught.value.story == ledger.story(event.trial)

    # What holds always.

    @invariant()
    def the_books_balance(self):
        if not hasattr(self, "ledger"):
            return
        check_ledger(self.ledger)
        assert list(self.ledger.busy) == list(self.attempts)
        assert self.ledger.best_value == self.best
        for number, attempt in self.attempts.items():
            assert self.ledger.trials[number].slot == attempt.order.slot
            assert self.ledger.trials[number].since == attempt.began
        waiting = {t.number for t in self.ledger.trials if t.state is State.QUEUED}
        assert waiting == set(self.not_before)

    def finish_everything(self):
        """Whatever has happened, an experiment whose trials all end comes to its end."""
        ledger = self.ledger
        ledger.observe(CapacityChanged(self.now, 10, "more"))
        for _ in range(2000):
            self.now += 50.0
            self.size = min(self.size, len(ledger.trials) + 3)
            self.fill()
            check_ledger(ledger)
            if not self.attempts:
                step = ledger.next(self.now)
                if isinstance(step, Wait) and step.reason == "back-off":
                    continue
                assert isinstance(step, Exhausted) or step.reason == "draining"
                return
            for attempt in list(self.attempts.values()):
                number = attempt.order.trial
                while (
                    ledger.trials[number].state in (State.STARTING, State.RUNNING)
                    and attempt.level < MAX
                ):
                    attempt.level += 1
                    self.observe(
                        Report(
                            self.now,
                            number,
                            attempt.order.attempt,
                            attempt.reports,
                            attempt.level,
                            {"loss": 1.0},
                            attempt.cost,
                        )
                    )
                    attempt.reports += 1
                    self.best = min(self.best, 1.0 if ledger.mode == "min" else -1.0)
                state = ledger.trials[number].state
                kind = Paused if state is State.PAUSING else Ended
                more = (attempt.level,) if kind is Paused else ()
                held = ledger.trials[number].held
                self.over(
                    attempt, kind(self.now, number, attempt.order.attempt, *more, attempt.cost)
                )
                if kind is Paused:
                    self.checkpoint[number] = attempt.level
                    if not held:
                        self.not_before[number] = self.now
        pytest.fail("the experiment does not come to its end")


TestLedger = Machine.TestCase
TestLedger.settings = settings(
    derandomize=True,
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
