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
from asynctune.gp.cholesky import factorise, invert_lower, multiply_lower, solve_lower_vector
from asynctune.gp.data import Inputs, distinct
from asynctune.gp.matern import matern52, squared_distances, with_squares
from asynctune.gp.model import Model
from asynctune.gp.resource import ResourceTerms

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
        Z: The points, divided by the lengthscales, shape ``(m, d)``.
        cross: Covariances with the inputs, shape ``(m, n)``.
        slope: Their derivatives with respect to the squared distance, shape ``(m, n)``.
        sd: Standard deviations, shape ``(m,)``.
        d_sd: Their gradients, shape ``(m, d)``.
    """

    Z: Matrix
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
        self._X = inputs.X
        self._scale = model.variance(theta)
        self._inverse = model.inverse_lengthscales(theta)
        if model.resource_kernel is None:
            terms = model.terms(theta, inputs.levels)
            here = 0
        else:
            terms = model.terms(theta, np.append(inputs.levels, level))
            here = len(inputs.levels)
        self._prior_mean = float(terms.mean[here])
        self._amplitude: Vector | None = None
        top_amplitude = float(terms.amplitude[here, here])
        self._offset: float | Vector = float(terms.offset[here, here])
        self._prior_variance = self._scale * top_amplitude + self._offset

        # One row for each distinct point.
        self._first, self._row = first, row = distinct(inputs.X)
        Z = self._scaled(inputs.X[first])
        self._Z = with_squares(Z)
        kernel = matern52(squared_distances(Z, self._Z), self._scale)

        seen = n if reinterpolate else len(at)
        covariance = _at_levels(kernel, terms, row[:seen], at[:seen])
        diagonal = covariance.reshape(-1)[:: seen + 1]
        diagonal[:n] += model.noise(theta)
        diagonal[n:] += _NUGGET * self._scale
        L = factorise(covariance)
        observed = L[:n, :n]
        half = solve_lower_vector(observed, targets - terms.mean[at[:n]])
        weights = solve_lower_vector(observed, half, transposed=True)
        amplitude, offset = terms.amplitude[here, at], terms.offset[here, at]
        self._between: Matrix | None = None
        if not reinterpolate:
            self._first, self._Z = np.arange(len(at)), self._Z[row]
            self._amplitude, self._offset = amplitude, offset
            self._weights = np.append(weights, np.zeros(len(at) - n))
            self._root = invert_lower(L)
            return

        # All are at the level of the prediction. In these terms the mean is the same function,
        # with other weights and another constant.
        self._weights = np.bincount(row[:n], weights * amplitude[:n], len(first)) / top_amplitude
        self._prior_mean += float(weights @ offset[:n] - self._weights.sum() * self._offset)
        kernel *= top_amplitude
        kernel += self._offset
        diagonal = kernel.reshape(-1)[:: len(kernel) + 1]
        diagonal += min(model.noise(theta), _NUGGET * self._scale)
        self._scale *= top_amplitude  # from here on, which `_amplitude` is for otherwise
        self._root = invert_lower(factorise(kernel))
        diagonal[:] = self._prior_variance
        self._between = kernel

    @property
    def lengthscales(self) -> Vector:
        """Over which length the process changes, in each coordinate, shape ``(d,)``."""
        return 1.0 / self._inverse

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
        weights: Matrix = self._weights[:, None] + multiply_lower(
            self._root, standard, transposed=True, overwrite=True
        )
        return weights

    def means(self, X: Matrix, weights: Matrix | Vector) -> Matrix:
        """Return the means with these `weights`, ``(n, S)``, at points `X`; shape ``(m, S)``."""
        if X is self._X and self._between is not None:
            return self._weighted(self._between, weights)[self._row]
        return self._weighted(self._cross(self._scaled(X)), weights)

    def predict_many(self, X: Matrix, weights: Matrix | Vector) -> tuple[Matrix, Vector]:
        """Return the means with these `weights`, ``(m, S)``, and the standard deviation, ``(m,)``.

        Args:
            X: The points, shape ``(m, d)``.
            weights: Of the inputs, one column a mean, shape ``(n, S)``; or one mean's, ``(n,)``.
        """
        cross = self._cross(self._scaled(X))
        means = self._weighted(cross, weights)
        half = multiply_lower(self._root, cross.T, overwrite=True)
        return means, np.sqrt(self._variance(half))

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
        Z = self._scaled(X)
        slope = np.empty((len(X), len(self._Z)))
        cross = self._cross(Z, slope)
        if self._amplitude is not None:
            slope *= self._amplitude
        half = multiply_lower(self._root, cross.T)
        sd = np.sqrt(self._variance(half))
        solved = multiply_lower(self._root, half, transposed=True, overwrite=True)
        d_sd = self._pull_back(slope * solved.T, Z)
        d_sd /= -sd[:, None]
        return Linearised(Z, cross, slope, sd, d_sd)

    def slope_of_mean(self, here: Linearised, weights: Matrix | Vector) -> Matrix:
        """Return the gradient of the mean with these weights, shape ``(m, d)``.

        Args:
            here: The points.
            weights: Of the inputs, shape ``(n,)``, or for each point its own, ``(m, n)``.
        """
        return self._pull_back(here.slope * weights, here.Z)

    def _scaled(self, X: Matrix) -> Matrix:
        """Return points `X` divided by the lengthscales; centred, which spares their distances."""
        Z: Matrix = X - 0.5
        Z *= self._inverse
        return Z

    def _cross(self, Z: Matrix, slope: Matrix | None = None) -> Matrix:
        """Return covariances between points `Z` at this level and the inputs, ``(m, n)``."""
        cross = matern52(squared_distances(Z, self._Z), self._scale, slope=slope)
        if self._amplitude is not None:
            cross *= self._amplitude
        cross += self._offset
        return cross

    def _weighted(self, cross: Matrix, weights: Matrix | Vector) -> Matrix:
        means: Matrix = cross @ weights + self._prior_mean
        return means

    def _variance(self, half: Matrix) -> Vector:
        explained = np.vecdot(half.T, half.T)
        floor = _LEAST_VARIANCE * self._prior_variance
        variance: Vector = np.maximum(self._prior_variance - explained, floor)
        return variance

    def _pull_back(self, M: Matrix, Z: Matrix) -> Matrix:
        """Return the gradient with respect to the points of a sum over inputs.

        Args:
            M: Derivative of each term with respect to the squared distance, ``(m, n)``.
            Z: The points, divided by the lengthscales, ``(m, d)``.
        """
        d = Z.shape[1]
        sums = M @ self._Z
        gradient = Z * sums[:, d : d + 1]
        gradient -= sums[:, :d]
        gradient *= 2.0 * self._inverse
        return gradient


def _at_levels(kernel: Matrix, terms: ResourceTerms, row: Indices, at: Indices) -> Matrix:
    """Return the covariances between observations, ``(n, n)``.

    Args:
        kernel: Of the distinct points.
        terms: Of the levels.
        row: Which point each observation is at, shape ``(n,)``.
        at: Which level, shape ``(n,)``.
    """
    covariance = kernel.take(row, axis=0).take(row, axis=1)
    if len(terms.mean) > 1:
        covariance *= terms.amplitude.take(at, axis=0).take(at, axis=1)
        covariance += terms.offset.take(at, axis=0).take(at, axis=1)
    return covariance
