"""Logarithm of the expected improvement, accurate where the improvement itself underflows.

Ament, Daulton, Eriksson, Balandat, Bakshy, "Unexpected Improvements to Expected
Improvement for Bayesian Optimization", NeurIPS 2023, section 4.1. With
z = (incumbent - mean) / sd and h(z) = phi(z) + z Phi(z), the expected improvement of
a minimisation is sd h(z).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import erfcx, ndtr

from asynctune.gp.arrays import Vector

_LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)
_SQRT_HALF = np.sqrt(0.5)
_SQRT_HALF_PI = np.sqrt(0.5 * np.pi)
# Below this, all is had relative to phi(z), which is accurate also in the tail; above, where that
# would overflow in the end, the textbook formula is.
_TEXTBOOK_FROM = 5.0
# Below this, 1 + z Phi(z) / phi(z) has lost more digits than its asymptotic series lacks.
_SERIES_BELOW = -40.0


class LogEI(NamedTuple):
    """Log expected improvement of `m` points and its derivatives.

    Attributes:
        value: Shape ``(m,)``.
        d_mean: Derivative with respect to the posterior mean, shape ``(m,)``; negative.
        d_sd: Derivative with respect to the posterior standard deviation, shape ``(m,)``;
            positive.
    """

    value: Vector
    d_mean: Vector
    d_sd: Vector


def log_ei(mean: Vector, sd: Vector, incumbent: float | Vector) -> LogEI:
    """Return the log expected improvement below `incumbent`, for minimisation.

    Args:
        mean: Posterior means, shape ``(m,)``, or ``(m, S)`` of several posteriors.
        sd: Posterior standard deviations, positive, shape ``(m,)``, or ``(m, 1)``.
        incumbent: The value to improve on, or of each posterior its own, ``(S,)``.
    """
    log_h, cdf_over_h, density_over_h = _log_h((incumbent - mean) / sd)
    return LogEI(log_h + np.log(sd), -cdf_over_h / sd, density_over_h / sd)


def log_h(z: Vector) -> Vector:
    """Return ``log(phi(z) + z Phi(z))``, elementwise, for any finite `z`."""
    return _log_h(z)[0]


def _log_h(z: Vector) -> tuple[Vector, Vector, Vector]:
    """Return ``log h(z)``, ``Phi(z) / h(z)`` and ``phi(z) / h(z)``."""
    near = z > _TEXTBOOK_FROM
    if not near.any():
        return _log_h_far(z)
    # Each formula is evaluated everywhere, on arguments at which it is harmless.
    textbook = _log_h_near(np.where(near, z, _TEXTBOOK_FROM))
    relative = _log_h_far(np.where(near, 0.0, z))
    return (
        np.where(near, textbook[0], relative[0]),
        np.where(near, textbook[1], relative[1]),
        np.where(near, textbook[2], relative[2]),
    )


def _log_h_near(z: Vector) -> tuple[Vector, Vector, Vector]:
    """Return what `_log_h` does, by the textbook."""
    density = np.exp(-0.5 * z * z - _LOG_SQRT_2PI)
    cdf = ndtr(z)
    h = density + z * cdf
    return np.log(h), cdf / h, density / h


def _log_h_far(z: Vector) -> tuple[Vector, Vector, Vector]:
    """Return what `_log_h` does for `z` that are not large: all is relative to phi(z)."""
    mills = _SQRT_HALF_PI * erfcx(z * -_SQRT_HALF)  # Phi / phi
    scaled = 1.0 + z * mills  # h / phi
    deep = z < _SERIES_BELOW
    if deep.any():
        scaled[deep] = _series(z[deep])
    return np.log(scaled) - 0.5 * z * z - _LOG_SQRT_2PI, mills / scaled, 1.0 / scaled


def _series(z: Vector) -> Vector:
    """Return h / phi = z^-2 (1 - 3 z^-2 + 15 z^-4 - 105 z^-6 ...), by integration by parts."""
    inverse = 1.0 / (z * z)
    series = 1.0 - 11.0 * inverse
    for odd in (9.0, 7.0, 5.0, 3.0):
        series = 1.0 - odd * inverse * series
    return inverse * series
