"""Climbing the acquisition from its best candidates."""

import numpy as np

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.improvement import Acquisition
from asynctune.gp.newton import descend

# More find higher peaks of the acquisition and no better configs.
_EVALUATIONS = 6
# Lengths of the first step and of the longest one, in lengthscales: near the best configs peaks are
# narrower than these.
_RADIUS = 0.2, 0.5
# Lengthscales beyond are taken for these: the cube's sides are 1.
_LENGTHS = 0.125, 4.0
# What is climbed is a logarithm: a thousandth is not worth another evaluation.
_LEAST_GAIN = 1e-3


def polish(acquisition: Acquisition, X: Matrix, lengthscales: Vector) -> Matrix:
    """Return points of the unit cube where climbing `acquisition` from `X`, ``(m, d)``, has led.

    Args:
        acquisition: What is climbed.
        X: The points to start from, shape ``(m, d)``.
        lengthscales: Over which length it changes by how much, in each coordinate, shape ``(d,)``.
            In units of these all coordinates are alike at first sight, which is what a descent
            that knows no curvature yet begins with.

    Returns:
        The highest points seen, and for each the one that would have been next, ``(2 m, d)``.
    """
    # Powers of two, so that what lies on the cube's faces stays there in spite of rounding.
    unit = np.exp2(np.rint(np.log2(np.clip(lengthscales, *_LENGTHS))))

    def depth(Z: Matrix) -> tuple[Vector, Matrix]:
        value, slope = acquisition.value_with_gradient(Z * unit)
        return -value, slope * -unit

    descent = descend(
        depth,
        X / unit,
        (0.0, 1.0 / unit),
        radius=_RADIUS,
        max_evaluations=_EVALUATIONS,
        least_gain=_LEAST_GAIN,
    )
    return np.concatenate([descent.X, descent.next]) * unit
