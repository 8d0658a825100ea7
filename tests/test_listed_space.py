"""Spaces of which only some configs can be had, and methods that choose among these."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctune.exceptions import SpaceError
from asynctune.methods import METHODS, Problem, make_method
from asynctune.searchers.base import Observation, Snapshot
from asynctune.space import ConfigSpace, ListedSpace, choice, loguniform, randint, uniform
from asynctune.space._listed import nearest_rows
from asynctune.testing import check_searcher

WHOLE = ConfigSpace({"x": uniform(0, 1), "lr": loguniform(1e-6, 1), "n": randint(1, 50), "c": "z"})


def listed(n, seed=0):
    return ListedSpace(WHOLE, WHOLE.sample(n, np.random.default_rng(seed)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_the_nearest_row_is_the_one_of_least_distance(seed, d, n):
    random = np.random.default_rng(seed)
    points, among = random.random((7, d)), random.random((n, d))
    found = nearest_rows(points, among)
    for point, at in zip(points, found, strict=True):
        assert at == np.linalg.norm(among - point, axis=1).argmin()
    assert nearest_rows(among, np.vstack([among, among])).tolist() == list(range(n))


def test_what_is_drawn_is_the_nearest_of_the_list():
    space = listed(30)
    configs = [space.config_at(i) for i in range(30)]
    assert space.size == 30
    assert space.decode(space.encode(configs)) == space.nearest(configs) == configs
    draws = np.random.default_rng(1).random((50, 3))
    cube = space.encode(configs)
    for drawn, wanted in zip(space.from_unit(draws), WHOLE.from_unit(draws), strict=True):
        assert drawn["c"] == "z"
        distances = np.linalg.norm(cube - WHOLE.encode([wanted]), axis=1)
        assert drawn == configs[distances.argmin()]
    assert space.default() == space.nearest([WHOLE.default()])[0] in configs
    assert WHOLE.nearest(configs) == configs


def test_a_list_keeps_its_order_and_leaves_out_what_comes_again():
    configs = [{"a": value} for value in (3, 1, 3, 2, 1)]
    space = ListedSpace({"a": choice([1, 2, 3, 4])}, configs)
    assert [space.config_at(i)["a"] for i in range(3)] == [3, 1, 2]
    again = pickle.loads(pickle.dumps(space))  # noqa: S301 - our own
    assert [again.config_at(i)["a"] for i in range(3)] == [3, 1, 2]
    assert (again.size, again.default()) == (3, {"a": 1})
    with pytest.raises(SpaceError, match="must be below 3; got 3"):
        space.config_at(3)


def test_bad_lists_are_refused():
    with pytest.raises(SpaceError, match="must have at least one; got none"):
        ListedSpace(WHOLE, [])
    with pytest.raises(SpaceError, match="parameter 'n'"):
        ListedSpace(WHOLE, [{"n": 99}])


@pytest.mark.parametrize("method", METHODS)
def test_methods_try_each_config_of_a_list_once(method):
    space = listed(13)
    check_searcher(
        lambda: make_method(method, Problem(space, 9, 3)).searcher,
        space,
        max_resource=9,
        n_proposals=6,
    )
    searcher = make_method(method, Problem(space, 9, 3)).searcher
    tried = []
    for k in range(13):
        seen = [Observation(t, 9, config["x"]) for t, config in enumerate(tried)]
        state = Snapshot(list(tried), seen, len(seen), (), frozenset(), None)
        tried.append(searcher.propose(state, k).config)
    assert sorted(map(space.key, tried)) == sorted(space.key(space.config_at(i)) for i in range(13))
    seen = [Observation(t, 9, config["x"]) for t, config in enumerate(tried)]
    assert searcher.propose(Snapshot(tried, seen, 13, (), frozenset(), None), 13).config is None


def test_a_model_searches_a_long_list_by_its_coordinates():
    space = listed(1500)
    there = {space.key(space.config_at(i)) for i in range(1500)}
    searcher = make_method("BO", Problem(space, 9, 3)).searcher
    configs = space.sample(12, np.random.default_rng(4))
    seen = [Observation(t, 9, config["x"]) for t, config in enumerate(configs)]
    proposal = searcher.propose(Snapshot(configs, seen, 12, (), frozenset(), None), 12)
    assert proposal.origin == "model"
    assert space.key(proposal.config) in there - set(map(space.key, configs))
    assert proposal.config["x"] < 0.2  # what is less is better
