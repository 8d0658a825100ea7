"""Cholesky factors and what is solved with them, on LAPACK directly."""

import numpy as np
from scipy.linalg.blas import dtrsm, dtrsv
from scipy.linalg.lapack import dpotrf, dpotri

from asynctune.gp.arrays import Matrix, Vector

# Relative to the mean of the diagonal. The last one is hopeless data, but still an answer.
_JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0)


def factorise(K: Matrix) -> Matrix:
    """Return the lower Cholesky factor of `K`, with the least jitter that makes it exist.

    Args:
        K: Symmetric, ``(n, n)``; only its lower triangle is read.

    Returns:
        Shape ``(n, n)``, Fortran order, zeros above the diagonal.

    Raises:
        ValueError: If `K` is not finite, or far from positive semi-definite.
    """
    diagonal = np.diagonal(K)
    level = float(diagonal.mean())
    if not np.isfinite(level):
        raise ValueError(f"a covariance matrix must be finite; the mean of its diagonal is {level}")
    for jitter in _JITTERS:
        trial = K.copy(order="F")
        if jitter:
            trial[np.diag_indices_from(trial)] += jitter * level
        factor: Matrix
        factor, info = dpotrf(trial, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return factor
    raise ValueError(
        f"a covariance matrix must be positive semi-definite; with jitter {_JITTERS[-1]:g} times "
        f"the mean of its diagonal the pivot {info} of {len(K)} is still negative"
    )


def solve_lower(L: Matrix, B: Matrix, *, transposed: bool = False) -> Matrix:
    """Return ``L^-1 B``, or ``L^-T B`` if `transposed`, for lower triangular `L`."""
    return dtrsm(1.0, L, B, lower=1, trans_a=int(transposed))


def solve_lower_vector(L: Matrix, b: Vector, *, transposed: bool = False) -> Vector:
    """Return ``L^-1 b``, or ``L^-T b`` if `transposed`; `b` has shape ``(n,)``."""
    return dtrsv(L, b, lower=1, trans=int(transposed))


def inverse_from_factor(L: Matrix) -> Matrix:
    """Return the lower triangle of ``(L L^T)^-1``; what stands above the diagonal is zero.

    Args:
        L: Lower triangular, ``(n, n)``, zeros above the diagonal.
    """
    inverse: Matrix
    inverse, _ = dpotri(L, lower=1)
    return inverse
