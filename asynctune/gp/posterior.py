"""The posterior of a process at one resource level, pending points included.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 2.25, 2.26.
Pending points enter as if the process were known to equal its posterior mean there
("kriging believer": Ginsbourger, Le Riche, Carraro, "Kriging is well-suited to parallelize
optimization", 2010, section 4.2). That leaves the posterior mean everywhere as it was and
only shrinks the variance; so all are added at once, by more rows in the covariance
matrix.

With `reinterpolate`, observed points enter the variance in the same way: the mean allows
for noise, but the variance is that of a process which goes through the mean at all points seen
(Forrester, Keane, Bressloff, "Design and Analysis of 'Noisy' Computer Experiments", AIAA
Journal 44, 2006). And all points count as seen at the level of the prediction, whichever level
they were observed at. Expected improvement then asks what can be learned elsewhere: what is still
unknown of a config that was tried is found out by promoting it, or left alone because it was
not promoted, and a copy of it would go the same way.
"""

from typing import NamedTuple

import numpy as np

from asynctune.gp.arrays import Indices, Matrix, Vector
from asynctune.gp.cholesky import factorise, solve_lower, solve_lower_vector
from asynctune.gp.data import Inputs
from asynctune.gp.matern import matern52, squared_distances
from asynctune.gp.model import Model

# A variance is at least this share of the prior's: below, it is rounding error.
_LEAST_VARIANCE = 1e-12
# Stands for the noise where there is none, as a share of the variance, against singularity.
_NUGGET = 1e-8


class Prediction(NamedTuple):
    """Posterior of the noise-free process at `m` points.

    Attributes:
        mean: Shape ``(m,)``.
        sd: Standard deviation, positive, shape ``(m,)``.
    """

    mean: Vector
    sd: Vector


class Gradient(NamedTuple):
    """Derivatives of a prediction with respect to the points.

    Attributes:
        mean: Shape ``(m, d)``.
        sd: Shape ``(m, d)``.
    """

    mean: Matrix
    sd: Matrix


class Linearised(NamedTuple):
    """What predictions at `m` points and their gradients need, computed once.

    Attributes:
        X: The points, shape ``(m, d)``.
        cross: Covariances with the inputs, shape ``(m, n)``.
        slope: Their derivatives with respect to the squared distance, shape ``(m, n)``.
        sd: Standard deviations, shape ``(m,)``.
        d_sd: Their gradients, shape ``(m, d)``.
    """

    X: Matrix
    cross: Matrix
    slope: Matrix
    sd: Vector
    d_sd: Matrix


