import numpy as np
import pytest
from scipy.optimize import minimize

from asynctune.gp.data import inputs
from asynctune.gp.improvement import LogImprovement
from asynctune.gp.model import Model
from asynctune.gp.polish import polish
from asynctune.gp.posterior import Posterior


def improvement(seed, d=4, n=40):
    rng = np.random.default_rng(seed)
    X = rng.random((n, d))
    y = np.sum((X - 0.7) ** 2 * np.arange(d), axis=1) + 0.1 * rng.standard_normal(n)
    y = (y - y.mean()) / y.std()
    model = Model(d)
    posterior = Posterior(model, model.centre, inputs(X), y, reinterpolate=True)
    return LogImprovement(posterior, float(y.min()))


def highest(acquisition, start):
    """The height of the peak above a point, by L-BFGS-B without haste."""

    def depth(x):
        value, slope = acquisition.value_with_gradient(x[None])
        return -value[0], -slope[0]

    bounds = [(0.0, 1.0)] * len(start)
    options = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500}
    return -minimize(depth, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun


@pytest.mark.parametrize("seed", range(5))
def test_climbs_nearly_to_the_peak(seed):
    acquisition = improvement(seed)
    rng = np.random.default_rng(seed + 100)
    X = rng.random((300, 4))
    starts = X[np.argsort(-acquisition.value(X))[:4]]
    found = polish(acquisition, starts, np.ones(4))
    assert found.shape == (8, 4)
    assert ((found >= 0.0) & (found <= 1.0)).all()
    peak = max(highest(acquisition, start) for start in starts)
    assert acquisition.value(found).max() > peak - 0.05
    assert (acquisition.value(found[:4]) >= acquisition.value(starts)).all()


def test_takes_at_most_six_batches():
    acquisition = improvement(0)
    batches = []

    class Counted:
        def value_with_gradient(self, X):
            batches.append(len(X))
            return acquisition.value_with_gradient(X)

    polish(Counted(), np.random.default_rng(0).random((4, 4)), np.ones(4))
    assert set(batches) == {4}
    assert len(batches) <= 6


def test_in_units_of_lengthscales_narrow_ridges_are_climbed():
    theta = Model(2).centre.copy()
    theta[:2] = np.log([0.1, 10.0])
    X = np.random.default_rng(1).random((30, 2))
    y = np.cos(12 * X[:, 0]) + 0.2 * (X[:, 1] - 0.4) ** 2
    acquisition = LogImprovement(Posterior(Model(2), theta, inputs(X), y, reinterpolate=True), -1.0)
    starts = X[np.argsort(y)[:3]] + 0.02
    heights = [
        acquisition.value(polish(acquisition, starts, lengths)).max()
        for lengths in (np.exp(theta[:2]), np.ones(2))
    ]
    peak = max(highest(acquisition, start) for start in starts)
    assert heights[0] > peak - 0.02
    assert heights[0] > heights[1]


def test_what_is_highest_at_a_corner_ends_there_exactly():
    class Slope:
        def value_with_gradient(self, X):
            return X.sum(axis=1), np.ones_like(X)

    lengths = np.array([0.41, 0.72, 1.87])
    assert (1.0 / lengths * lengths < 1.0).any()  # as units, these would fall short of it
    found = polish(Slope(), np.full((1, 3), 0.9), lengths)
    np.testing.assert_array_equal(found[0], np.ones(3))
