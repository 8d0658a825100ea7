"""Gaussian process over learning curves: a function of a config's features and the level.

The covariance of the losses of configs c, c' after levels r, r' is

    a^2 m(f, f') s(r, r') + b^2 [c = c'] s'(r, r') + noise^2 [same reading]

with m a Matern kernel over the features f, and s, s' squared exponentials over
log r. The first term is what configs that are alike have in common; the second is what a
config has to itself, so that a continuation is conditioned on what its own curve showed.
Since the kernel is a product, the mean of a whole curve is one row of kernel values times a
matrix that is computed once (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, eq. 2.25 and 2.26).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Indices = NDArray[np.intp]


class Readings(NamedTuple):
    """`n` readings of learning curves of `m` configs.

    Attributes:
        features: Features of each config, shape ``(m, d)``.
        config: Which config each reading belongs to, shape ``(n,)``.
        level: Resource level of each reading, from 1, shape ``(n,)``.
        value: What was read, shape ``(n,)``.
        noise: Standard deviation of the reading error, shape ``(n,)``.
    """

    features: Matrix
    config: Indices
    level: Vector
    value: Vector
    noise: Vector


def matern52(sq: Matrix) -> Matrix:
    """Return the Matern 5/2 kernel of squared scaled distances, same shape."""
    r = np.sqrt(5 * np.maximum(sq, 0))
    out: Matrix = (1 + r + r * r / 3) * np.exp(-r)
    return out


def squared_distances(A: Matrix, B: Matrix) -> Matrix:
    """Return squared distances of rows, shape ``(len(A), len(B))``."""
    out: Matrix = ((A[:, None, :] - B[None, :, :]) ** 2).sum(axis=2)
    return out


def level_kernel(a: Vector, b: Vector, length: float) -> Matrix:
    """Return the squared exponential of log levels, shape ``(len(a), len(b))``."""
    gap: Matrix = (np.log(a)[:, None] - np.log(b)[None, :]) / length
    out: Matrix = np.exp(-0.5 * gap**2)
    return out


class CurveGP:
    """The process conditioned on readings.

    Args:
        readings: What is known.
        theta: Log-parameters: a, b, extra noise, level length of the shared part, level length
            of the config's own part, then one length for each feature, shape ``(5 + d,)``.
        levels: Number of levels R of a curve.
    """

    def __init__(self, readings: Readings, theta: Vector, levels: int) -> None:
        self.readings = readings
        self.theta = theta
        self.levels = levels
        a, b, _, shared, own = np.exp(theta[:5])
        K = covariance(readings, theta)
        factor = cho_factor(K, lower=True)
        alpha = cho_solve(factor, readings.value)
        grid = np.arange(1.0, levels + 1)
        m = len(readings.features)
        # Weights of each config's features, and each config's own part, for whole curves.
        self._weights = np.zeros((m, levels))
        self._own = np.zeros((m, levels))
        shared_rows = a**2 * level_kernel(readings.level, grid, shared) * alpha[:, None]
        own_rows = b**2 * level_kernel(readings.level, grid, own) * alpha[:, None]
        np.add.at(self._weights, readings.config, shared_rows)
        np.add.at(self._own, readings.config, own_rows)
        self._scaled = readings.features / np.exp(theta[5:])
        self._factor = factor

    def mean(self, features: Matrix) -> Matrix:
        """Return the mean curves of new configs, shape ``(q, R)``."""
        k = matern52(squared_distances(features / np.exp(self.theta[5:]), self._scaled))
        out: Matrix = np.dot(k, self._weights)
        return out

    def mean_of(self, index: int) -> Vector:
        """Return the mean curve of a known config, its own readings included, shape ``(R,)``."""
        out: Vector = self.mean(self.readings.features[index : index + 1])[0] + self._own[index]
        return out


def covariance(readings: Readings, theta: Vector) -> Matrix:
    """Return the covariance matrix of the readings, shape ``(n, n)``."""
    a, b, extra, shared, own = np.exp(theta[:5])
    scaled = readings.features / np.exp(theta[5:])
    like = matern52(squared_distances(scaled, scaled))[np.ix_(readings.config, readings.config)]
    same = readings.config[:, None] == readings.config[None, :]
    K: Matrix = a**2 * like * level_kernel(readings.level, readings.level, shared)
    K += b**2 * same * level_kernel(readings.level, readings.level, own)
    K[np.diag_indices_from(K)] += readings.noise**2 + extra**2
    return K


def negative_log_likelihood(theta: Vector, readings: Readings) -> float:
    """Return the negative log marginal likelihood of the readings (ibid., eq. 2.30)."""
    factor = cho_factor(covariance(readings, theta), lower=True)
    alpha = cho_solve(factor, readings.value)
    return float(0.5 * readings.value @ alpha + np.log(np.diag(factor[0])).sum())


def fit(readings: Readings, start: Vector) -> Vector:
    """Return the log-parameters of largest marginal likelihood, near `start`."""
    bounds = [(value - 4, value + 4) for value in start]
    found = minimize(
        negative_log_likelihood,
        start,
        args=(readings,),
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 25},
    )
    out: Vector = found.x
    return out
