"""ASHA against a slow and obvious implementation of its rules, over random histories."""

from math import inf

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asynctune.exceptions import IllegalEventError, UsageError
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.base import Exhausted, Propose, Resume, Start, Wait
from asynctune.searchers.base import Fit, Observation, Pending, Proposal


class Reference:
    """The rules, with plain lists: every question is answered by looking at everything."""

    def __init__(self, levels, max_resource, kind, in_place, size):
        self.levels, self.max, self.kind, self.in_place = levels, max_resource, kind, in_place
        self.milestones = [*levels, max_resource]
        self.size = size  # number of configs there are
        self.exhausted = False
        self.entries = {level: [] for level in levels}  # all (value, trial) ever
        self.promoted = {level: set() for level in levels}
        self.milestone = {}  # of each trial that runs, or may run again: index of the next one
        self.running = set()
        self.observed = []
        self.since = {}  # last value of a running trial since its last rung
        self.n_proposed = self.n_started = 0

    def cutoff(self, level):
        values = sorted(value for value, _ in self.entries[level])
        if len(values) < 2:
            return None
        above = self.milestones[self.milestones.index(level) + 1]
        position = (len(values) - 1) * (level / above)
        low, high = values[int(position)], values[min(int(position) + 1, len(values) - 1)]
        if high == inf:
            return low
        if values[-1] < inf:
            return float(np.quantile(values, level / above, method="linear"))
        return low + (high - low) * (position - int(position))

    def passes(self, level, value):
        cutoff = self.cutoff(level)
        # numpy rounds otherwise than the rung: a value within that is one of the entries itself.
        return value < inf and cutoff is not None and value <= cutoff + 1e-12 * abs(cutoff)

    def promotion(self):
        for level in reversed(self.levels):
            waiting = [e for e in self.entries[level] if e[1] not in self.promoted[level]]
            if waiting and self.passes(level, min(waiting)[0]):
                return level, min(waiting)[1]
        return None

    def promote(self, level, trial):
        self.promoted[level].add(trial)
        self.milestone[trial] += 1
        self.running.add(trial)

    def until(self, trial):
        whole = self.kind == "stopping" or self.in_place
        return self.max if whole else self.milestones[self.milestone[trial]]

    def next(self, new):
        found = self.promotion() if self.kind == "promotion" else None
        if found is not None:
            level, trial = found
            self.promote(level, trial)
            return "resume", trial, self.until(trial), level
        if not new:
            return ("wait", "draining") if self.running else ("exhausted",)
        if self.n_started < self.n_proposed:
            trial = self.n_started
            self.n_started += 1
            self.milestone[trial] = 0
            self.running.add(trial)
            return "start", trial, self.until(trial)
        if not self.exhausted:
            return "propose", self.n_proposed, len(self.observed)
        return ("wait", "exhausted") if self.running else ("exhausted",)

    def report(self, trial, resource, value):
        action = "continue"
        if resource < self.milestones[self.milestone[trial]]:
            self.since[trial] = value
            return action
        self.since.pop(trial, None)
        if resource >= self.max:
            for level in self.levels[self.milestone[trial] :]:
                self.observed.append((trial, level, value))
                self.entries[level].append((value, trial))
                self.promoted[level].add(trial)
            self.observed.append((trial, self.max, value))
            self.running.remove(trial)
            return "complete"
        while action == "continue" and resource >= self.milestones[self.milestone[trial]]:
            level = self.milestones[self.milestone[trial]]
            self.observed.append((trial, level, value))
            self.entries[level].append((value, trial))
            if self.kind == "stopping":
                if value < inf and (self.cutoff(level) is None or self.passes(level, value)):
                    self.milestone[trial] += 1
                else:
                    self.running.remove(trial)
                    action = "stop"
            elif self.in_place and self.promotion() == (level, trial):
                self.promote(level, trial)
            else:
                self.running.remove(trial)
                action = "pause"
        return action

    def ended(self, trial, failed):
        value = self.since.pop(trial, None)
        if value is not None and not failed:
            self.observed.append((trial, self.milestones[self.milestone[trial]], value))
        self.running.discard(trial)
        for level in self.levels:
            self.promoted[level].add(trial)  # it is not to be promoted any more


