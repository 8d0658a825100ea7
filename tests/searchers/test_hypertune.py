import numpy as np
import pytest

from asynctune.asktell import AskTell
from asynctune.exceptions import UsageError
from asynctune.methods import Problem, make_method
from asynctune.schedulers.base import Propose
from asynctune.searchers.base import Fit, Observation, Pending, Proposal, Snapshot
from asynctune.searchers.hypertune import HyperTuneSearcher
from asynctune.searchers.random import InitialConfigs
from asynctune.space import ConfigSpace, loguniform, uniform

LEVELS = (1, 3, 9, 27)
DOMAINS = {"lr": loguniform(1e-4, 1), "dropout": uniform(0, 0.9), "decay": uniform(0, 1)}
SPACE = ConfigSpace(DOMAINS)


def searcher(seed=0, **settings):
    return HyperTuneSearcher(SPACE, seed, InitialConfigs(SPACE, seed), levels=LEVELS, **settings)


def loss(config, level, *, misleading=False):
    floor = 1 + 4 * (config["dropout"] - 0.2) ** 2 + (config["decay"] - 0.7) ** 2
    floor += 0.1 * np.log(config["lr"] / 0.01) ** 2
    if misleading and level == 1:
        return -floor
    return floor + 3 / level


def log_of(configs, counts, **how):
    """The first so many configs at each level."""
    return [
        Observation(trial, level, loss(configs[trial], level, **how))
        for level, n in zip(LEVELS, counts, strict=False)
        for trial in range(n)
    ]


def snapshot(configs, observations, pending=(), fit=None):
    return Snapshot(configs, observations, len(observations), tuple(pending), frozenset(), fit)


CONFIGS = SPACE.sample(40, np.random.default_rng(0))


def test_the_weights_are_journalled_with_the_fit_and_used_again():
    log = log_of(CONFIGS, (30, 12, 7))
    first = searcher().propose(snapshot(CONFIGS, log), 40)
    assert first.origin == "model"
    weights = first.fit.parameters[-4:]
    assert sum(weights) == pytest.approx(1)
    assert weights[3] == 0  # nobody has been there
    longer = [*log, Observation(30, 1, 2.0)]
    again = searcher().propose(snapshot(CONFIGS, longer, fit=first.fit), 41)
    assert again.fit == first.fit
    moved = first.fit._replace(parameters=(*first.fit.parameters[:-4], 0.0, 0.0, 1.0, 0.0))
    other = searcher().propose(snapshot(CONFIGS, longer, fit=moved), 41)
    assert other.fit == moved
    assert other.config != again.config


def test_a_proposal_hangs_on_seed_and_number():
    state = snapshot(CONFIGS, log_of(CONFIGS, (30, 12, 7)))
    proposal = searcher().propose(state, 40)
    assert searcher().propose(state, 40) == proposal
    assert searcher().propose(state, 41).config != proposal.config
    assert searcher(1).propose(state, 40).config != proposal.config


def test_a_misleading_level_has_no_say():
    log = log_of(CONFIGS, (40, 20, 10), misleading=True)
    proposal = searcher().propose(snapshot(CONFIGS, log), 40)
    assert proposal.fit.parameters[-4] < 0.05
    assert loss(proposal.config, 27) < 1.4


def test_pending_configs_are_kept_away_from():
    log = log_of(CONFIGS, (30, 12, 7))
    first = searcher().propose(snapshot(CONFIGS, log), 42).config

    def apart(pending):
        waiting = [Pending(config, 1) for config in pending]
        second = searcher().propose(snapshot(CONFIGS, log, waiting), 43).config
        return np.linalg.norm(np.subtract(*SPACE.encode([first, second])))

    assert apart([first]) > 5 * apart([]) > 0


def test_a_bracket_counts_by_its_weight_and_what_it_costs():
    weights = searcher().bracket_weights(Fit((7.0, 7.0, 0.5, 0.3, 0.2, 0.0), 9))
    assert weights == pytest.approx((0.5, 0.1, 0.2 / 9, 0))


@pytest.mark.parametrize("adaptive", [True, False])
def test_the_fit_moves_the_brackets(adaptive):
    problem = Problem(SPACE, 27, 3)
    scheduler = make_method("HyperTune", problem, {"adaptive_brackets": adaptive}).scheduler
    fit = Fit((*np.zeros(20), 0.0, 0.0, 1.0, 0.0), 9)
    for k in range(30):
        assert isinstance(scheduler.next(), Propose)
        scheduler.accept(Proposal(k, {}, fit))
        scheduler.next()
    brackets = {scheduler.bracket(k) for k in range(30)}
    assert brackets == {2} if adaptive else len(brackets) > 1


def best_after(method, seed, epochs):
    """The lowest loss at the last level once so many epochs were trained, one trial at a time."""
    ours = AskTell(DOMAINS, method=method, max_resource=27, seed=seed)
    spent, best = 0, np.inf
    while spent < epochs:
        trial = ours.ask()
        for level in range(trial.from_resource + 1, 28):
            spent += 1
            value = loss(trial.config, level)
            if ours.tell(trial, level, value) != "continue":
                break
        best = min(best, value) if level == 27 else best
    return best


def test_does_better_than_its_brackets_at_random():
    for seed in range(2):
        ours, at_random = (best_after(m, seed, 250) for m in ("HyperTune", "Hyperband"))
        assert ours < 1.16  # the floor is 1 + 3 / 27 = 1.111
        assert ours < at_random


@pytest.mark.parametrize("levels", [(), (3, 1), (1, 1, 3), (0, 3)])
def test_levels_are_checked(levels):
    with pytest.raises(UsageError, match="levels must be at least 1 and ascend; got"):
        HyperTuneSearcher(SPACE, 0, InitialConfigs(SPACE, 0), levels=levels)
