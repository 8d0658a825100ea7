"""Hyperband against ASHA, which each of its brackets is, and against a look at everything."""

import random
from collections import Counter
from math import inf

import numpy as np
import pytest

from asynctune.exceptions import UsageError
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.base import Exhausted, Propose, Resume, Start, Wait
from asynctune.schedulers.hyperband import Hyperband, bracket_shares
from asynctune.searchers.base import Fit, Observation, Pending, Proposal
from asynctune.testing import check_scheduler

LEVELS = (1, 3, 9, 27)


def value_of(chance):
    return inf if chance.random() < 0.1 else float(chance.randrange(20))


def drive(scheduler, chance, n_trials, observer=None):
    """Run an experiment of random values with four workers; return all that was said."""
    said, running, reached = [], [], {}
    while True:
        action = scheduler.next() if len(running) < 4 else None
        if isinstance(action, Propose):
            k = action.k
            scheduler.accept(Proposal(k, {"x": k} if k < n_trials else None))
        elif isinstance(action, Start | Resume):
            running.append(action.trial)
            reached.setdefault(action.trial, 0)
            if observer is not None and isinstance(action, Resume):
                observer("resume", action.trial, action.why)
        elif not running:
            assert action == Exhausted()
            return said
        else:
            trial = chance.choice(running)
            if chance.random() < 0.03:
                failed = chance.random() < 0.5
                scheduler.finished(trial, failed=failed)
                running.remove(trial)
                said.append((trial, failed))
                continue
            reached[trial] += 1
            value = value_of(chance)
            decision = scheduler.report(trial, reached[trial], value)
            said.append((trial, reached[trial], decision))
            if observer is not None:
                observer("report", trial, decision, reached[trial], value)
            if decision.action != "continue":
                running.remove(trial)
                if decision.action != "pause":
                    scheduler.finished(trial, failed=False)
        said.append(action)


@pytest.mark.parametrize("kind", ["promotion", "stopping"])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_with_one_bracket_it_is_asha(kind, in_place, shared):
    for seed in range(5):
        settings = {"max_resource": 27, "type": kind, "continue_in_place": in_place}
        ours = Hyperband(**settings, seed=3, brackets=1, shared_rungs=shared)
        asha = ASHA(**settings)
        said = drive(ours, random.Random(seed), 60)
        assert said == drive(asha, random.Random(seed), 60)
        assert ours.snapshot() == asha.snapshot()
        assert len(said) > 200


def test_of_stopping_type_each_bracket_is_an_asha_of_its_own():
    hyperband = Hyperband(max_resource=27, seed=1, type="stopping")
    ashas = [ASHA(max_resource=27, type="stopping", grace_period=level) for level in LEVELS]
    numbers: dict[int, int] = {}  # trial -> its number in its bracket
    counts = Counter()

    def compare(event, trial, decision, resource, value):
        asha = ashas[hyperband.bracket(trial)]
        if trial not in numbers:
            numbers[trial] = counts[asha]
            counts[asha] += 1
            asha.accept(Proposal(asha.next().k, {}))
            assert isinstance(asha.next(), Start)
        assert asha.report(numbers[trial], resource, value) == decision

    drive(hyperband, random.Random(4), 400, compare)
    assert all(counts[asha] > 5 for asha in ashas)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
def test_the_topmost_trial_of_all_brackets_is_promoted_first(shared, in_place):
    hyperband = Hyperband(max_resource=27, seed=2, shared_rungs=shared, continue_in_place=in_place)
    entries, waiting = {}, {}  # by (level, bracket)
    promotions = Counter()

    def key(level, trial):
        return (level, 0 if shared else hyperband.bracket(trial))

    def first():
        """The topmost promotable trial, found by looking at everything."""
        for level, bracket in sorted(waiting, key=lambda at: (-at[0], at[1])):
            values, there = entries[level, bracket], waiting[level, bracket]
            above = LEVELS[LEVELS.index(level) + 1]
            if len(values) < 2 or not there or min(there)[0] == inf:
                continue
            ordered = sorted(values)
            position = (len(values) - 1) * level / above
            low = ordered[int(position)]
            high = ordered[min(int(position) + 1, len(ordered) - 1)]
            cutoff = low if high == inf else low + (high - low) * (position - int(position))
            if min(there)[0] <= cutoff + 1e-12:
                return min(there)[1], level
        return None

    def observe(event, trial, said, resource=None, value=None):
        if event == "resume":
            assert first() == (trial, said.level)
            waiting[key(said.level, trial)].remove((said.value, trial))
            promotions[hyperband.bracket(trial)] += 1
            return
        at_rung = resource in LEVELS[hyperband.bracket(trial) : 3]
        assert (said.why is not None) == at_rung
        if not at_rung:
            return
        at = key(said.why.level, trial)
        entries.setdefault(at, []).append(value)
        waiting.setdefault(at, []).append((value, trial))
        assert said.why.entries == len(entries[at])
        assert (said.action == "continue") == (in_place and first() == (trial, at[0]))
        if said.action == "continue":
            waiting[at].remove((value, trial))

    drive(hyperband, random.Random(7), 300, observe)
    assert min(promotions[s] for s in range(3)) > 0 or in_place


