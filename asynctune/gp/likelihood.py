"""The log posterior density of a process's parameters, and its gradient.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 5.8, 5.9.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.arrays import Indices, Matrix, Vector
from asynctune.gp.cholesky import (
    factorise,
    factorise_triangle,
    invert_factor,
    solve_lower_vector,
    subtract_outer,
)
from asynctune.gp.data import Inputs, distinct
from asynctune.gp.matern import matern52, squared_distances, with_squares
from asynctune.gp.model import Model
from asynctune.gp.resource import ResourceTerms
from asynctune.gp.triangles import diagonal_of, lower, symmetric, triangle

# How many observations the curvature is taken from: it need not be exact.
_SAMPLE = 40
_LOG_2PI = float(np.log(2.0 * np.pi))


class _Evaluated(NamedTuple):
    """A density, and what its gradient is made of.

    Attributes:
        Z: Distinct points, divided by the lengthscales, shape ``(u, d)``.
        terms: What the resource adds.
        amplitude: Of the levels of each pair of observations; 1 if there is no resource.
        factor: Of the covariance matrix, lower, shape ``(n, n)``.
        half: The factor's inverse times the residuals, shape ``(n,)``.
        value: The negative log density.
    """

    Z: Matrix
    terms: ResourceTerms
    amplitude: Vector | float
    factor: Matrix
    half: Vector
    value: float


class NegativeLogPosterior:
    """Function of a parameter vector; what does not depend on it is prepared once.

    Args:
        model: The process.
        inputs: Where it is observed, `n` points.
        targets: Standardised values there, shape ``(n,)``.
        with_prior: Whether the density of the prior is included; it is left out to
            get the marginal likelihood alone.
    """

    def __init__(
        self, model: Model, inputs: Inputs, targets: Vector, *, with_prior: bool = True
    ) -> None:
        n, n_levels, at = len(targets), len(inputs.levels), inputs.at
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._with_prior = with_prior
        # Centred, which halves the cancellation in the distances.
        self._X = inputs.X - 0.5
        self._members = np.zeros((n, n_levels))
        self._members[np.arange(n), at] = 1.0
        # Symmetric matrices are had as triangles; the kernel's has a row for each distinct point.
        first, which = distinct(inputs.X)
        self._distinct = self._X[first]
        n_pairs = len(first) * (len(first) + 1) // 2
        self._diagonal = diagonal_of(n)
        self._points: Indices | None = None
        if len(first) < n:
            numbers = symmetric(np.arange(n_pairs, dtype=np.float64), len(first))
            self._points = _triangle(numbers.take(which, axis=0).take(which, axis=1))
        # Levels are numbered in either order, as what is had for each pair of them is symmetric.
        levels = at.astype(np.float64)
        self._levels = _triangle(levels[:, None] + n_levels * levels)
        # Work arrays: fresh ones of this size would cost as much as what is done with them.
        work = np.empty((3, n_pairs))
        self._slope, self._work = work[0], work[1:]
        self._kernel, self._covariance = np.empty((2, len(self._levels)))
        self._amplitude, self._offset = np.empty((2, len(self._levels)))
        self._terms_at: tuple[bytes, ResourceTerms] | None = None

    def value(self, theta: Vector) -> float:
        """Return the negative log density at `theta` alone, at half the cost.

        Raises:
            ValueError: If the covariance matrix has no Cholesky factor.
        """
        return self._evaluate(theta, with_slope=False).value

    def __call__(self, theta: Vector) -> tuple[float, Vector]:
        """Return the negative log density at `theta` and its gradient, shape ``(p,)``.

        Raises:
            ValueError: If the covariance matrix has no Cholesky factor.
        """
        model, d = self._model, self._model.dimension
        Z, terms, amplitude, L, half, value = self._evaluate(theta, with_slope=True)
        noise = model.noise(theta)
        weights = solve_lower_vector(L, half, transposed=True)

        # d value = sum of S * dK - weights . d mean, with S the lower triangle that stands for
        # (K^-1 - weights weights^T) / 2.
        whole = subtract_outer(invert_factor(L), weights)
        diagonal = whole.T.reshape(-1)[:: len(whole) + 1]
        diagonal *= 0.5
        S: Vector = triangle(whole)
        gradient = np.empty(len(theta))
        gradient[d + 1] = noise * diagonal.sum()
        if terms.amplitude.size == 1:
            by_level = np.array([S @ self._kernel])
        else:
            by_level = _sums(self._levels, S * self._kernel, terms.amplitude.size)
        gradient[d] = by_level @ terms.amplitude.ravel()
        rows = len(theta) - d - 2
        gradient[d + 2 :] = terms.d_amplitude.reshape(rows, -1) @ by_level
        gradient[d + 2 :] -= terms.d_mean @ (weights @ self._members)
        if model.resource_kernel is not None:
            sums: Matrix = self._members.T @ (whole @ self._members)
            gradient[d + 2 :] += terms.d_offset.reshape(rows, -1) @ sums.ravel()
        S *= amplitude
        if self._points is not None:
            S = _sums(self._points, S, len(self._slope))
        S *= self._slope
        gradient[:d] = -2.0 * _weighted_squares(lower(S, len(Z)), Z)

        if self._with_prior:
            gradient += (theta - model.centre) / model.sd**2
        return value, gradient

    def _evaluate(self, theta: Vector, *, with_slope: bool) -> "_Evaluated":
        """Return the density at `theta`, and what its gradient is made of.

        The observations' kernel is left in a work array, and so is the derivative of the distinct
        points' with respect to the squared distance, if it is asked for.
        """
        model, at = self._model, self._inputs.at
        n = len(self._targets)
        terms = self._terms(theta)
        kernel, covariance = self._kernel, self._covariance
        Z = self._distinct * model.inverse_lengthscales(theta)
        distinct_kernel = triangle(squared_distances(Z, with_squares(Z)).T)
        slope = self._slope if with_slope else None
        matern52(distinct_kernel, model.variance(theta), slope=slope, work=self._work)
        if self._points is None:
            np.copyto(kernel, distinct_kernel)
        else:
            np.take(distinct_kernel, self._points, out=kernel, mode="clip")
        amplitude: Vector | float = 1.0
        if model.resource_kernel is None:
            np.copyto(covariance, kernel)
        else:
            amplitude = np.take(terms.amplitude, self._levels, out=self._amplitude, mode="clip")
            np.multiply(kernel, amplitude, out=covariance)
            covariance += np.take(terms.offset, self._levels, out=self._offset, mode="clip")
        covariance[self._diagonal] += model.noise(theta)

        L = factorise_triangle(covariance, self._diagonal)
        half = solve_lower_vector(L, self._targets - terms.mean[at])
        value = 0.5 * (half @ half) + np.log(np.diagonal(L)).sum() + 0.5 * n * _LOG_2PI
        if self._with_prior:
            z = (theta - model.centre) / model.sd
            value += 0.5 * (z @ z)
        return _Evaluated(Z, terms, amplitude, L, half, float(value))

    def _terms(self, theta: Vector) -> ResourceTerms:
        """Return the terms at `theta`, kept for the next call, which often asks for the same."""
        key = theta.tobytes()
        if self._terms_at is None or self._terms_at[0] != key:
            self._terms_at = key, self._model.terms(theta, self._inputs.levels)
        return self._terms_at[1]

    def curvature(self, theta: Vector) -> Matrix:
        """Return the Hessian at `theta` that is expected if `theta` is true, shape ``(p, p)``.

        That is Fisher's information (Kay, "Fundamentals of Statistical Signal Processing", 1993,
        eq. 3.31); where there are many observations, of an even sample of them, scaled up.
        """
        n, p = len(self._targets), len(theta)
        m = min(n, _SAMPLE)
        sample = (np.arange(m) * n) // m
        derivatives, inverse = self._derivatives(theta, sample)
        products = (derivatives.reshape(p * m, m) @ inverse).reshape(p, m, m)
        transposed = products.transpose(0, 2, 1).reshape(p, m * m)
        information: Matrix = 0.5 * (products.reshape(p, m * m) @ transposed.T)
        terms = self._terms(theta)
        d_mean = terms.d_mean[:, self._inputs.at[sample]]
        information[-len(d_mean) :, -len(d_mean) :] += d_mean @ inverse @ d_mean.T
        information *= n / m
        if self._with_prior:
            information[np.diag_indices(p)] += self._model.sd**-2.0
        return information

    def _derivatives(self, theta: Vector, sample: Indices) -> tuple[NDArray[np.float64], Matrix]:
        """Return the derivatives of the covariance matrix of a sample, and its inverse.

        Args:
            theta: The parameters, shape ``(p,)``.
            sample: Which observations are in it, shape ``(m,)``.

        Returns:
            Shapes ``(p, m, m)`` and ``(m, m)``.
        """
        model, at = self._model, self._inputs.at[sample]
        d, m, p = model.dimension, len(sample), len(theta)
        Z = self._X[sample] * model.inverse_lengthscales(theta)
        terms = self._terms(theta)
        levels = at[:, None] * len(terms.mean) + at
        slope = np.empty((m, m))
        kernel = matern52(squared_distances(Z, with_squares(Z)), model.variance(theta), slope=slope)
        amplitude = np.take(terms.amplitude, levels)
        slope *= -2.0
        slope *= amplitude
        derivatives = np.empty((p, m, m))
        columns = Z.T
        apart = np.subtract(columns[:, :, None], columns[:, None, :], out=derivatives[:d])
        apart *= apart
        apart *= slope
        np.multiply(kernel, amplitude, out=derivatives[d])
        derivatives[d + 1] = model.noise(theta) * np.eye(m)
        by_level = np.take(terms.d_amplitude.reshape(p - d - 2, -1), levels, axis=1)
        np.multiply(by_level, kernel, out=derivatives[d + 2 :])
        derivatives[d + 2 :] += np.take(terms.d_offset.reshape(p - d - 2, -1), levels, axis=1)
        covariance = derivatives[d] + derivatives[d + 1]
        covariance += np.take(terms.offset, levels)
        half = invert_factor(factorise(covariance))
        inverse = half + half.T
        inverse.flat[:: m + 1] *= 0.5
        return derivatives, inverse


def _weighted_squares(M: Matrix, Z: Matrix) -> Vector:
    """Return ``sum_ij M_ij (Z_ik - Z_jk)^2`` for each column k of `Z`."""
    marginals = M.sum(axis=0) + M.sum(axis=1)
    squares: Vector = marginals @ (Z * Z) - 2.0 * np.vecdot(Z.T, (M @ Z).T)
    return squares


def _triangle(A: Matrix) -> Indices:
    """Return the triangle of a matrix of whole numbers; LAPACK is the fastest at taking it."""
    packed: Indices = triangle(A.T).astype(np.intp)
    return packed


def _sums(groups: Indices, values: Vector, n: int) -> Vector:
    """Return the sum of the values of each of `n` groups."""
    sums: NDArray[Any] = np.bincount(groups, values, n)
    return sums
