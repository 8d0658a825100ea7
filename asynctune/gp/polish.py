"""Climbing the acquisition from its best candidates."""

import numpy as np
from scipy.optimize import minimize

from asynctune.gp.acquisition import log_ei
from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.posterior import Posterior

_MAX_ITERATIONS = 20


def polish(posterior: Posterior, X: Matrix, incumbent: float) -> Matrix:
    """Return points of the unit cube at which log EI is higher than at `X`, ``(m, d)``.

    All points climb at once, by L-BFGS-B on the sum of their log EI, so that each step costs one
    batch of predictions.
    """

    def objective(flat: Vector) -> tuple[float, Vector]:
        prediction, gradient = posterior.predict_with_gradient(flat.reshape(X.shape))
        ei = log_ei(prediction.mean, prediction.sd, incumbent)
        slope = ei.d_mean[:, None] * gradient.mean + ei.d_sd[:, None] * gradient.sd
        return -float(ei.value.sum()), -slope.ravel()

    result = minimize(
        objective,
        X.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * X.size,
        options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-4, "gtol": 1e-3},
    )
    return np.clip(result.x, 0.0, 1.0).reshape(X.shape)
