"""The log posterior density of a process's parameters, and its gradient.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 5.8, 5.9.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.arrays import Indices, Matrix, Vector
from asynctune.gp.cholesky import (
    factorise,
    invert_factor,
    solve_lower_vector,
    subtract_outer,
)
from asynctune.gp.data import Inputs
from asynctune.gp.matern import matern52, squared_distances
from asynctune.gp.model import Model
from asynctune.gp.resource import ResourceTerms

# How many observations the curvature is taken from: it need not be exact.
_SAMPLE = 40
_LOG_2PI = float(np.log(2.0 * np.pi))


class _Evaluated(NamedTuple):
    """A density, and what its gradient is made of.

    Attributes:
        Z: Inputs divided by the lengthscales, shape ``(n, d)``.
        terms: What the resource adds.
        factor: Of the covariance matrix, lower, shape ``(n, n)``.
        half: The factor's inverse times the residuals, shape ``(n,)``.
        value: The negative log density.
    """

    Z: Matrix
    terms: ResourceTerms
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
        n, levels = len(targets), len(inputs.levels)
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._with_prior = with_prior
        # Centred, which halves the cancellation in the distances.
        self._X = inputs.X - 0.5
        self._members = np.zeros((n, levels))
        self._members[np.arange(n), inputs.at] = 1.0
        # An upper triangle times this sums like half the symmetric matrix that it stands for.
        self._half = np.triu(np.ones((n, n)), 1) + 0.5 * np.eye(n)
        # Work arrays: fresh ones of this size would cost as much as what is done with them.
        self._kernel, self._slope, self._covariance, self._gathered = np.empty((4, n, n))
        self._work = np.empty((2, n, n))
        self._factor = np.empty((n, n), order="F")

    def value(self, theta: Vector) -> float:
        """Return the negative log density at `theta` alone, at half the cost.

        Raises:
            ValueError: If the covariance matrix has no Cholesky factor.
        """
        return self._evaluate(theta, None).value

    def __call__(self, theta: Vector) -> tuple[float, Vector]:
        """Return the negative log density at `theta` and its gradient, shape ``(p,)``.

        Raises:
            ValueError: If the covariance matrix has no Cholesky factor.
        """
        model, d = self._model, self._model.dimension
        kernel, slope = self._kernel, self._slope
        Z, terms, L, half, value = self._evaluate(theta, slope)
        noise = model.noise(theta)
        weights = solve_lower_vector(L, half, transposed=True)

        # d value = sum of S * dK - weights . d mean, with S the upper triangle that stands for
        # (K^-1 - weights weights^T) / 2. The factor is lower and in Fortran order: its
        # transpose lies in memory as the kernel does.
        S = subtract_outer(invert_factor(L), weights).T
        S *= self._half
        gradient = np.empty(len(theta))
        gradient[d + 1] = noise * S.trace()
        slope *= S
        gradient[:d] = -2.0 * _weighted_squares(slope, Z)
        kernel *= S
        by_level = self._sum_by_level(kernel)
        gradient[d] = (by_level * terms.amplitude).sum()
        rows = len(theta) - d - 2
        gradient[d + 2 :] = terms.d_amplitude.reshape(rows, -1) @ by_level.ravel()
        gradient[d + 2 :] -= terms.d_mean @ (weights @ self._members)
        if model.resource_kernel is not None:
            by_level = self._sum_by_level(S)
            gradient[d + 2 :] += terms.d_offset.reshape(rows, -1) @ by_level.ravel()

        if self._with_prior:
            gradient += (theta - model.centre) / model.sd**2
        return value, gradient

    def _evaluate(self, theta: Vector, slope: Matrix | None) -> "_Evaluated":
        """Return the density at `theta`, and what its gradient is made of.

        The kernel is left in a work array, and so is its derivative with respect to the squared
        distance, times the levels' amplitude, if room for it is given.
        """
        model, at = self._model, self._inputs.at
        n = len(self._targets)
        Z = self._X * model.inverse_lengthscales(theta)
        terms = model.terms(theta, self._inputs.levels)
        kernel, covariance = self._kernel, self._covariance
        squared_distances(Z, Z, out=kernel)
        matern52(kernel, model.variance(theta), slope=slope, work=self._work)
        if model.resource_kernel is None:
            np.copyto(covariance, kernel)
        else:
            amplitude = np.take(terms.amplitude[:, at], at, axis=0, out=self._gathered, mode="clip")
            np.multiply(kernel, amplitude, out=covariance)
            if slope is not None:
                slope *= amplitude
            covariance += np.take(terms.offset[:, at], at, axis=0, out=self._gathered, mode="clip")
        covariance.flat[:: n + 1] += model.noise(theta)

        L = factorise(covariance, out=self._factor)
        half = solve_lower_vector(L, self._targets - terms.mean[at])
        value = 0.5 * (half @ half) + np.log(np.diagonal(L)).sum() + 0.5 * n * _LOG_2PI
        if self._with_prior:
            z = (theta - model.centre) / model.sd
            value += 0.5 * (z @ z)
        return _Evaluated(Z, terms, L, half, float(value))

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
        terms = self._model.terms(theta, self._inputs.levels)
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
        terms = model.terms(theta, self._inputs.levels)
        pairs = at[:, None] * len(terms.mean) + at
        slope = np.empty((m, m))
        kernel = matern52(squared_distances(Z, Z), model.variance(theta), slope=slope)
        amplitude = np.take(terms.amplitude, pairs)
        slope *= -2.0
        slope *= amplitude
        derivatives = np.empty((p, m, m))
        columns = Z.T
        apart = np.subtract(columns[:, :, None], columns[:, None, :], out=derivatives[:d])
        apart *= apart
        apart *= slope
        np.multiply(kernel, amplitude, out=derivatives[d])
        derivatives[d + 1] = model.noise(theta) * np.eye(m)
        by_level = np.take(terms.d_amplitude.reshape(p - d - 2, -1), pairs, axis=1)
        np.multiply(by_level, kernel, out=derivatives[d + 2 :])
        derivatives[d + 2 :] += np.take(terms.d_offset.reshape(p - d - 2, -1), pairs, axis=1)
        covariance = derivatives[d] + derivatives[d + 1]
        covariance += np.take(terms.offset, pairs)
        lower = invert_factor(factorise(covariance))
        inverse = lower + lower.T
        inverse.flat[:: m + 1] *= 0.5
        return derivatives, inverse

    def _sum_by_level(self, M: Matrix) -> Matrix:
        """Return the sums of the blocks of `M` that belong to a pair of levels, ``(L, L)``."""
        return self._members.T @ (M @ self._members)


def _weighted_squares(M: Matrix, Z: Matrix) -> Vector:
    """Return ``sum_ij M_ij (Z_ik - Z_jk)^2`` for each column k of `Z`."""
    marginals = M.sum(axis=0) + M.sum(axis=1)
    squares: Vector = marginals @ (Z * Z) - 2.0 * np.einsum("ik,ik->k", Z, M @ Z)
    return squares
