"""Cholesky factors and what is solved with them, on LAPACK directly."""

import math

import numpy as np
from scipy.linalg.blas import dsyr, dtrsm, dtrsv
from scipy.linalg.lapack import dpotrf, dpotri, dtpttr, dtrttp

from asynctune.gp.arrays import Indices, Matrix, Vector

# Relative to the mean of the diagonal. The last one is hopeless data, but still an answer.
_JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0)


def factorise(K: Matrix) -> Matrix:
    """Return the lower Cholesky factor of `K`, with the least jitter that makes it exist.

    Args:
        K: Symmetric, ``(n, n)``, C order.

    Returns:
        Shape ``(n, n)``, Fortran order, zeros above the diagonal.

    Raises:
        ValueError: If `K` is not finite, or far from positive semi-definite.
    """
    level = _level(np.diagonal(K))
    factor: Matrix = np.empty_like(K, order="F")
    for jitter in _JITTERS:
        # The transpose of a symmetric matrix is as good, and its copy is a straight one.
        np.copyto(factor.T, K)
        if jitter:
            factor[np.diag_indices_from(factor)] += jitter * level
        _, info = dpotrf(factor, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return factor
    raise _hopeless(info, len(K))


def factorise_triangle(K: Vector, diagonal: Indices) -> Matrix:
    """Return what `factorise` does, for a matrix as `asynctune.gp.triangles` has it.

    Args:
        K: Shape ``(n (n + 1) / 2,)``.
        diagonal: Where its diagonal is, shape ``(n,)``.
    """
    level = _level(K[diagonal])
    factor: Matrix
    for jitter in _JITTERS:
        factor, _ = dtpttr(len(diagonal), K, uplo="L")
        if jitter:
            factor[np.diag_indices_from(factor)] += jitter * level
        _, info = dpotrf(factor, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return factor
    raise _hopeless(info, len(diagonal))


def _level(diagonal: Vector) -> float:
    """Return the mean of a covariance matrix's diagonal, which jitter is measured by."""
    level = float(diagonal.mean())
    if not math.isfinite(level):
        raise ValueError(f"a covariance matrix must be finite; the mean of its diagonal is {level}")
    return level


def _hopeless(pivot: int, n: int) -> ValueError:
    return ValueError(
        f"a covariance matrix must be positive semi-definite; with jitter {_JITTERS[-1]:g} times "
        f"the mean of its diagonal the pivot {pivot} of {n} is still negative"
    )


def solve_lower(
    L: Matrix, B: Matrix, *, transposed: bool = False, overwrite: bool = False
) -> Matrix:
    """Return ``L^-1 B``, or ``L^-T B`` if `transposed`, for lower triangular `L`.

    If `overwrite`, it takes the place of `B`, provided that this has Fortran order.
    """
    return dtrsm(1.0, L, B, lower=1, trans_a=int(transposed), overwrite_b=int(overwrite))


def solve_lower_vector(L: Matrix, b: Vector, *, transposed: bool = False) -> Vector:
    """Return ``L^-1 b``, or ``L^-T b`` if `transposed`; `b` has shape ``(n,)``."""
    return dtrsv(L, b, lower=1, trans=int(transposed))


def invert_factor(L: Matrix) -> Matrix:
    """Overwrite `L` with the lower triangle of ``(L L^T)^-1``, and return it.

    Args:
        L: Lower triangular, ``(n, n)``, Fortran order; what stands above the diagonal stays.
    """
    inverse: Matrix
    inverse, _ = dpotri(L, lower=1, overwrite_c=1)
    return inverse


def subtract_outer(A: Matrix, b: Vector) -> Matrix:
    """Overwrite the lower triangle of `A`, Fortran order, with that of ``A - b b^T``."""
    difference: Matrix = dsyr(-1.0, b, a=A, lower=1, overwrite_a=1)
    return difference


def triangle(A: Matrix) -> Vector:
    """Return the lower triangle of `A`, Fortran order, as `asynctune.gp.triangles` has it."""
    packed: Vector = dtrttp(A, uplo="L")[0]
    return packed
