"""The Matérn kernel of smoothness 5/2 with one lengthscale per dimension.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 4.17.
"""

import math

import numpy as np

from asynctune.gp.arrays import Matrix


def with_squares(B: Matrix) -> Matrix:
    """Return the rows of `B`, ``(m, d)``, each followed by 1 and its squared norm, ``(m, d + 2)``.

    That makes distances, and sums over differences of rows, one matrix product.
    """
    m, d = B.shape
    extended = np.empty((m, d + 2))
    extended[:, :d] = B
    extended[:, d] = 1.0
    np.vecdot(B, B, out=extended[:, d + 1])
    return extended


def squared_distances(A: Matrix, B: Matrix) -> Matrix:
    """Return the squared Euclidean distances between the rows of `A` and those of `B`.

    They come from one matrix product, so those below 1e-15 times the squared norms
    are noise; the kernel is flat there.

    Args:
        A: Shape ``(n, d)``, inputs divided by the lengthscales.
        B: Shape ``(m, d + 2)``, likewise, `with_squares`.
    """
    n, d = A.shape
    extended = np.empty((n, d + 2))
    np.multiply(A, -2.0, out=extended[:, :d])
    np.vecdot(A, A, out=extended[:, d])
    extended[:, d + 1] = 1.0
    squared: Matrix = extended @ B.T
    return np.maximum(squared, 0.0, out=squared)


def matern52(
    squared: Matrix, scale: float, slope: Matrix | None = None, work: Matrix | None = None
) -> Matrix:
    """Return ``scale (1 + t + t^2 / 3) exp(-t)`` with ``t = sqrt(5 squared)``.

    Args:
        squared: Squared scaled distances, any shape; overwritten by the result.
        scale: Variance of the process.
        slope: If given, is filled with the derivative with respect to `squared`, which
            is ``-5/6 scale (1 + t) exp(-t)``; same shape as `squared`.
        work: Room for intermediate results, two times the shape of `squared`.

    Returns:
        `squared`, overwritten.
    """
    t, decay = np.empty((2, *squared.shape)) if work is None else work
    squared *= 5.0
    np.sqrt(squared, out=t)
    np.subtract(math.log(scale), t, out=decay)
    np.exp(decay, out=decay)
    t += 1.0
    if slope is not None:
        np.multiply(t, decay, out=slope)
        slope *= -5.0 / 6.0
    squared *= 1.0 / 3.0
    squared += t
    squared *= decay
    return squared
