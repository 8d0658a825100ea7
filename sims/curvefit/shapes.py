"""Principal curves: the few shapes that recorded curves are made of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST = 6
_EXPLAINED = 0.999


class Shapes(NamedTuple):
    """A mean curve and `K` principal curves over `R` levels (Jolliffe 2002, chapter 3).

    Attributes:
        mean: Shape ``(R,)``.
        curves: Orthonormal, shape ``(K, R)``.
        variance: Of the weights of each, shape ``(K,)``.
        rest: Variance that they leave at a level, mean over levels.
    """

    mean: Array
    curves: Array
    variance: Array
    rest: float

    @classmethod
    def of(cls, whole: Array) -> "Shapes":
        """Return the shapes of `m` whole curves, shape ``(m, R)``."""
        mean = whole.mean(axis=0)
        _, singular, curves = np.linalg.svd(whole - mean, full_matrices=False)
        variance = singular**2 / max(len(whole) - 1, 1)
        total = max(float(variance.sum()), 1e-12)
        enough = int(np.searchsorted(np.cumsum(variance) / total, _EXPLAINED)) + 1
        K = max(1, min(enough, MOST, len(whole) // 4, len(variance)))
        # The sign of a principal curve is arbitrary, and must not be the library's choice.
        sign = np.sign(curves[np.arange(K), np.abs(curves[:K]).argmax(axis=1)])
        floor = 1e-12 * total
        rest = max(float(variance[K:].sum()) / whole.shape[1], floor, 1e-6 * total / len(mean))
        return cls(mean, curves[:K] * sign[:, None], np.maximum(variance[:K], floor), rest)

    def weights(self, curve: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Return what the seen levels of a curve say of the weights, in units of their deviation.

        With the weights' variance as a prior, a curve that was seen in part has a normal
        posterior of mean m and variance v (Tipping and Bishop 1999, section 3.2); that is what
        an observation m / (1 - v) with the noise variance v / (1 - v) would make of that prior.

        Args:
            curve: Shape ``(R,)``.
            seen: Which levels of it are known, shape ``(R,)``.

        Returns:
            Observations and the standard deviations of their noise, each of shape ``(K,)``.
        """
        loadings = self.curves[:, seen] * np.sqrt(self.variance)[:, None]
        precision = np.eye(len(self.curves)) + loadings @ loadings.T / self.rest
        covariance = np.linalg.inv(precision)
        m = covariance @ loadings @ (curve - self.mean)[seen] / self.rest
        share = np.minimum(np.diag(covariance), 1 - 1e-9)
        return m / (1 - share), np.sqrt(share / (1 - share))

    def curve(self, weights: Array) -> Array:
        """Return the curves of weights in units of their deviation, ``(q, K)`` to ``(q, R)``."""
        out: Array = self.mean + (weights * np.sqrt(self.variance)) @ self.curves
        return out
