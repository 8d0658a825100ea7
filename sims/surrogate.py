"""Gaussian process over learning curves: a function of a config's features and the level.

The covariance of the values of configs c, c' after levels r, r' is

    a^2 m(f, f') s(r, r') + b^2 [c = c'] s'(r, r') + noise^2 [same reading]

with m a Matern 5/2 kernel over the features f, and s, s' squared exponentials over log r. The
first term is what configs that are alike have in common; the second is what a config has to
itself, so that a continuation is conditioned on what its own curve showed. Since the kernel is
a product, the mean of a whole curve is one row of kernel values times a matrix that is
computed once (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.25
and 2.26). Leaving a config out needs no second factorisation either (ibid., section 5.4.2, for
blocks).
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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


def thinned(readings: Readings, most: int) -> Readings:
    """Return about `most` of the readings: those of whole curves, evenly spread over their order.

    All of them if there are no more. The parameters of the covariance need no more; the process
    itself can take all.
    """
    n, m = len(readings.value), len(readings.features)
    if n <= most:
        return readings
    chosen = np.unique(np.linspace(0, m - 1, max(m * most // n, 1)).astype(np.intp))
    kept = np.isin(readings.config, chosen)
    return Readings(
        features=readings.features[chosen],
        config=np.searchsorted(chosen, readings.config[kept]),
        level=readings.level[kept],
        value=readings.value[kept],
        noise=readings.noise[kept],
    )


class Theta(NamedTuple):
    """Log-parameters of the covariance.

    Attributes:
        shared: Log standard deviation a of the part that configs share.
        own: Log standard deviation b of a config's own part.
        noise: Log standard deviation of noise beyond the reading error.
        shared_level: Log length of s, in e-folds of the level.
        own_level: Log length of s', in e-folds of the level.
        features: Log lengths of the features, shape ``(d,)``.
    """

    shared: float
    own: float
    noise: float
    shared_level: float
    own_level: float
    features: tuple[float, ...]

    @classmethod
    def of(cls, vector: Vector) -> "Theta":
        """Return the parameters that `vector` holds in the order of the fields."""
        shared, own, noise, shared_level, own_level, *features = (float(v) for v in vector)
        return cls(shared, own, noise, shared_level, own_level, tuple(features))

    def vector(self) -> Vector:
        """Return the parameters in the order of the fields, shape ``(5 + d,)``."""
        return np.array([*self[:5], *self.features])


def squared_distances(A: Matrix, B: Matrix) -> Matrix:
    """Return squared distances between rows, shape ``(len(A), len(B))``."""
    out: Matrix = ((A[:, None, :] - B[None, :, :]) ** 2).sum(axis=2)
    return out


def matern52(sq: Matrix) -> Matrix:
    """Return the Matern 5/2 kernel of squared scaled distances, same shape."""
    r = np.sqrt(5 * sq)
    out: Matrix = (1 + r + r * r / 3) * np.exp(-r)
    return out


def level_kernel(a: Vector, b: Vector, length: float) -> Matrix:
    """Return the squared exponential of log levels, shape ``(len(a), len(b))``."""
    gap: Matrix = (np.log(a)[:, None] - np.log(b)[None, :]) / length
    out: Matrix = np.exp(-0.5 * gap**2)
    return out


def covariance(readings: Readings, theta: Theta) -> Matrix:
    """Return the covariance matrix of the readings, shape ``(n, n)``."""
    scaled = readings.features / np.exp(theta.features)
    like = matern52(squared_distances(scaled, scaled))
    at, level = readings.config, readings.level
    same = at[:, None] == at[None, :]
    K: Matrix = np.exp(2 * theta.shared) * like[np.ix_(at, at)]
    K *= level_kernel(level, level, np.exp(theta.shared_level))
    K += np.exp(2 * theta.own) * same * level_kernel(level, level, np.exp(theta.own_level))
    K[np.diag_indices_from(K)] += readings.noise**2 + np.exp(2 * theta.noise)
    return K


def negative_log_likelihood(vector: Vector, readings: Readings) -> tuple[float, Vector]:
    """Return the negative log marginal likelihood and its gradient (ibid., eq. 5.8, 5.9).

    Args:
        vector: A `Theta` as a vector, shape ``(5 + d,)``.
        readings: The data.
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    theta = Theta.of(vector)
    at = readings.config
    # There are few distinct levels, so that their kernels are small tables.
    levels, which = np.unique(readings.level, return_inverse=True)
    pairs = np.ix_(which, which)
    gap = ((np.log(levels)[:, None] - np.log(levels)[None, :]) ** 2)[pairs]
    scaled = readings.features / np.exp(theta.features)
    r = np.sqrt(5 * squared_distances(scaled, scaled))
    level_part = level_kernel(levels, levels, np.exp(theta.shared_level))[pairs]
    level_part *= np.exp(2 * theta.shared)
    shared = matern52(r * r / 5)[np.ix_(at, at)] * level_part
    own = level_kernel(levels, levels, np.exp(theta.own_level))[pairs]
    own *= np.exp(2 * theta.own) * (at[:, None] == at[None, :])
    K: Matrix = shared + own
    K[np.diag_indices_from(K)] += readings.noise**2 + np.exp(2 * theta.noise)
    L, failed = dpotrf(K, lower=True)
    if failed:
        return np.inf, np.zeros_like(vector)
    inverse, _ = dpotri(L, lower=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    alpha = inverse @ readings.value
    half = 0.5 * (inverse - np.outer(alpha, alpha))
    gradient = [
        2 * (half * shared).sum(),
        2 * (half * own).sum(),
        2 * np.exp(2 * theta.noise) * np.trace(half),
        (half * shared * gap).sum() / np.exp(2 * theta.shared_level),
        (half * own * gap).sum() / np.exp(2 * theta.own_level),
    ]
    # The features' distances are those of configs: bring the sums down to pairs of configs.
    n_configs = len(readings.features)
    members = np.zeros((n_configs, len(at)))
    members[at, np.arange(len(at))] = 1
    by_config = members @ (half * level_part) @ members.T
    by_config *= 5 / 3 * (1 + r) * np.exp(-r)
    gradient += [
        (by_config * (column[:, None] - column[None, :]) ** 2).sum() for column in scaled.T
    ]
    value = 0.5 * readings.value @ alpha + np.log(np.diag(L)).sum()
    return float(value), np.array(gradient)


def fit(readings: Readings, start: Theta, spread: Theta, iterations: int = 60) -> Theta:
    """Return the log-parameters of largest posterior density.

    Args:
        readings: The data.
        start: Where the search starts, and the mean of the normal prior.
        spread: Standard deviation of that prior, for each log-parameter.
        iterations: Largest number of steps of L-BFGS.
    """
    from scipy.optimize import minimize

    centre, freedom = start.vector(), spread.vector()

    def objective(vector: Vector) -> tuple[float, Vector]:
        value, gradient = negative_log_likelihood(vector, readings)
        away = (vector - centre) / freedom
        return value + 0.5 * float(away @ away), gradient + away / freedom

    found = minimize(
        objective,
        centre,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations},
        bounds=[(v - 6, v + 6) for v in centre],
    )
    return Theta.of(found.x)


