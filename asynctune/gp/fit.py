"""Fitting a process: the parameters of highest posterior density."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.data import Inputs
from asynctune.gp.levels import IndependentLogPosterior
from asynctune.gp.likelihood import NegativeLogPosterior
from asynctune.gp.model import Model
from asynctune.gp.newton import descend

_MAX_EVALUATIONS = 50
# In units of the log density: a gain below this is not worth another factorisation.
_LEAST_GAIN = 1e-4
# The longest step, in standard deviations of the prior: what is expected holds nearby only.
_RADIUS = 1.0


def fit(
    model: Model,
    inputs: Inputs,
    targets: Vector,
    starts: Sequence[Vector],
    max_evaluations: int = _MAX_EVALUATIONS,
) -> Vector:
    """Return the parameters of highest posterior density found from `starts`.

    Args:
        model: The process.
        inputs: Where it is observed, `n` points.
        targets: Standardised values there, shape ``(n,)``.
        starts: Parameter vectors, each of shape ``(p,)``; at least one.
        max_evaluations: How often the density is evaluated at most, from each start.

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
    # Steps are measured in standard deviations of the prior.
    unit = model.sd
    lower, upper = model.lower / unit, model.upper / unit

    def density_at(X: Matrix) -> tuple[Vector, Matrix]:
        value, slope = objective(X[0] * unit)
        return np.array([value]), (slope * unit)[None]

    def curvature_at(X: Matrix) -> NDArray[np.float64]:
        hessian: Matrix = objective.curvature(X[0] * unit) * np.outer(unit, unit)
        return hessian[None]

    best, best_value = starts[0], np.inf
    for start in starts:
        descent = descend(
            density_at,
            np.clip(start / unit, lower, upper)[None],
            (lower, upper),
            radius=(_RADIUS, _RADIUS),
            max_evaluations=max_evaluations,
            least_gain=_LEAST_GAIN,
            curvature=curvature_at,
        )
        # One more step is had without its gradient, at half the price.
        further = descent.next[0] * unit
        ends = (descent.X[0] * unit, descent.value[0]), (further, objective.value(further))
        for end, value in ends:
            if value < best_value:
                best, best_value = end, value
    return np.clip(best, model.lower, model.upper)
