"""Bayesian optimisation that knows what configs cost."""

import numpy as np
import pytest

from asynctune.gp.cost import LearnedCost
from asynctune.searchers.base import Observation, Snapshot
from asynctune.searchers.bo import BOSearcher
from asynctune.searchers.mobster import MOBSTERSearcher
from asynctune.searchers.random import InitialConfigs
from asynctune.space import ConfigSpace, uniform

SPACE = ConfigSpace({"x": uniform(0, 1), "y": uniform(0, 1)})


def loss(config):
    """What makes training slow has nothing to do with how good the result is."""
    return np.sin(9 * config["y"]) + (config["y"] - 0.4) ** 2 + 1.0


def seconds(config):
    return float(10 * np.exp(4 * config["x"]))


def learned():
    configs = SPACE.sample(30, np.random.default_rng(9))
    return LearnedCost(SPACE.encode(configs), np.array([seconds(c) for c in configs]))


def spent_until(target, cost, seed):
    """Seconds until the loss falls to `target`, one config at a time."""
    ours = BOSearcher(SPACE, seed, InitialConfigs(SPACE, seed), cost=cost)
    configs, log, spent, fit = [], [], 0.0, None
    for k in range(60):
        state = Snapshot(configs, log, len(log), (), frozenset(), fit)
        proposal = ours.propose(state, k)
        fit = proposal.fit or fit
        configs.append(proposal.config)
        log.append(Observation(k, 1, loss(proposal.config)))
        spent += seconds(proposal.config)
        if log[-1].value <= target:
            return spent
    return np.inf


def test_a_good_config_costs_less_to_find_when_costs_are_known():
    with_cost = [spent_until(0.03, learned(), seed) for seed in range(9)]
    without = [spent_until(0.03, None, seed) for seed in range(9)]
    assert np.isfinite(with_cost).all()
    assert np.median(with_cost) < 0.7 * np.median(without)


@pytest.mark.parametrize("make", [BOSearcher, MOBSTERSearcher])
def test_the_cost_moves_proposals(make):
    more = {"max_resource": 9} if make is MOBSTERSearcher else {}
    configs = SPACE.sample(12, np.random.default_rng(1))
    log = [Observation(t, 9, loss(c)) for t, c in enumerate(configs)]
    state = Snapshot(configs, log, 12, (), frozenset(), None)

    def proposed(cost):
        initial = InitialConfigs(SPACE, 0)
        return make(SPACE, 0, initial, cost=cost, **more).propose(state, 12).config

    assert proposed(learned()) != proposed(None)
