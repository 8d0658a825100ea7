import numpy as np
import pytest

from asynctune.gp.candidates import points_around, spread_points


def rng(k=0):
    return np.random.Generator(np.random.PCG64(k))


@pytest.mark.parametrize("d", [1, 5])
def test_spread_points_fill_the_cube_evenly(d):
    X = spread_points(256, d, rng())
    assert X.shape == (256, d)
    assert ((X > 0) & (X < 1)).all()
    # A digital net, shifted: each coordinate has exactly one point in each of 256 cells.
    for column in X.T:
        assert sorted(np.floor(column * 256)) == list(range(256))


def test_spread_points_differ_by_generator_and_repeat():
    assert (spread_points(64, 3, rng(1)) == spread_points(64, 3, rng(1))).all()
    assert (spread_points(64, 3, rng(1)) != spread_points(64, 3, rng(2))).all()


def test_points_around_keep_some_parameters_and_move_one_hot_codes_together():
    centres = np.array([[0.5, 0.0, 1.0, 0.0, 0.3], [0.2, 1.0, 0.0, 0.0, 0.9]])
    parameters = np.array([0, 1, 1, 1, 2])
    X = points_around(centres, 40, parameters, rng()).reshape(2, 40, 5)
    assert ((X >= 0) & (X <= 1)).all()
    moved = centres[:, None, :] != X
    assert moved.any(axis=2).all()
    assert not moved.all(axis=2).all()
    # Seen through clipping: where a code moved upwards from 0, parameter 1 was chosen.
    resampled = X[:, ::4]
    code = resampled[:, :, 1:4] != centres[:, None, 1:4]
    assert (code.all(axis=2) | ~code.any(axis=2)).all()
    near = np.abs(X[:, 3::4] - centres[:, None, :])
    assert near.max() < 0.1
