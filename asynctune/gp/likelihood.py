"""The log posterior density of a process's parameters, and its gradient.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 5.8, 5.9.
"""

import numpy as np

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.cholesky import (
    factorise,
    invert_factor,
    solve_lower_vector,
    subtract_outer,
)
from asynctune.gp.data import Inputs
from asynctune.gp.matern import matern52, squared_distances
from asynctune.gp.model import Model

_LOG_2PI = float(np.log(2.0 * np.pi))


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

    def __call__(self, theta: Vector) -> tuple[float, Vector]:
        """Return the negative log density at `theta` and its gradient, shape ``(p,)``.

        Raises:
            ValueError: If the covariance matrix has no Cholesky factor.
        """
        model, at = self._model, self._inputs.at
        d, n = model.dimension, len(self._targets)
        Z = self._X * model.inverse_lengthscales(theta)
        noise = model.noise(theta)
        terms = model.terms(theta, self._inputs.levels)
        kernel, slope, covariance = self._kernel, self._slope, self._covariance
        squared_distances(Z, Z, out=kernel)
        matern52(kernel, model.variance(theta), slope=slope, work=self._work)

        with_resource = model.resource_kernel is not None
        if with_resource:
            amplitude = np.take(terms.amplitude[:, at], at, axis=0, out=self._gathered, mode="clip")
            np.multiply(kernel, amplitude, out=covariance)
            slope *= amplitude
            covariance += np.take(terms.offset[:, at], at, axis=0, out=self._gathered, mode="clip")
        else:
            np.copyto(covariance, kernel)
        covariance[np.diag_indices(n)] += noise

        L = factorise(covariance, out=self._factor)
        residuals = self._targets - terms.mean[at]
        half = solve_lower_vector(L, residuals)
        weights = solve_lower_vector(L, half, transposed=True)
        value = 0.5 * (half @ half) + np.log(np.diagonal(L)).sum() + 0.5 * n * _LOG_2PI

        # d value = sum of S * dK - weights . d mean, with S the upper triangle that stands for
        # (K^-1 - weights weights^T) / 2. The factor is lower and in Fortran order: its
        # transpose lies in memory as the kernel does.
        S = subtract_outer(invert_factor(L), weights).T
        S *= self._half
        gradient = np.empty(len(theta))
        gradient[d + 1] = noise * np.trace(S)
        slope *= S
        gradient[:d] = -2.0 * _weighted_squares(slope, Z)
        kernel *= S
        by_level = self._sum_by_level(kernel)
        gradient[d] = (by_level * terms.amplitude).sum()
        gradient[d + 2 :] = np.tensordot(terms.d_amplitude, by_level, 2) - terms.d_mean @ (
            weights @ self._members
        )
        if with_resource:
            gradient[d + 2 :] += np.tensordot(terms.d_offset, self._sum_by_level(S), 2)

        if self._with_prior:
            z = (theta - model.centre) / model.sd
            value += 0.5 * (z @ z)
            gradient += z / model.sd
        return float(value), gradient

    def _sum_by_level(self, M: Matrix) -> Matrix:
        """Return the sums of the blocks of `M` that belong to a pair of levels, ``(L, L)``."""
        return self._members.T @ (M @ self._members)


def _weighted_squares(M: Matrix, Z: Matrix) -> Vector:
    """Return ``sum_ij M_ij (Z_ik - Z_jk)^2`` for each column k of `Z`."""
    marginals = M.sum(axis=0) + M.sum(axis=1)
    squares: Vector = marginals @ (Z * Z) - 2.0 * np.einsum("ik,ik->k", Z, M @ Z)
    return squares
