"""Cholesky factors and what is solved with them, on LAPACK directly."""

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg.blas import dsyr, dtrmm, dtrsm, dtrsv
from scipy.linalg.lapack import dlauum, dpotrf, dtrtri

from asynctune.gp.arrays import Indices, Matrix, Vector
from asynctune.gp.triangles import lower

# Relative to the mean of the diagonal. The last one is hopeless data, but still an answer.
_JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0)
# Triangular matrices up to this size are inverted in one go.
_HALVED_ABOVE = 64


def factorise(K: Matrix) -> Matrix:
    """Return the lower Cholesky factor of `K`, with the least jitter that makes it exist.

    Args:
        K: Symmetric, ``(n, n)``, C order.

    Returns:
        Shape ``(n, n)``, Fortran order, zeros above the diagonal.

    Raises:
        ValueError: If `K` is not finite, or far from positive semi-definite.
    """

    def copy() -> Matrix:
        # The transpose of a symmetric matrix is as good, and its copy is a straight one.
        fresh: Matrix = np.empty_like(K, order="F")
        np.copyto(fresh.T, K)
        return fresh

    return _factorise(copy, np.diagonal(K))


def factorise_triangle(K: Vector, diagonal: Indices) -> Matrix:
    """Return what `factorise` does, for a matrix as `asynctune.gp.triangles` has it.

    Args:
        K: Shape ``(n (n + 1) / 2,)``.
        diagonal: Where its diagonal is, shape ``(n,)``.
    """
    return _factorise(lambda: lower(K, len(diagonal)), K[diagonal])


def _factorise(copy: Callable[[], Matrix], diagonal: Vector) -> Matrix:
    """Factorise a copy of a matrix, one after the other, with ever more jitter on its diagonal."""
    level = float(diagonal.mean())
    if not math.isfinite(level):
        raise ValueError(f"a covariance matrix must be finite; the mean of its diagonal is {level}")
    for jitter in _JITTERS:
        factor = copy()
        if jitter:
            factor[np.diag_indices_from(factor)] += jitter * level
        _, info = dpotrf(factor, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return factor
    raise ValueError(
        f"a covariance matrix must be positive semi-definite; with jitter {_JITTERS[-1]:g} times "
        f"the mean of its diagonal the pivot {info} of {len(diagonal)} is still negative"
    )


def solve_lower(L: Matrix, B: Matrix) -> Matrix:
    """Return ``L^-1 B`` for lower triangular `L`."""
    return dtrsm(1.0, L, B, lower=1)


def solve_lower_vector(L: Matrix, b: Vector, *, transposed: bool = False) -> Vector:
    """Return ``L^-1 b``, or ``L^-T b`` if `transposed`; `b` has shape ``(n,)``."""
    return dtrsv(L, b, lower=1, trans=int(transposed))


def invert_lower(L: Matrix) -> Matrix:
    """Return ``L^-1`` for lower triangular `L`, Fortran order, with zeros above the diagonal.

    By halves, as the products of these are what linear algebra libraries are fastest at; to
    multiply by the inverse of a few hundred rows is then faster than to solve with `L` as well.
    """
    n = len(L)
    if n <= _HALVED_ABOVE:
        inverse: Matrix = dtrtri(L, lower=1)[0]
        return inverse
    inverse = np.zeros((n, n), order="F")
    h = n // 2
    first = inverse[:h, :h] = invert_lower(L[:h, :h])
    second = inverse[h:, h:] = invert_lower(L[h:, h:])
    below = dtrmm(-1.0, second, L[h:, :h], lower=1)
    inverse[h:, :h] = dtrmm(1.0, first, below, side=1, lower=1, overwrite_b=1)
    return inverse


def multiply_lower(
    A: Matrix, B: Matrix, *, transposed: bool = False, overwrite: bool = False
) -> Matrix:
    """Return ``A B``, or ``A^T B`` if `transposed`, for lower triangular `A`.

    If `overwrite`, it takes the place of `B`, provided that this has Fortran order.
    """
    return dtrmm(1.0, A, B, lower=1, trans_a=int(transposed), overwrite_b=int(overwrite))


def invert_factor(L: Matrix) -> Matrix:
    """Return the lower triangle of ``(L L^T)^-1`` with zeros above, ``(n, n)``, Fortran order."""
    inverse: Matrix
    inverse, _ = dlauum(invert_lower(L), lower=1, overwrite_c=1)
    return inverse


def subtract_outer(A: Matrix, b: Vector) -> Matrix:
    """Overwrite the lower triangle of `A`, Fortran order, with that of ``A - b b^T``."""
    difference: Matrix = dsyr(-1.0, b, a=A, lower=1, overwrite_a=1)
    return difference
