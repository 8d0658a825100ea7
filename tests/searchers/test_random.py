import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctune.exceptions import SpaceError, UsageError
from asynctune.searchers.base import Proposal, Searcher, Snapshot
from asynctune.searchers.random import BLOCK, InitialConfigs, RandomSearcher
from asynctune.space import ConfigSpace, choice, lograndint, loguniform, ordinal, randint, uniform

SPACE = ConfigSpace({"lr": loguniform(1e-6, 1e-3), "batch_size": randint(16, 48), "epochs": 40})
NOTHING = Snapshot((), (), 0, (), frozenset(), None)


def run_out(space, seed=0, points=None):
    initial = InitialConfigs(space, seed, points)
    configs = []
    while (config := initial.config(len(configs))) is not None:
        configs.append(config)
    return configs


def test_the_default_comes_first():
    assert InitialConfigs(SPACE, 3).config(0) == SPACE.default()
    assert InitialConfigs(SPACE, 3, []).config(0) == InitialConfigs(SPACE, 3).config(1)


def test_points_come_first_completed_and_distinct():
    points = [{"batch_size": 20}, {}, {"batch_size": 20, "epochs": 40}, {"lr": 1e-6}]
    initial = InitialConfigs(SPACE, 3, points)
    default = SPACE.default()
    assert initial.n_points == 3
    assert initial.config(0) == {**default, "batch_size": 20}
    assert initial.config(1) == default
    assert initial.config(2) == {**default, "lr": 1e-6}
    # Points only push the random configs back.
    assert [initial.config(k + 3) for k in range(500)] == [
        InitialConfigs(SPACE, 3, []).config(k) for k in range(500)
    ]


def test_a_config_depends_on_its_number_alone():
    forward = InitialConfigs(SPACE, 7)
    configs = [forward.config(k) for k in range(3 * BLOCK)]
    for k in (2 * BLOCK + 5, BLOCK, 1, 0, 3 * BLOCK - 1):
        assert InitialConfigs(SPACE, 7).config(k) == configs[k]
        assert forward.config(k) is configs[k]
    assert InitialConfigs(SPACE, 8).config(1) != configs[1]
    assert len({SPACE.key(c) for c in configs}) == 3 * BLOCK


def test_the_sequence_is_pinned():
    # A change here breaks the restart of every experiment that was begun before.
    initial = InitialConfigs(SPACE, 2938702734)
    configs = [initial.config(k) for k in (1, BLOCK + 1)]
    assert configs == [
        {"lr": 3.1556631683222557e-06, "batch_size": 27, "epochs": 40},
        {"lr": 9.745504637492406e-05, "batch_size": 36, "epochs": 40},
    ]


def test_order_of_keys_does_not_matter():
    turned = ConfigSpace(dict(reversed(list(SPACE.items()))))
    assert InitialConfigs(turned, 5).config(9) == InitialConfigs(SPACE, 5).config(9)


@settings(max_examples=40)
@given(st.integers(0, 2**64), st.integers(1, 40), st.integers(1, 30))
def test_a_finite_space_runs_out_after_all_of_it(seed, a, b):
    space = ConfigSpace({"a": lograndint(1, a), "b": choice(list(range(b))), "c": "constant"})
    configs = run_out(space, seed)
    assert len(configs) == a * b
    assert {space.key(c) for c in configs} == {space.key(space.config_at(i)) for i in range(a * b)}
    assert run_out(space, seed, [{"b": 0}]) == run_out(space, seed, [{"b": 0}])


def test_cells_that_are_never_drawn_are_enumerated():
    # Value 2 has a probability of 1e-12.
    space = ConfigSpace({"a": ordinal([1, 2, 3, 10**12], "nn"), "b": randint(1, 20_000)})
    assert len(run_out(space, points=[])) == 80_000


def test_what_is_left_comes_in_random_order():
    space = ConfigSpace({"a": ordinal([1, *range(2, 200), 10**15], "nn")})
    a, b = ([c["a"] for c in run_out(space, seed)] for seed in (1, 2))
    assert sorted(a) == sorted(b) == [*range(1, 200), 10**15]
    assert a != b
    assert a[5:] != sorted(a[5:])


def test_a_continuum_without_new_configs_counts_as_exhausted():
    # Of this one, only 1.0 and its successor exist as floats.
    space = ConfigSpace({"x": uniform(1.0, np.nextafter(1.0, 2.0))})
    assert space.size is None
    assert sorted(c["x"] for c in run_out(space)) == [1.0, np.nextafter(1.0, 2.0)]


def test_a_space_too_large_to_enumerate_ends_when_draws_are_fruitless(monkeypatch):
    monkeypatch.setattr("asynctune.searchers.random.ENUMERABLE", 3)
    space = ConfigSpace({"a": ordinal([1, 2, 3, 10**15], "nn")})
    assert sorted(c["a"] for c in run_out(space, points=[])) == [1, 3, 10**15]


def test_points_alone_can_exhaust_a_space():
    space = ConfigSpace({"a": choice([1, 2])})
    assert run_out(space, points=[{"a": 2}, {"a": 1}]) == [{"a": 2}, {"a": 1}]
    assert run_out(ConfigSpace({"epochs": 3})) == [{"epochs": 3}]


def test_draws_follow_the_space():
    initial = InitialConfigs(SPACE, 1, [])
    n = 4000
    logs = np.log10([initial.config(k)["lr"] for k in range(n)])
    # Mean and spread of a uniform distribution of length 3, within 4 standard errors.
    assert abs(np.mean(logs) + 4.5) < 4 * 3 / np.sqrt(12 * n)
    assert abs(np.var(logs) - 9 / 12) < 4 * 9 / np.sqrt(180 * n)


def test_bad_input():
    with pytest.raises(UsageError, match="seed must be at least 0; got -1"):
        InitialConfigs(SPACE, -1)
    with pytest.raises(SpaceError, match=r"points_to_evaluate\[1\]: parameter 'lr': .*got 1.0"):
        InitialConfigs(SPACE, 0, [{}, {"lr": 1}])
    with pytest.raises(UsageError, match="number of a config must be at least 0; got -1"):
        InitialConfigs(SPACE, 0).config(-1)


def test_searcher():
    initial = InitialConfigs(SPACE, 4, [{"batch_size": 16}])
    searcher: Searcher = RandomSearcher(initial)
    assert searcher.needs_data is False
    assert searcher.propose(NOTHING, 0) == Proposal(0, initial.config(0), None, "points")
    assert searcher.propose(NOTHING, 5) == Proposal(5, initial.config(5), None, "random")
    described = searcher.describe()
    assert json.loads(json.dumps(described)) == described
    assert described == {
        "searcher": "random",
        "seed": 4,
        "points_to_evaluate": [{**SPACE.default(), "batch_size": 16}],
    }


def test_searcher_proposes_none_when_exhausted():
    searcher = RandomSearcher(InitialConfigs(ConfigSpace({"a": choice([1, 2])}), 0))
    assert [searcher.propose(NOTHING, k).config is None for k in range(4)] == [
        False,
        False,
        True,
        True,
    ]
