"""Minimisation within bounds in few evaluations, from several starts at once.

Quasi-Newton steps within a radius, with the update of Broyden, Fletcher, Goldfarb and Shanno,
damped so that Hessians stay positive definite (Nocedal, Wright, "Numerical Optimization", 2006,
section 4.1 and procedure 18.2). A coordinate that would leave the bounds is held, and the step is
the best one for the others. Every start descends on its own, but all are evaluated together: where
a batch costs little more than a point, as predictions do, they are had for the price of one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from asynctune.gp.arrays import Matrix, Vector

# A refused step is followed by one this much shorter.
_SHRINK = 0.4
# Share of the gain promised by the slope that a step must bring (Armijo's rule).
_SUFFICIENT = 1e-4
# Of the curvature expected along a step, the share below which what was seen is believed in part.
_DAMPED_BELOW = 0.2
# Below this, lengths and curvatures are none.
_TINY = 1e-100
# A curvature against which any slope is none.
_RIGID = 1e200

Objective = Callable[[Matrix], tuple[Vector, Matrix]]
"""Maps points, ``(m, d)``, to values, ``(m,)``, and gradients, ``(m, d)``."""


class Descent(NamedTuple):
    """Where `m` descents have led.

    Attributes:
        X: The lowest points seen, shape ``(m, d)``.
        value: Values there, shape ``(m,)``.
        next: Where they would go next, which was not looked at, shape ``(m, d)``.
    """

    X: Matrix
    value: Vector
    next: Matrix


def descend(
    objective: Objective,
    starts: Matrix,
    bounds: tuple[Vector | float, Vector | float],
    *,
    radius: tuple[float, float],
    max_evaluations: int,
    least_gain: float,
    curvature: Callable[[Matrix], NDArray[np.float64]] | None = None,
) -> Descent:
    """Descend from each of `starts`.

    Args:
        objective: What to minimise.
        starts: Within the bounds, shape ``(m, d)``.
        bounds: Least and largest coordinates.
        radius: Length of the longest step at the start, and ever.
        max_evaluations: How often `objective` is called at most, at least 1.
        least_gain: It ends when no step promises to gain that much.
        curvature: Returns the Hessians to begin with, positive definite, shape ``(m, d, d)``, at
            the starts; if not given, the first step goes along the slope, as far as allowed.
    """
    X = starts
    value, slope = objective(X)
    reach = np.full(len(X), radius[0])
    scaled = np.full(len(X), curvature is not None)
    hessian = _slight(slope, radius[0]) if curvature is None else curvature(X)
    to = _next(X, slope, hessian, reach, bounds)
    for _ in range(max_evaluations - 1):
        step = to - X
        promised = -_dot(slope, step)
        if (promised < least_gain).all():
            break
        value_there, slope_there = objective(to)
        size, change = _dot(step, step), slope_there - slope
        if not scaled.all():
            scaled = _rescale(hessian, scaled, _dot(step, change), size)
        hessian = _updated(hessian, step, change)
        better = value_there <= value - _SUFFICIENT * promised
        length = np.sqrt(size)
        longer = np.minimum(np.maximum(reach, 2.0 * length), radius[1])
        # Mostly all have gone down, and then nothing need be picked.
        if better.all():
            reach, value, X, slope = longer, value_there, to, slope_there
        else:
            reach = np.where(better, longer, _SHRINK * length)
            value = np.where(better, value_there, value)
            X = np.where(better[:, None], to, X)
            slope = np.where(better[:, None], slope_there, slope)
        to = _next(X, slope, hessian, reach, bounds)
    return Descent(X, value, to)


def _dot(A: Matrix, B: Matrix) -> Vector:
    """Return the products of rows, shape ``(m,)``."""
    dots: Vector = np.vecdot(A, B)
    return dots


def _slight(slope: Matrix, length: float) -> NDArray[np.float64]:
    """Return the multiples of the identity by which first steps have that length, ``(m, d, d)``."""
    scale = np.maximum(np.sqrt(_dot(slope, slope)) / length, _TINY)
    hessian: NDArray[np.float64] = scale[:, None, None] * np.eye(slope.shape[1])
    return hessian


def _rescale(
    hessian: NDArray[np.float64], scaled: NDArray[np.bool_], along: Vector, size: Vector
) -> NDArray[np.bool_]:
    """Overwrite Hessians that are a guess by the identity times the first curvature seen.

    Args:
        hessian: Shape ``(m, d, d)``.
        scaled: Which are more than a guess, shape ``(m,)``.
        along: Products of the step and the change of the gradient, shape ``(m,)``.
        size: Squared lengths of the step, shape ``(m,)``.

    Returns:
        Which are now more than a guess, shape ``(m,)``.
    """
    first = ~scaled & (along > _TINY)
    scale = along[first] / size[first]
    hessian[first] = scale[:, None, None] * np.eye(hessian.shape[1])
    return scaled | first


def _next(
    X: Matrix,
    slope: Matrix,
    hessian: NDArray[np.float64],
    reach: Vector,
    bounds: tuple[Vector | float, Vector | float],
) -> Matrix:
    """Return where the best steps within `reach` and the bounds lead, shape ``(m, d)``."""
    lower, upper = bounds
    held = np.where(slope > 0.0, lower >= X, upper <= X)
    if held.any():
        # What is as stiff as that stays where it is, and leaves the others alone.
        hessian = hessian.copy()
        hessian.reshape(len(X), -1)[:, :: X.shape[1] + 1][held] = _RIGID
    step = np.array([dposv(H, g)[1] for H, g in zip(hessian, -slope)])  # noqa: B905
    length = np.sqrt(_dot(step, step))
    if (length > reach).any():
        step *= np.minimum(reach / np.maximum(length, _TINY), 1.0)[:, None]
    step += X
    np.maximum(step, lower, out=step)
    inside: Matrix = np.minimum(step, upper, out=step)
    return inside


def _updated(hessian: NDArray[np.float64], step: Matrix, change: Matrix) -> NDArray[np.float64]:
    """Return the Hessians that explain a `change` of the gradient over each step."""
    expected = (hessian @ step[:, :, None])[:, :, 0]
    along, seen = _dot(step, expected), _dot(step, change)
    low = seen < _DAMPED_BELOW * along
    if low.any():
        trust = np.where(low, (1.0 - _DAMPED_BELOW) * along / np.where(low, along - seen, 1.0), 1.0)
        change = trust[:, None] * change + (1.0 - trust)[:, None] * expected
        seen = _dot(step, change)
    moved = along > _TINY
    if not moved.all():
        # A start that is where it wants to be has made no step.
        seen, along = np.where(moved, seen, np.inf), np.where(moved, along, np.inf)
    updated = _outer(change, change / seen[:, None])
    updated += hessian
    updated -= _outer(expected, expected / along[:, None])
    return updated


def _outer(A: Matrix, B: Matrix) -> NDArray[np.float64]:
    """Return the outer products of rows, shape ``(m, d, d)``."""
    outer: NDArray[np.float64] = A[:, :, None] * B[:, None, :]
    return outer