def test_brackets_are_drawn_in_the_shares_of_hyperband():
    # Li et al. 2018: bracket s of S starts ceil(S / (S - s) eta^(S - 1 - s)) configs.
    shares = bracket_shares((1, 3, 9, 27, 81), 5)
    starts = np.array([81, 34, 15, 8, 5])  # the paper's table 1, R = 81 and eta = 3
    np.testing.assert_allclose(shares, starts / starts.sum(), atol=0.01)
    hyperband = Hyperband(max_resource=81, seed=5)
    assert hyperband.shares == shares
    n = 4000
    for k in range(n):
        hyperband.next()
        hyperband.accept(Proposal(k, {}))
        hyperband.next()
    counts = Counter(hyperband.bracket(k) for k in range(n))
    for s, share in enumerate(shares):
        assert abs(counts[s] - n * share) < 4 * np.sqrt(n * share * (1 - share))


def test_a_bracket_depends_on_seed_and_number_alone():
    def brackets(seed, order):
        hyperband = Hyperband(max_resource=27, seed=seed)
        for k in range(60):
            hyperband.next()
            hyperband.accept(Proposal(k, {}, None if order else Fit((1.0,), 3)))
            assert isinstance(hyperband.next(), Start)
        return [hyperband.bracket(k) for k in range(60)]

    assert brackets(1, order=True) == brackets(1, order=False)
    assert brackets(1, order=True) != brackets(2, order=True)


def test_a_trial_is_expected_at_the_first_rung_of_its_bracket():
    hyperband = Hyperband(max_resource=27, seed=1)
    for k in range(40):
        hyperband.next()
        hyperband.accept(Proposal(k, {"x": k}))
        action = hyperband.next()
        level = LEVELS[hyperband.bracket(k)]
        assert hyperband.snapshot().pending[-1] == Pending({"x": k}, level)
        assert action == Start(k, 27)
        if level > 1:
            assert hyperband.report(k, 1, 0.0).why is None
    levels = {pending.resource for pending in hyperband.snapshot().pending}
    assert levels == {1, 3, 9, 27}


def test_shared_rungs_compare_trials_of_all_brackets():
    def stops(shared):
        hyperband = Hyperband(max_resource=3, seed=0, type="stopping", shared_rungs=shared)
        assert hyperband.brackets[0].milestones == (1, 3)
        assert hyperband.brackets[1].milestones == (3,)
        return len(hyperband.rungs)

    assert stops(shared=True) == stops(shared=False) == 1
    counts = [len(Hyperband(max_resource=27, seed=0, shared_rungs=s).rungs) for s in (True, False)]
    assert counts == [3, 6]


def test_weights_of_a_fit_move_the_draws():
    told = []

    def weights(fit):
        told.append(fit)
        return list(fit.parameters)

    hyperband = Hyperband(max_resource=27, seed=1, bracket_weights=weights)
    fits = [Fit((0.0, 0.0, 2.0, 0.0), 5), Fit((0.0, 0.0, 0.0, 0.0), 5), None]
    for k in range(150):
        hyperband.next()
        hyperband.accept(Proposal(k, {}, fits[k % 3]))
        hyperband.next()
    assert {hyperband.bracket(k) for k in range(0, 150, 3)} == {2}
    # Weights that are all 0 say nothing: the shares of Hyperband hold.
    assert {hyperband.bracket(k) for k in range(1, 150, 3)} == {0, 1, 2, 3}
    assert {hyperband.bracket(k) for k in range(2, 150, 3)} == {0, 1, 2, 3}
    assert told == [fit for k in range(150) if (fit := fits[k % 3]) is not None]


def test_a_trial_that_ends_early_counts_at_its_next_milestone():
    hyperband = Hyperband(max_resource=27, seed=1)
    hyperband.next()
    hyperband.accept(Proposal(0, {}))
    hyperband.next()
    level = hyperband.brackets[hyperband.bracket(0)].milestones[0]
    value = 2.0
    for resource in range(1, level):
        hyperband.report(0, resource, value)
    hyperband.finished(0, failed=False)
    assert hyperband.snapshot().observations == ([Observation(0, level, value)] * (level > 1))
    assert hyperband.next(new=False) == Exhausted()


SCHEDULERS = {
    "promotion": {},
    "new attempts": {"continue_in_place": False, "reduction_factor": 2},
    "stopping": {"type": "stopping"},
    "shared": {"shared_rungs": True, "brackets": 2},
    "shared and stopping": {"type": "stopping", "shared_rungs": True},
    "without rungs": {"grace_period": 9},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_keeps_to_the_protocol(name):
    for seed in range(3):

        def make(seed=seed):
            return Hyperband(max_resource=9, seed=seed, **SCHEDULERS[name])

        check_scheduler(make, max_resource=9, seed=seed)
        check_scheduler(make, max_resource=9, n_workers=1, n_configs=5, seed=seed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "halving"}, "type must be one of promotion, stopping; got 'halving'"),
        ({"grace_period": 10}, "grace_period must lie between 1 and max_resource 9; got 10"),
        ({"brackets": 0}, "brackets must lie between 1 and 3, one more than .*; got 0"),
        ({"brackets": 4}, "brackets must lie between 1 and 3, one more than .*; got 4"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(UsageError, match=message):
        Hyperband(**({"max_resource": 9, "seed": 0} | options))


def test_settings_are_told():
    assert Hyperband(max_resource=9, seed=0, shared_rungs=True).describe() == {
        "scheduler": "Hyperband",
        "type": "promotion",
        "max_resource": 9,
        "grace_period": 1,
        "reduction_factor": 3,
        "brackets": 3,
        "shared_rungs": True,
        "continue_in_place": True,
    }


def test_draining_waits_for_what_runs():
    hyperband = Hyperband(max_resource=9, seed=0)
    hyperband.next()
    assert hyperband.next() == Wait("proposal")
    hyperband.accept(Proposal(0, {}))
    hyperband.next()
    assert hyperband.next(new=False) == Wait("draining")
