import heapq
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from asynctune.exceptions import UsageError
from asynctune.searchers._gp_data import acquisition_resource, capped, values_by_level
from asynctune.searchers.base import Observation, Pending, Snapshot
from asynctune.searchers.mobster import MOBSTERSearcher
from asynctune.searchers.random import InitialConfigs, RandomSearcher
from asynctune.space import ConfigSpace, loguniform, uniform

LEVELS = (1, 3, 9, 27)
SPACE = ConfigSpace({"lr": loguniform(1e-4, 1), "dropout": uniform(0, 0.9), "decay": uniform(0, 1)})


def searcher(seed=0, **settings):
    initial = InitialConfigs(SPACE, seed)
    return MOBSTERSearcher(SPACE, seed, initial, max_resource=27, **settings)


def curve(config):
    """Return a loss that falls fast with a large lr, and low in the end with the right rest."""
    speed = 30 * config["lr"] ** 0.7
    if config["lr"] > 0.5:
        return np.full(27, np.inf)
    floor = 1 + 4 * (config["dropout"] - 0.2) ** 2 + (config["decay"] - 0.7) ** 2
    return floor + (5 - floor) / (1 + speed * np.arange(1, 28))


def log_of(configs, levels_of):
    return [
        Observation(trial, r, float(curve(config)[r - 1]))
        for trial, config in enumerate(configs)
        for r in levels_of(trial)
    ]


def snapshot(configs, observations, pending=(), fit=None):
    return Snapshot(configs, observations, len(observations), tuple(pending), frozenset(), fit)


def halving(searcher, budget, workers=4):
    """Run asynchronous successive halving in a plain loop over events; a unit is one epoch.

    Returns:
        Configs, observations, and the best loss seen so far after each unit of time.
    """
    configs, observations, events, pending = [], [], [], {}
    rungs, promoted = {r: {} for r in LEVELS}, set()
    fit, best = None, np.full(budget + 1, np.inf)

    def begin(trial, start, end, now):
        pending[trial] = end
        heapq.heappush(events, (now + end - start, trial, end))

    def assign(now):
        nonlocal fit
        for r, following in reversed(list(itertools.pairwise(LEVELS))):
            free = [(v, t) for t, v in rungs[r].items() if (t, r) not in promoted]
            if len(rungs[r]) > 1 and free:
                value, trial = min(free)
                if value <= np.quantile(np.minimum(list(rungs[r].values()), 1e9), r / following):
                    promoted.add((trial, r))
                    begin(trial, r, following, now)
                    return
        waiting = [Pending(configs[t], r) for t, r in pending.items()]
        proposal = searcher.propose(snapshot(configs, observations, waiting, fit), len(configs))
        fit = proposal.fit or fit
        configs.append(proposal.config)
        begin(len(configs) - 1, 0, 1, now)

    for _ in range(workers):
        assign(0)
    while events:
        now, trial, r = heapq.heappop(events)
        if now > budget:
            break
        value = float(curve(configs[trial])[r - 1])
        observations.append(Observation(trial, r, value))
        rungs[r][trial] = value
        best[now:] = np.minimum(best[now:], value)
        del pending[trial]
        assign(now)
    return configs, observations, best


def test_starts_with_six_initial_configs():
    initial = InitialConfigs(SPACE, 1)
    configs, _, _ = halving(searcher(1), 4)
    assert configs[:6] == [initial.config(k) for k in range(6)]
    assert configs[6] != initial.config(6)


def test_reaches_random_halvings_result_much_sooner():
    for seed in range(3):
        _, _, ours = halving(searcher(seed), 100)
        _, _, at_random = halving(RandomSearcher(InitialConfigs(SPACE, seed)), 300)
        assert ours[100] < at_random[300]
        assert ours[100] < 1.1


def test_cap_does_not_spoil_the_search():
    _, observations, best = halving(searcher(0, max_data=30), 100)
    assert len(observations) > 60
    assert best[100] < 1.1


@pytest.mark.parametrize(
    "kernel", ["exp-decay-combined", "exp-decay-delta1", "independent", "markov"]
)
def test_looks_where_a_resource_with_data_says(kernel):
    # At resource 1 a low dropout looks good, in the end a high one; curves cross.
    space = ConfigSpace({"dropout": uniform(0, 1)})
    configs = space.sample(12, np.random.default_rng(0))
    log = [Observation(i, 1, c["dropout"]) for i, c in enumerate(configs)]

    def proposed(observations):
        state = snapshot(configs, observations)
        bo = MOBSTERSearcher(
            space,
            0,
            InitialConfigs(space, 0),
            max_resource=9,
            resource_kernel=kernel,
            levels=(1, 3, 9),
        )
        return bo.propose(state, 12).config["dropout"]

    assert proposed(log) < 0.2
    late = [Observation(i, 9, 1 - 2 * c["dropout"]) for i, c in enumerate(configs[:8])]
    assert proposed(late + log[8:]) > 0.8


def test_acquisition_resource_is_the_largest_with_three_observations():
    log = [Observation(t, 1, 1.0) for t in range(4)]
    assert acquisition_resource(values_by_level(log[:2], 2)) == 1
    log += [Observation(t, 3, 1.0) for t in range(2)]
    assert acquisition_resource(values_by_level(log, len(log))) == 1
    log.append(Observation(2, 3, 1.0))
    assert acquisition_resource(values_by_level(log, len(log))) == 3