class Machine(RuleBasedStateMachine):
    @initialize(
        max_resource=st.sampled_from([1, 3, 9, 10, 27]),
        grace=st.integers(1, 3),
        eta=st.sampled_from([2, 3, 1.5]),
        kind=st.sampled_from(["promotion", "stopping"]),
        in_place=st.booleans(),
        size=st.sampled_from([6, 10**6, 10**6]),
    )
    def setup(self, max_resource, grace, eta, kind, in_place, size):
        grace = min(grace, max_resource)
        self.asha = ASHA(
            max_resource=max_resource,
            type=kind,
            grace_period=grace,
            reduction_factor=eta,
            continue_in_place=in_place,
        )
        levels = [round(grace * eta**k) for k in range(12)]
        levels = [level for level in sorted(set(levels)) if level < max_resource]
        self.reference = Reference(levels, max_resource, kind, in_place, size)
        self.reached = {}
        self.paused = set()
        self.failed = set()

    def choose(self, data, among):
        return data.draw(st.sampled_from(sorted(among)))

    @rule(new=st.sampled_from([True, True, True, False]), times=st.integers(1, 4))
    def ask(self, new, times):
        for _ in range(times):
            if len(self.reference.running) < 6:
                self.ask_once(new)

    def ask_once(self, new):
        action = self.asha.next(new=new)
        kind, *rest = self.reference.next(new)
        if kind == "propose":
            assert action == Propose(*rest)
            k, size = rest[0], self.reference.size
            assert self.asha.next() == Wait("proposal")
            assert self.asha.ahead(10) is None
            with pytest.raises(IllegalEventError, match=f"asked for: {k}"):
                self.asha.accept(Proposal(k + 1, {"x": 0}))
            if k < size:
                self.asha.accept(Proposal(k, {"x": k}, Fit((0.5,), k)))
                self.reference.n_proposed += 1
                assert self.asha.config(k) == {"x": k}
            else:
                self.asha.accept(Proposal(k, None))
                self.reference.exhausted = True
        elif kind == "start":
            trial, until = rest
            assert action == Start(trial, until)
            self.reached[trial] = 0
        elif kind == "resume":
            trial, until, level = rest
            assert isinstance(action, Resume)
            assert action[:2] == (trial, until)
            self.check_why(action.why, trial, level)
            self.paused.remove(trial)
        elif kind == "wait":
            assert action == Wait(rest[0])
        else:
            assert action == Exhausted()

    def check_why(self, why, trial, level):
        assert why.level == level
        assert why.entries == len(self.reference.entries[level])
        assert (why.value, trial) in self.reference.entries[level]
        cutoff = self.reference.cutoff(level)
        assert why.cutoff == (None if cutoff is None else pytest.approx(cutoff, rel=1e-14))

    @precondition(lambda self: self.reference.running)
    @rule(
        data=st.data(),
        step=st.sampled_from([1, 1, 1, 2, 5]),
        values=st.lists(
            st.one_of(
                st.integers(0, 6).map(float), st.floats(-1e3, 1e3), st.sampled_from([inf, 0.0])
            ),
            min_size=1,
            max_size=8,
        ),
    )
    def reports(self, data, step, values):
        for value in values:
            if self.reference.running:
                self.report(data, step, value)

    def report(self, data, step, value):
        trial = self.choose(data, self.reference.running)
        resource = min(self.reached[trial] + step, self.reference.max)
        if self.asha._type == "promotion" and not self.reference.in_place:
            # The trial ends by itself there; only scripts that do not report it go beyond.
            resource = min(resource, self.reference.until(trial) + (step == 5))
        resource = min(max(resource, self.reached[trial] + 1), self.reference.max)
        assert resource > self.reached[trial]
        self.reached[trial] = resource
        decision = self.asha.report(trial, resource, value)
        action = self.reference.report(trial, resource, value)
        assert decision.action == action
        if decision.why is not None:
            assert decision.why.value == value
            self.check_why(decision.why, trial, decision.why.level)
            assert decision.why.level <= resource
        if action == "pause":
            self.paused.add(trial)
        if value == inf:
            assert action != "continue" or resource < max(self.reference.milestones)

    @precondition(lambda self: len(self.reference.running) > 3)
    @rule(data=st.data(), failed=st.booleans())
    def end_running(self, data, failed):
        trial = self.choose(data, self.reference.running)
        self.asha.finished(trial, failed=failed)
        self.reference.ended(trial, failed)
        self.failed |= {trial} if failed else set()

    @precondition(lambda self: len(self.paused) > 3)
    @rule(data=st.data())
    def stop_while_it_pauses(self, data):
        trial = self.choose(data, self.paused)
        self.asha.finished(trial, failed=False)
        self.reference.ended(trial, failed=False)
        self.paused.remove(trial)

    @invariant()
    def the_searcher_sees_the_same(self):
        if not hasattr(self, "asha"):
            return
        snapshot, reference = self.asha.snapshot(), self.reference
        observed = [Observation(*o) for o in reference.observed]
        assert list(snapshot.observations)[: snapshot.length] == observed
        assert len(snapshot.observations) == snapshot.length
        assert snapshot.failed == self.failed
        assert list(snapshot.configs) == [{"x": k} for k in range(reference.n_proposed)]
        stock = range(reference.n_started, reference.n_proposed)
        expected = [Pending({"x": k}, reference.milestones[0]) for k in stock]
        expected += [
            Pending({"x": k}, reference.milestones[reference.milestone[k]])
            for k in reference.running
        ]
        order = lambda pending: pending.config["x"]  # noqa: E731
        assert sorted(snapshot.pending, key=order) == sorted(expected, key=order)
        assert snapshot.fit == (Fit((0.5,), reference.n_proposed - 1) if snapshot.configs else None)

    @invariant()
    def waiting_counts_agree(self):
        if hasattr(self, "asha") and self.asha._type == "promotion":
            waiting = sum(rung.waiting() for rung in self.asha.rungs)
            assert waiting == len(self.paused)


