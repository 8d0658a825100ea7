"""Directions in which the config matters: what a curve depends on through a sum of its parts.

Often a curve depends on a config mostly through one number, such as the length of the path that
the weights can travel, which is a product of hyperparameters or of what they lack to 1. A ridge
regression on the coordinates and on logarithms of their distances to both ends finds such a number
from far fewer curves than a process on the coordinates alone needs; it goes to the process as a
further feature.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_EDGE = 0.02  # of a coordinate's range: so near its end, the logarithm levels off
_RIDGE = 0.01


class Index(NamedTuple):
    """Sums of functions of the coordinates, each brought to [0, 1] over the recorded configs.

    Attributes:
        centre: Means of the terms, shape ``(3 d,)``.
        unit: Their deviations, shape ``(3 d,)``.
        weights: Of the terms in each sum, shape ``(k, 3 d)``.
        low: Least value of each sum, shape ``(k,)``.
        span: Its range, shape ``(k,)``.
    """

    centre: Array
    unit: Array
    weights: Array
    low: Array
    span: Array

    @classmethod
    def of(cls, coordinates: Array, targets: list[Array]) -> "Index":
        """Return a sum for each target.

        Args:
            coordinates: In the unit cube, shape ``(m, d)``.
            targets: Numbers that the sums are to rank, NaN where not known, each ``(m,)``.
        """
        from scipy.stats import norm, rankdata

        terms = _terms(coordinates)
        centre, unit = terms.mean(axis=0), np.maximum(terms.std(axis=0), 1e-9)
        A = (terms - centre) / unit
        weights = np.zeros((len(targets), A.shape[1]))
        for row, target in zip(weights, targets, strict=True):
            known = np.isfinite(target)
            n = int(known.sum())
            # Ranks only: how steeply the curve depends on the sum is for the process to learn.
            normal = norm.ppf((rankdata(target[known]) - 0.5) / n)
            B = A[known]
            row[:] = np.linalg.solve(B.T @ B + _RIDGE * n * np.eye(B.shape[1]), B.T @ normal)
        sums = A @ weights.T
        span = np.maximum(np.ptp(sums, axis=0), 1e-9)
        return cls(centre, unit, weights, sums.min(axis=0), span)

    def features(self, coordinates: Array) -> Array:
        """Return the coordinates with the sums beside them, ``(q, d)`` to ``(q, d + k)``."""
        sums = ((_terms(coordinates) - self.centre) / self.unit) @ self.weights.T
        return np.column_stack([coordinates, (sums - self.low) / self.span])


def _terms(coordinates: Array) -> Array:
    near, far = np.log(coordinates + _EDGE), np.log(1 + _EDGE - coordinates)
    return np.column_stack([coordinates, near, far])
