"""Climbing the acquisition from its best candidates."""

import numpy as np

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.improvement import Acquisition
from asynctune.gp.newton import descend

# More find higher peaks of the acquisition and no better configs.
_EVALUATIONS = 8
# Lengths of the first step and of the longest one, the cube's sides being 1.
_RADIUS = 0.2, 0.5
# What is climbed is a logarithm: a thousandth is not worth another evaluation.
_LEAST_GAIN = 1e-3


def polish(acquisition: Acquisition, X: Matrix) -> Matrix:
    """Return points of the unit cube where climbing `acquisition` from `X`, ``(m, d)``, has led.

    Returns:
        The highest points seen, and for each the one that would have been next, ``(2 m, d)``.
    """

    def depth(X: Matrix) -> tuple[Vector, Matrix]:
        value, slope = acquisition.value_with_gradient(X)
        return -value, -slope

    descent = descend(
        depth,
        X,
        (0.0, 1.0),
        radius=_RADIUS,
        max_evaluations=_EVALUATIONS,
        least_gain=_LEAST_GAIN,
    )
    return np.concatenate([descent.X, descent.next])