def test_refits_when_a_new_top_level_opens():
    configs = SPACE.sample(40, np.random.default_rng(0))
    log = log_of(configs, lambda t: (1, 3) if t < 10 else (1,))
    mobster = searcher()
    fit = mobster.propose(snapshot(configs, log), 40).fit
    assert fit.observations == len(log)
    same = [*log, Observation(10, 3, 2.0)]
    assert mobster.propose(snapshot(configs, same, fit=fit), 41).fit == fit
    higher = [*log, Observation(0, 9, 2.0)]
    assert mobster.propose(snapshot(configs, higher, fit=fit), 41).fit.observations == 51


def test_a_snapshot_ends_at_its_length():
    configs = SPACE.sample(10, np.random.default_rng(0))
    log = log_of(configs, lambda t: (1,))
    later = [*log, *log_of(configs, lambda t: (27,))]
    state = snapshot(configs, log)
    assert searcher().propose(state._replace(observations=later), 10) == searcher().propose(
        state, 10
    )


def test_pending_proposals_spread_out():
    configs = SPACE.sample(20, np.random.default_rng(1))
    log = log_of(configs, lambda t: (1, 3) if t < 7 else (1,))
    mobster, pending = searcher(), []
    for k in range(20, 26):
        state = snapshot(configs, log, [Pending(c, 1) for c in pending])
        pending.append(mobster.propose(state, k).config)
    X = SPACE.encode(pending)
    nearest = np.sort(np.linalg.norm(X[:, None] - X, axis=2), axis=1)[:, 1]
    assert nearest.min() > 0.02
    assert nearest.mean() > 0.1
    alone = SPACE.encode([mobster.propose(snapshot(configs, log), k).config for k in range(20, 26)])
    assert np.ptp(alone, axis=0).max() < 0.05


def test_does_not_keep_asking_for_copies_of_what_was_left_behind():
    # A config that the rung rule left at resource 1 stays uncertain at 27; its copies would too.
    configs = SPACE.sample(30, np.random.default_rng(4))
    log = log_of(configs, lambda t: (1, 3, 9, 27) if t % 4 == 0 else (1,))
    mobster, fit = searcher(), None
    for k in range(30, 45):
        proposal = mobster.propose(snapshot(configs, log, fit=fit), k)
        fit = proposal.fit
        configs = [*configs, proposal.config]
        log = [*log, Observation(k, 1, float(curve(proposal.config)[0]))]
    X = SPACE.encode(configs)
    distances = np.linalg.norm(X[30:, None] - X, axis=2)
    nearest = np.sort(distances, axis=1)[:, 1]
    assert nearest.min() > 0.01


def test_cap_keeps_top_trials_with_their_curves_and_a_sample_of_the_rest():
    rng = np.random.default_rng(2)
    values = dict(enumerate(rng.permutation(60).astype(float)))
    log = [Observation(t, 1, v) for t, v in values.items()]
    good = sorted(values, key=values.get)[:20]
    log += [Observation(t, 3, values[t]) for t in good]
    log += [Observation(t, 9, values[t]) for t in good[:6]]
    data = values_by_level(log, len(log))
    assert capped(data, 86) is data
    kept = capped(data, 45)
    assert len(kept.trials) == 45
    pairs = set(zip(kept.trials, kept.resources, strict=True))
    # 6 trials with three levels and then the best 6 with two take 30 places.
    for trial in good[:12]:
        assert {(trial, 1), (trial, 3)} <= pairs
    assert {r for t, r in pairs if t in good[12:]} == {3}
    rest = [t for t in kept.trials if t not in good]
    assert max(values[t] for t in rest) > 50
    assert {r for t, r in pairs if t in rest} == {1}
    again = capped(values_by_level(log, len(log)), 45)
    assert all((a == b).all() for a, b in zip(kept, again, strict=True))


def test_many_observations_of_diverged_trials():
    configs = SPACE.sample(300, np.random.default_rng(3))
    log = log_of(configs, lambda t: (1, 3) if t % 3 == 0 else (1,))
    for i in range(0, len(log), 2):
        log[i] = log[i]._replace(value=np.inf)
    proposal = searcher(max_data=100).propose(snapshot(configs, log), 300)
    assert proposal.origin == "model"
    assert np.isfinite(proposal.fit.parameters).all()


SCRIPT = """
from tests.searchers.test_mobster import *
configs, observations, _ = halving(searcher(3), 12)
print([[c[k].hex() for k in sorted(c)] for c in configs])
"""


def test_two_processes_propose_the_same_bytes():
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

    def start(**extra):
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env={**env, **extra})

    running = [start(PYTHONHASHSEED="1"), start(PYTHONHASHSEED="2", PYTHONMALLOC="malloc")]
    first, second = (process.communicate()[0] for process in running)
    assert first == second
    assert len(first) > 500


def test_describes_itself_in_json():
    settings = json.loads(json.dumps(searcher(max_data=200).describe()))
    assert settings["searcher"] == "mobster"
    assert settings["max_data"] == 200
    assert settings["max_resource"] == 27


def test_refuses_a_max_resource_below_one():
    with pytest.raises(UsageError, match="max_resource must be at least 1; got 0"):
        MOBSTERSearcher(SPACE, 0, InitialConfigs(SPACE, 0), max_resource=0)


@pytest.mark.parametrize("levels", [(), (1, 3, 9), (3, 1, 27), (1, 1, 27)])
def test_kernels_of_levels_must_know_the_levels(levels):
    for kernel in ("independent", "markov"):
        with pytest.raises(UsageError, match="levels must ascend, up to max_resource 27"):
            searcher(resource_kernel=kernel, levels=levels)
