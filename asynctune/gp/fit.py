"""Fitting a process: the parameters of highest posterior density."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from asynctune.gp.arrays import Vector
from asynctune.gp.data import Inputs
from asynctune.gp.levels import IndependentLogPosterior
from asynctune.gp.likelihood import NegativeLogPosterior
from asynctune.gp.model import Model

_MAX_ITERATIONS = 50
# In units of the log density: a gain below this is not worth another factorisation.
_TOLERANCE = 1e-5


def fit(model: Model, inputs: Inputs, targets: Vector, starts: Sequence[Vector]) -> Vector:
    """Return the parameters of highest posterior density found from `starts` by L-BFGS-B.

    Args:
        model: The process.
        inputs: Where it is observed, `n` points.
        targets: Standardised values there, shape ``(n,)``.
        starts: Parameter vectors, each of shape ``(p,)``; at least one.

    Returns:
        Shape ``(p,)``, within the model's bounds.

    Raises:
        ValueError: If `inputs` or `targets` are not finite.
    """
    if not (np.isfinite(inputs.X).all() and np.isfinite(targets).all()):
        raise ValueError("a process is fitted to finite inputs and targets only")
    falls_apart = model.resource_kernel == "independent"
    density = IndependentLogPosterior if falls_apart else NegativeLogPosterior
    objective = density(model, inputs, targets)
    bounds = list(zip(model.lower, model.upper, strict=True))
    best, best_value = starts[0], np.inf
    for start in starts:
        result = minimize(
            objective,
            np.clip(start, model.lower, model.upper),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": _MAX_ITERATIONS, "ftol": _TOLERANCE, "gtol": 1e-3},
        )
        if result.fun < best_value:
            best, best_value = result.x, result.fun
    return best
