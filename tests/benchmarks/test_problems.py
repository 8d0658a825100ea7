import math

import numpy as np
import pytest

from benchmarks.peers.problems import PROBLEMS
from benchmarks.peers.sampling import random_configs
from benchmarks.peers.space import Parameter

MINIMA = {
    "branin": {"x0": math.pi, "x1": 2.275},
    "hartmann6": dict(
        zip(
            [f"x{i}" for i in range(6)],
            [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573],
            strict=True,
        )
    ),
    "ackley10": {f"x{i}": 0.0 for i in range(10)},
    "rosenbrock8": {f"x{i}": 1.0 for i in range(8)},
    "levy16": {f"x{i}": 1.0 for i in range(16)},
}


@pytest.mark.parametrize("name", MINIMA)
def test_a_closed_form_has_its_known_value_at_its_known_minimum(name):
    problem = PROBLEMS[name]
    assert problem.truth(MINIMA[name]) == pytest.approx(problem.optimum, abs=2e-5)


@pytest.mark.parametrize("name", MINIMA)
def test_no_random_config_is_below_the_minimum(name):
    problem = PROBLEMS[name]
    values = [problem.truth(c) for c in random_configs(problem.parameters, 500, seed=0)]
    assert min(values) > problem.optimum
    assert len(set(values)) == len(values)


def test_branin_has_three_equal_minima():
    branin = PROBLEMS["branin"].truth
    minima = [(-math.pi, 12.275), (math.pi, 2.275), (9.42478, 2.475)]
    assert [branin({"x0": x, "x1": y}) for x, y in minima] == pytest.approx(
        [0.397887] * 3, abs=1e-5
    )


def test_every_parameter_of_every_problem_matters():
    for problem in PROBLEMS.values():
        if problem.name == "transformer_wikitext2":
            continue  # of its parameters some hardly do
        config, other = random_configs(problem.parameters, 2, seed=3)
        for p in problem.parameters:
            if config[p.name] == other[p.name]:
                continue
            assert problem.truth({**config, p.name: other[p.name]}) != problem.truth(config)


def test_the_mixed_problem_has_another_best_float_for_each_choice():
    mixed = PROBLEMS["mixed"].truth
    grid = [(x, y) for x in np.linspace(-2, 2, 41) for y in np.linspace(-1, 1, 21)]
    best = set()
    for surface in ("rosenbrock", "camel", "beale"):
        found = [mixed({"surface": surface, "x0": x, "x1": y, "i0": 14, "i1": 3}) for x, y in grid]
        best.add(grid[int(np.argmin(found))])
    assert len(best) == 3


def test_the_transformer_problem_returns_the_same_loss_again_and_prefers_momentum():
    truth = PROBLEMS["transformer_wikitext2"].truth
    good = {"lr": 5e-4, "dropout": 0.1, "batch_size": 16, "momentum": 0.9, "clip": 0.5}
    assert truth(good) == truth(dict(good))
    assert truth(good) < truth({**good, "lr": 2e-6, "momentum": 0.0})


def test_noise_depends_on_seed_and_number_alone_and_has_its_size():
    noisy = PROBLEMS["hartmann6_noisy"]
    config = random_configs(noisy.parameters, 1, seed=0)[0]
    assert noisy.observed(config, 1, 2) == noisy.observed(config, 1, 2)
    told = np.array([noisy.observed(config, 1, k) for k in range(400)])
    assert len(set(told)) == 400
    assert told.mean() == pytest.approx(noisy.truth(config), abs=0.05)
    assert told.std() == pytest.approx(0.3, abs=0.04)
    quiet = PROBLEMS["hartmann6"]
    assert quiet.observed(config, 1, 2) == quiet.truth(config)


def test_random_configs_lie_in_the_space_and_fill_it():
    space = (
        Parameter("a", low=1e-6, high=1.0, log=True),
        Parameter("b", "int", low=3, high=5),
        Parameter("c", "choice", values=("x", "y")),
        Parameter("d", low=-2, high=2),
        Parameter("e", "int", low=1, high=1000, log=True),
    )
    configs = random_configs(space, 400, seed=1)
    assert configs == random_configs(space, 400, seed=1)
    assert configs != random_configs(space, 400, seed=2)
    assert {c["b"] for c in configs} == {3, 4, 5}
    assert {c["c"] for c in configs} == {"x", "y"}
    assert 1e-6 <= min(c["a"] for c in configs) < 1e-5
    assert np.median([c["a"] for c in configs]) == pytest.approx(1e-3, rel=0.7)
    assert np.median([c["e"] for c in configs]) == pytest.approx(31, rel=0.5)
    assert min(c["d"] for c in configs) < -1.9 < 1.9 < max(c["d"] for c in configs) <= 2
