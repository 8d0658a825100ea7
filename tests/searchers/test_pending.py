import numpy as np
import pytest

from asynctune import UsageError
from asynctune.searchers.base import Observation, Pending, Snapshot
from asynctune.searchers.bo import BOSearcher
from asynctune.searchers.mobster import MOBSTERSearcher
from asynctune.searchers.random import InitialConfigs
from asynctune.space import ConfigSpace, uniform

SPACE = ConfigSpace({"x": uniform(0, 1), "y": uniform(0, 1)})


def bo(**settings):
    return BOSearcher(SPACE, 3, InitialConfigs(SPACE, 3), **settings)


def mobster(**settings):
    return MOBSTERSearcher(SPACE, 3, InitialConfigs(SPACE, 3), max_resource=9, **settings)


def loss(config):
    return (config["x"] - 0.3) ** 2 + (config["y"] - 0.6) ** 2


def snapshot(n_pending, n=20, level=9):
    """Return what is known of `n` random configs, while `n_pending` others are under way."""
    configs = [InitialConfigs(SPACE, 3).config(k) for k in range(n + n_pending)]
    log = [Observation(k, level, loss(configs[k])) for k in range(n)]
    pending = tuple(Pending(config, level) for config in configs[n:])
    return Snapshot(configs, log, n, pending, frozenset(), None)


def proposed(searcher, known):
    proposal = searcher.propose(known, len(known.configs))
    assert proposal.origin == "model"
    return proposal.config


@pytest.mark.parametrize("make", [bo, mobster])
@pytest.mark.parametrize(
    ("n_pending", "rule"), [(1, "believer"), (5, "believer"), (6, "fantasies")]
)
def test_by_default_few_are_believed_in_and_many_are_drawn(make, n_pending, rule):
    known = snapshot(n_pending)
    assert proposed(make(), known) == proposed(make(pending=rule), known)
    other = {"believer": "fantasies", "fantasies": "believer"}[rule]
    assert proposed(make(), known) != proposed(make(pending=other), known)


@pytest.mark.parametrize("make", [bo, mobster])
def test_without_pending_configs_the_rules_are_one(make):
    known = snapshot(0)
    assert proposed(make(pending="fantasies"), known) == proposed(make(pending="believer"), known)


def nearest_neighbours(searcher, n):
    """Return how far the nearest is of each of `n` proposals made while all of them are pending."""
    known = snapshot(0, n=40)
    for _ in range(n):
        config = proposed(searcher, known)
        known = known._replace(
            configs=[*known.configs, config],
            pending=(*known.pending, Pending(config, 9)),
        )
    # The valley is found at once.
    assert loss(known.configs[40]) < 0.02
    X = SPACE.encode(known.configs[40:])
    distances = np.linalg.norm(X[:, None] - X[None], axis=2)
    distances[np.diag_indices(n)] = np.inf
    return distances.min(axis=1)


@pytest.mark.parametrize("make", [bo, mobster])
def test_sixty_four_proposals_spread_out(make):
    spread = nearest_neighbours(make(), 64)
    assert spread.min() > 1e-4
    assert np.median(spread) > 0.003
    # A smooth valley that is all but known leaves a believer nothing but its bottom.
    believed = nearest_neighbours(make(pending="believer"), 64)
    assert believed.min() > 0
    assert np.median(believed) < np.median(spread) / 4


@pytest.mark.parametrize("make", [bo, mobster])
def test_bad_rules_are_refused(make):
    with pytest.raises(
        UsageError, match="pending must be one of auto, believer, fantasies; got 'x'"
    ):
        make(pending="x")
    with pytest.raises(UsageError, match="refit_growth must be at least 0; got -1"):
        make(refit_growth=-1)


@pytest.mark.parametrize("make", [bo, mobster])
def test_a_fit_serves_until_the_data_have_grown_so_much(make):
    configs = [InitialConfigs(SPACE, 3).config(k) for k in range(40)]
    log = [Observation(k, 9, loss(configs[k])) for k in range(40)]
    first = make().propose(Snapshot(configs[:20], log, 20, (), frozenset(), None), 20)
    for growth, n, refits in ((0.1, 21, False), (0.1, 22, True), (0.5, 29, False), (0.5, 30, True)):
        known = Snapshot(configs[:n], log, n, (), frozenset(), first.fit)
        again = make(refit_growth=growth).propose(known, n)
        assert (again.fit.observations == n) == refits
