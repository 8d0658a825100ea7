"""Gaussian process regression on configs, as a case of the process over curves."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.surrogate import CurveGP, Readings, Theta, covariance
from sims.surrogate import fit as fit_theta

Array = NDArray[np.float64]

MOST_FITTED = 300  # the parameters of the kernel need no more; the process itself takes all
_LEVEL = 0.0  # there is one level only, so that lengths between levels have no effect
_OWN = -7.0  # nor is there anything that a config has to itself beyond its noise


class Regression(NamedTuple):
    """A process fitted to one number a config.

    Attributes:
        gp: The process, on standardised numbers.
        shift: Mean of the numbers.
        unit: Their deviation.
    """

    gp: CurveGP
    shift: float
    unit: float

    def mean(self, features: Array) -> Array:
        """Return the expected numbers of configs, ``(q, d)`` to ``(q,)``."""
        out: Array = self.shift + self.unit * self.gp.mean(features)[:, 0]
        return out

    def left_out(self) -> Array:
        """Return each known config's number as expected from all others, shape ``(n,)``.

        In closed form (Rasmussen and Williams 2006, eq. 5.12).
        """
        inverse = np.linalg.inv(covariance(self.gp.readings, self.gp.theta))
        value = self.gp.readings.value
        out: Array = self.shift + self.unit * (value - inverse @ value / np.diag(inverse))
        return out

    def noise(self) -> float:
        """Return the deviation of what is left over at a config."""
        return self.unit * float(np.exp(self.gp.theta.noise))


def regress(features: Array, values: Array, noise: Array) -> Regression:
    """Fit a process to one number a config.

    Args:
        features: In the unit cube, shape ``(n, d)``.
        values: Shape ``(n,)``.
        noise: Standard deviation of each value's error, shape ``(n,)``.
    """
    say = 1 / (1 + noise**2)  # values with large errors have a large range as well
    shift = float(np.average(values, weights=say))
    unit = float(max(np.sqrt(np.average((values - shift) ** 2, weights=say)), 1e-9))
    data = Readings(
        features=features,
        config=np.arange(len(values)),
        level=np.ones(len(values)),
        value=(values - shift) / unit,
        noise=noise / unit,
    )
    d = features.shape[1]
    start = Theta(0.0, _OWN, np.log(0.1), _LEVEL, _LEVEL, (float(np.log(0.5 * d**0.5)),) * d)
    spread = Theta(1.0, 1e-3, 1.5, 1.0, 1.0, (1.0,) * d)
    # Evenly spread over the configs' order, which says nothing about them.
    some = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_FITTED)).astype(int))
    few = Readings(
        features[some],
        np.arange(len(some)),
        np.ones(len(some)),
        data.value[some],
        data.noise[some],
    )
    return Regression(CurveGP(data, fit_theta(few, start, spread), 1), shift, unit)