class CurveGP:
    """The process conditioned on readings.

    Args:
        readings: What is known.
        theta: Log-parameters of the covariance.
        levels: Number of levels R of a curve.
    """

    def __init__(self, readings: Readings, theta: Theta, levels: int) -> None:
        self.readings = readings
        self.theta = theta
        self.grid = np.arange(1.0, levels + 1)
        self.scaled = readings.features / np.exp(theta.features)
        level = readings.level
        # Covariances of each reading with the curve of a config, but for the features' factor.
        self._shared = np.exp(2 * theta.shared) * level_kernel(
            level, self.grid, np.exp(theta.shared_level)
        )
        self._own = np.exp(2 * theta.own) * level_kernel(level, self.grid, np.exp(theta.own_level))

    @cached_property
    def _inverse(self) -> Matrix:
        return np.asarray(np.linalg.inv(covariance(self.readings, self.theta)), dtype=np.float64)

    @cached_property
    def _alpha(self) -> Vector:
        out: Vector = self._inverse @ self.readings.value
        return out

    def _collect(self, rows: Matrix) -> Matrix:
        out = np.zeros((len(self.scaled), len(self.grid)))
        np.add.at(out, self.readings.config, rows)
        return out

    @cached_property
    def weights(self) -> Matrix:
        """A new config's mean curve is its row of `similarity` times this, shape ``(m, R)``."""
        return self._collect(self._shared * self._alpha[:, None])

    @cached_property
    def own(self) -> Matrix:
        """What each known config's own readings add to its mean curve, shape ``(m, R)``."""
        return self._collect(self._own * self._alpha[:, None])

    def similarity(self, features: Matrix) -> Matrix:
        """Return the kernel of the features with those of the known configs, shape ``(q, m)``."""
        return matern52(squared_distances(features / np.exp(self.theta.features), self.scaled))

    def mean(self, features: Matrix) -> Matrix:
        """Return the mean curves of new configs, shape ``(q, R)``."""
        out: Matrix = np.dot(self.similarity(features), self.weights)
        return out

    def mean_of(self, index: int) -> Vector:
        """Return the mean curve of a known config, given its own readings too, ``(R,)``."""
        shared: Vector = self.mean(self.readings.features[index : index + 1])[0]
        out: Vector = shared + self.own[index]
        return out

    def deviation(self, features: Matrix) -> Matrix:
        """Return standard deviations of the curves of new configs, shape ``(q, R)``."""
        none = np.array([], dtype=np.intp)
        return np.stack([self._without(none, like)[1] for like in self.similarity(features)])

    def leave_out(self, index: int, *others: int) -> tuple[Vector, Vector]:
        """Return mean and deviation of a known config's curve, given all others' readings.

        Args:
            index: The config.
            *others: Further configs whose readings are left out.

        Returns:
            Two vectors of shape ``(R,)``.
        """
        left_out = np.flatnonzero(np.isin(self.readings.config, (index, *others)))
        like = self.similarity(self.readings.features[index : index + 1])[0]
        return self._without(left_out, like)

    def _without(self, left_out: Indices, like: Vector) -> tuple[Vector, Vector]:
        """Return mean and deviation of a new config's curve, given all but some readings."""
        cross = self._shared * like[self.readings.config][:, None]
        solved = self._inverse @ cross
        block = self._inverse[np.ix_(left_out, left_out)]
        mean: Vector = self._alpha @ cross - solved[left_out].T @ np.linalg.solve(
            block, self._alpha[left_out]
        )
        known = np.einsum("ij,ij->j", cross, solved) - np.einsum(
            "ij,ij->j", solved[left_out], np.linalg.solve(block, solved[left_out])
        )
        theta = self.theta
        prior = np.exp(2 * theta.shared) + np.exp(2 * theta.own) + np.exp(2 * theta.noise)
        return mean, np.sqrt(np.maximum(prior - known, 1e-12))
