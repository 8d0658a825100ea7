"""The Matérn kernel of smoothness 5/2 with one lengthscale per dimension.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 4.17.
"""

import numpy as np

from asynctune.gp.arrays import Matrix


def squared_distances(A: Matrix, B: Matrix, out: Matrix | None = None) -> Matrix:
    """Return the squared Euclidean distances between the rows of `A` and those of `B`.

    They come from one matrix product, so those below 1e-15 times the squared norms
    are noise; the kernel is flat there.

    Args:
        A: Shape ``(n, d)``, inputs divided by the lengthscales.
        B: Shape ``(m, d)``, likewise.
        out: Where to put the result, ``(n, m)``.
    """
    out = np.matmul(A, B.T, out=out)
    out *= -2.0
    squares = np.vecdot(A, A)
    out += squares[:, None]
    out += squares if B is A else np.vecdot(B, B)
    return np.maximum(out, 0.0, out=out)


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
    np.negative(t, out=decay)
    np.exp(decay, out=decay)
    decay *= scale
    t += 1.0
    if slope is not None:
        np.multiply(t, decay, out=slope)
        slope *= -5.0 / 6.0
    squared *= 1.0 / 3.0
    squared += t
    squared *= decay
    return squared
