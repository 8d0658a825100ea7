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
    found = polish(acquisition, starts)
    assert found.shape == (8, 4)
    assert ((found >= 0.0) & (found <= 1.0)).all()
    peak = max(highest(acquisition, start) for start in starts)
    assert acquisition.value(found).max() > peak - 0.05
    assert (acquisition.value(found[:4]) >= acquisition.value(starts)).all()


def test_takes_at_most_eight_batches():
    acquisition = improvement(0)
    batches = []

    class Counted:
        def value_with_gradient(self, X):
            batches.append(len(X))
            return acquisition.value_with_gradient(X)

    polish(Counted(), np.random.default_rng(0).random((4, 4)))
    assert set(batches) == {4}
    assert len(batches) <= 8
