"""Encoded configs without configs are the same as with them."""

import numpy as np
import pytest

from asynctune.searchers._gp_coordinates import Coordinates
from asynctune.space import (
    ConfigSpace,
    ListedSpace,
    choice,
    finrange,
    lograndint,
    loguniform,
    ordinal,
    randint,
    reverseloguniform,
    uniform,
)

DOMAINS = {
    "batch": randint(3, 9),
    "colour": choice(["red", "green", "blue"]),
    "decay": reverseloguniform(0.9, 0.999),
    "fixed": 7,
    "flag": choice([True, False]),
    "grid": finrange(0.0, 1.0, 5),
    "lr": loguniform(1e-6, 1.0),
    "rank": ordinal([1, 10, 100]),
    "rate": uniform(-2.0, 3.0),
    "width": lograndint(16, 4096),
}
WHOLE = ConfigSpace(DOMAINS)
LISTED = ListedSpace(DOMAINS, WHOLE.sample(50, np.random.default_rng(0)))


@pytest.mark.parametrize("space", [WHOLE, LISTED])
def test_draws_are_those_of_the_space(space):
    u = np.random.default_rng(1).random((200, len(space.names)))
    expected = space.encode(space.from_unit(u))
    np.testing.assert_allclose(Coordinates(space).from_unit(u), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("space", [WHOLE, LISTED])
def test_points_move_to_the_nearest_config(space):
    X = np.random.default_rng(2).random((200, space.dimension))
    X[0], X[1] = 0.0, 1.0
    before = X.copy()
    found = Coordinates(space).nearest(X)
    np.testing.assert_allclose(found, space.encode(space.decode(X)), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(X, before)
    # They are configs already, so they stay, and they are the configs that the points stood for.
    np.testing.assert_array_equal(Coordinates(space).nearest(found), found)
    key = space.key
    discrete = [n for n, d in space.domains.items() if d.size is not None]
    for a, b in zip(space.decode(found), space.decode(X), strict=True):
        assert [a[n] for n in discrete] == [b[n] for n in discrete]
        assert space is WHOLE or key(a) == key(b)