class Posterior:
    """Posterior at resource `level`, given observations and pending points.

    Factors are computed afresh, in the order of the inputs, so that the same inputs
    give the same bytes.

    Args:
        model: The process.
        theta: Its parameters, shape ``(p,)``.
        inputs: The observed points, `n`, then the pending ones.
        targets: Standardised values at the first `n` points, shape ``(n,)``.
        level: Resource level to predict at, a fraction of the largest resource;
            1 if there is no resource.
        reinterpolate: Whether the variance is that of a process known at the points, all
            of them taken to be at `level`.

    Raises:
        ValueError: If the covariance matrix has no Cholesky factor.
    """

    def __init__(
        self,
        model: Model,
        theta: Vector,
        inputs: Inputs,
        targets: Vector,
        level: float = 1.0,
        *,
        reinterpolate: bool = False,
    ) -> None:
        n, at = len(targets), inputs.at
        self._n_inputs = len(at)
        self._first = np.arange(len(at))  # of each row of `_Z`, the input that it comes from
        scale = self._scale = model.variance(theta)
        self._inverse = model.inverse_lengthscales(theta)
        Z = (inputs.X - 0.5) * self._inverse
        if model.resource_kernel is None:
            terms = model.terms(theta, inputs.levels)
            here = 0
        else:
            terms = model.terms(theta, np.append(inputs.levels, level))
            here = len(inputs.levels)
        self._prior_mean = float(terms.mean[here])
        top_amplitude, top_offset = terms.amplitude[here, here], terms.offset[here, here]
        self._prior_variance = float(scale * top_amplitude + top_offset)

        def covariance_of(Z: Matrix, amplitude: Matrix, offset: Matrix) -> Matrix:
            covariance = matern52(squared_distances(Z, Z), scale)
            if model.resource_kernel is not None:
                covariance *= amplitude
                covariance += offset
            return covariance

        seen = n if reinterpolate else len(at)
        covariance = covariance_of(
            Z[:seen],
            terms.amplitude[:, at[:seen]][at[:seen]],
            terms.offset[:, at[:seen]][at[:seen]],
        )
        diagonal = np.einsum("ii->i", covariance)
        diagonal[:n] += model.noise(theta)
        diagonal[n:] += _NUGGET * scale
        self._L = factorise(covariance)
        observed = self._L[:n, :n]
        half = solve_lower_vector(observed, targets - terms.mean[at[:n]])
        weights = solve_lower_vector(observed, half, transposed=True)
        amplitude, offset = terms.amplitude[here, at], terms.offset[here, at]
        if not reinterpolate:
            self._Z, self._amplitude, self._offset = Z, amplitude, offset
            self._weights = np.append(weights, np.zeros(len(at) - n))
            return

        # One row for each distinct point, at the level of the prediction. In these terms the
        # mean is the same function, with other weights and another constant.
        first, row = _distinct(inputs.X)
        self._first = first
        self._Z = Z[first]
        self._amplitude = np.full(len(first), top_amplitude)
        self._offset = np.full(len(first), top_offset)
        self._weights = np.bincount(row[:n], weights * amplitude[:n], len(first)) / top_amplitude
        self._prior_mean += float(weights @ offset[:n] - self._weights.sum() * top_offset)
        known = covariance_of(self._Z, top_amplitude, top_offset)
        known[np.diag_indices(len(first))] += min(model.noise(theta), _NUGGET * scale)
        self._L = factorise(known)

    def mean(self, X: Matrix) -> Vector:
        """Return the posterior mean at points `X`, ``(m, d)``; cheaper than `predict`."""
        return self.means(X, self._weights)

    def fantasies(self, draws: Matrix) -> Matrix:
        """Return the weights of means that go through values drawn jointly at the last inputs.

        With K = L L^T, values drawn there differ from the means there by the last block of L times
        `draws`, which moves the mean everywhere by the covariances with all inputs times
        ``L^-T (0, draws)``. The variance is what it is with the values at their means.

        Args:
            draws: Standard normal, one column a fantasy, shape ``(p, S)``; row i belongs to the
                i-th of the last `p` inputs, and has no effect if its point came up before.

        Returns:
            Shape ``(n, S)``, for `means`, `means_of`, `predict_many` and `slope_of_mean`.
        """
        before = self._n_inputs - len(draws)
        new = np.flatnonzero(self._first >= before)
        standard = np.zeros((len(self._first), draws.shape[1]), order="F")
        standard[new] = draws[self._first[new] - before]
        weights: Matrix = self._weights[:, None] + solve_lower(self._L, standard, transposed=True)
        return weights

    def means(self, X: Matrix, weights: Matrix | Vector) -> Matrix:
        """Return the means with these `weights`, ``(n, S)``, at points `X`; shape ``(m, S)``."""
        return self._weighted(self._cross(X), weights)

    def predict_many(self, X: Matrix, weights: Matrix | Vector) -> tuple[Matrix, Vector]:
        """Return the means with these `weights`, ``(m, S)``, and the standard deviation, ``(m,)``.

        Args:
            X: The points, shape ``(m, d)``.
            weights: Of the inputs, one column a mean, shape ``(n, S)``; or one mean's, ``(n,)``.
        """
        cross = self._cross(X)
        half = solve_lower(self._L, cross.T)
        return self._weighted(cross, weights), np.sqrt(self._variance(half))

    def means_of(self, here: Linearised, weights: Matrix | Vector) -> Matrix:
        """Return the means with these `weights`, ``(n, S)``, at the points; shape ``(m, S)``."""
        return self._weighted(here.cross, weights)

    def predict(self, X: Matrix) -> Prediction:
        """Return mean and standard deviation at points `X`, ``(m, d)``."""
        return Prediction(*self.predict_many(X, self._weights))

    def predict_with_gradient(self, X: Matrix) -> tuple[Prediction, Gradient]:
        """Return mean and standard deviation at points `X`, ``(m, d)``, and their gradients."""
        here = self.linearise(X)
        prediction = Prediction(self.means_of(here, self._weights), here.sd)
        return prediction, Gradient(self.slope_of_mean(here, self._weights), here.d_sd)

    def linearise(self, X: Matrix) -> Linearised:
        """Return what predictions at points `X`, ``(m, d)``, and their gradients need."""
        slope = np.empty((len(X), len(self._Z)))
        cross = self._cross(X, slope)
        slope *= self._amplitude
        half = solve_lower(self._L, cross.T)
        sd = np.sqrt(self._variance(half))
        solved = solve_lower(self._L, half, transposed=True)
        d_variance = self._pull_back(slope * (-2.0 * solved.T), X)
        return Linearised(X, cross, slope, sd, d_variance / (2.0 * sd[:, None]))

    def slope_of_mean(self, here: Linearised, weights: Matrix | Vector) -> Matrix:
        """Return the gradient of the mean with these weights, shape ``(m, d)``.

        Args:
            here: The points.
            weights: Of the inputs, shape ``(n,)``, or for each point its own, ``(m, n)``.
        """
        return self._pull_back(here.slope * weights, here.X)

    def _cross(self, X: Matrix, slope: Matrix | None = None) -> Matrix:
        """Return covariances between points `X` at this level and the inputs, ``(m, n)``."""
        squared = squared_distances((X - 0.5) * self._inverse, self._Z)
        cross = matern52(squared, self._scale, slope=slope)
        cross *= self._amplitude
        cross += self._offset
        return cross

    def _weighted(self, cross: Matrix, weights: Matrix | Vector) -> Matrix:
        means: Matrix = cross @ weights + self._prior_mean
        return means

    def _variance(self, half: Matrix) -> Vector:
        explained = np.einsum("ij,ij->j", half, half)
        floor = _LEAST_VARIANCE * self._prior_variance
        variance: Vector = np.maximum(self._prior_variance - explained, floor)
        return variance

    def _pull_back(self, M: Matrix, X: Matrix) -> Matrix:
        """Return the gradient with respect to `X` of a sum over inputs.

        Args:
            M: Derivative of each term with respect to the squared distance, ``(m, n)``.
            X: The points, ``(m, d)``.
        """
        Z = (X - 0.5) * self._inverse
        gradient: Matrix = 2.0 * (Z * M.sum(axis=1)[:, None] - M @ self._Z) * self._inverse
        return gradient


def _distinct(X: Matrix) -> tuple[Indices, Indices]:
    """Return where each distinct row of `X` is first, and for each row which one it equals."""
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    which: list[int] = []
    for i, x in enumerate(X):
        number = numbers.setdefault(x.tobytes(), len(numbers))
        if number == len(first):
            first.append(i)
        which.append(number)
    return np.array(first, dtype=np.intp), np.array(which, dtype=np.intp)