TestASHA = Machine.TestCase
TestASHA.settings = settings(
    derandomize=True,
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


# What the machine would find as well, written out for readers.


def running(asha, n):
    """Start `n` trials."""
    for k in range(n):
        assert asha.next() == Propose(k, len(asha.snapshot().observations))
        asha.accept(Proposal(k, {"x": k}))
        assert asha.next() == Start(k, asha._until(0))
    return asha


def test_of_two_entries_the_better_one_is_promoted():
    asha = running(ASHA(max_resource=9, continue_in_place=False), 3)
    assert asha.report(0, 1, 5.0).action == "pause"
    assert asha.next(new=False) == Wait("draining")  # one entry has no cut-off
    decision = asha.report(1, 1, 3.0)
    assert decision.action == "pause"
    assert decision.why == (1, 3.0, 2, pytest.approx(3 + 2 / 3))
    assert asha.next() == Resume(1, 3, decision.why)


def test_promoted_the_instant_it_reaches_its_rung_a_trial_goes_on():
    asha = running(ASHA(max_resource=9), 3)
    assert asha.report(0, 1, 5.0).action == "pause"
    assert asha.report(1, 1, 3.0).action == "continue"
    assert asha.report(2, 1, 4.0).action == "pause"


def test_a_higher_promotion_comes_before_going_on_in_place():
    asha = running(ASHA(max_resource=9), 4)
    for trial, value in ((0, 9.0), (1, 8.0), (2, 7.0)):
        asha.report(trial, 1, value)  # 1 and 2 go on in place
    assert asha.report(1, 3, 6.0).action == "pause"
    assert asha.report(2, 3, 6.5).action == "pause"  # 1 is promotable at the rung above now
    assert asha.report(3, 1, 1.0).action == "pause"
    assert asha.next()[:2] == (1, 9)
    assert asha.next()[:2] == (3, 9)


def test_entries_of_equal_value_are_promoted_in_the_order_of_their_numbers():
    asha = running(ASHA(max_resource=9, continue_in_place=False), 4)
    for trial in (3, 1, 2, 0):
        asha.report(trial, 1, 1.0)
    assert [asha.next()[0] for _ in range(4)] == [0, 1, 2, 3]


def test_an_infinite_value_never_goes_on():
    for kind in ("promotion", "stopping"):
        asha = running(ASHA(max_resource=9, type=kind), 4)
        for trial in range(4):
            assert asha.report(trial, 1, inf).action in ("pause", "stop")
        assert isinstance(asha.next(), Propose)
        assert asha.next(new=False) == Exhausted()


def test_a_report_beyond_several_rungs_enters_all_that_let_it_pass():
    asha = running(ASHA(max_resource=27, type="stopping"), 2)
    assert asha.report(0, 10, 5.0).action == "continue"
    assert [len(rung) for rung in asha.rungs] == [1, 1, 1]
    assert asha.report(1, 10, 6.0) == ("stop", (1, 6.0, 2, pytest.approx(5 + 1 / 3)))
    assert [len(rung) for rung in asha.rungs] == [2, 1, 1]
    assert asha.report(0, 27, 1.0).action == "complete"


def test_a_report_at_the_last_level_completes_whatever_was_passed_by():
    asha = running(ASHA(max_resource=9, continue_in_place=False), 2)
    assert asha.report(0, 1, 1.0).action == "pause"
    assert asha.report(1, 9, 2.0).action == "complete"
    assert [len(rung) for rung in asha.rungs] == [2, 1]
    assert [rung.waiting() for rung in asha.rungs] == [1, 0]
    assert [o.resource for o in asha.snapshot().observations] == [1, 1, 3, 9]
    assert asha.next()[:2] == (0, 3)


def test_a_trial_that_ends_early_counts_with_its_last_value():
    asha = running(ASHA(max_resource=9, grace_period=3), 2)
    asha.report(0, 2, 4.0)
    asha.finished(0, failed=False)
    asha.report(1, 2, 5.0)
    asha.finished(1, failed=True)
    assert asha.snapshot().observations == [Observation(0, 3, 4.0)]
    assert asha.snapshot().failed == {1}
    assert len(asha.rungs[0]) == 0


def test_without_rungs_trials_run_to_the_end():
    asha = running(ASHA(max_resource=1), 2)
    assert asha.report(0, 1, 3.0).action == "complete"
    assert asha.report(1, 1, 4.0).action == "complete"


def test_proposals_in_stock_come_after_promotions():
    asha = running(ASHA(max_resource=9, continue_in_place=False), 2)
    asha.report(0, 1, 2.0)
    assert asha.ahead(1) == Propose(2, 1)
    asha.accept(Proposal(2, {"x": 2}))
    assert asha.ahead(1) is None
    assert asha.ahead(2) == Propose(3, 1)
    assert asha.snapshot().pending == (Pending({"x": 1}, 1), Pending({"x": 2}, 1))
    asha.report(1, 1, 3.0)
    assert asha.next()[:2] == (0, 3)
    assert asha.next() == Start(2, 1)


def test_settings_are_checked_and_told():
    with pytest.raises(UsageError, match="type must be one of promotion, stopping; got 'halving'"):
        ASHA(max_resource=9, type="halving")
    with pytest.raises(UsageError, match="grace_period"):
        ASHA(max_resource=9, grace_period=10)
    assert ASHA(max_resource=9, continue_in_place=False).describe() == {
        "scheduler": "ASHA",
        "type": "promotion",
        "max_resource": 9,
        "grace_period": 1,
        "reduction_factor": 3,
        "continue_in_place": False,
    }
