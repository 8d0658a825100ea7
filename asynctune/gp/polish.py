"""Climbing the acquisition from its best candidates."""

import numpy as np
from scipy.optimize import minimize

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.improvement import Acquisition

# More find higher peaks of the acquisition and no better configs: 20 measure no better.
_MAX_ITERATIONS = 10


def polish(acquisition: Acquisition, X: Matrix) -> Matrix:
    """Return points of the unit cube at which `acquisition` is higher than at `X`, ``(m, d)``.

    All points climb at once, by L-BFGS-B on the sum of their values, so that each step costs one
    batch of predictions.
    """

    def objective(flat: Vector) -> tuple[float, Vector]:
        value, slope = acquisition.value_with_gradient(flat.reshape(X.shape))
        return -float(value.sum()), -slope.ravel()

    result = minimize(
        objective,
        X.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * X.size,
        options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-4, "gtol": 1e-3},
    )
    return np.clip(result.x, 0.0, 1.0).reshape(X.shape)
