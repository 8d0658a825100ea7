"""Lower triangles of symmetric matrices as vectors, column after column, as LAPACK packs them.

What is done elementwise costs half of what it does on whole matrices.
"""

import numpy as np
from scipy.linalg.lapack import dtpttr, dtrttp

from asynctune.gp.arrays import Indices, Matrix, Vector


def triangle(A: Matrix) -> Vector:
    """Return the lower triangle of `A`, ``(n, n)``, Fortran order."""
    packed: Vector = dtrttp(A, uplo="L")[0]
    return packed


def lower(A: Vector, n: int) -> Matrix:
    """Return the matrix, ``(n, n)``, with the triangle `A` and zeros above, Fortran order."""
    L: Matrix = dtpttr(n, A, uplo="L")[0]
    return L


def symmetric(A: Vector, n: int) -> Matrix:
    """Return the symmetric matrix, ``(n, n)``, with the triangle `A` of no negative numbers."""
    L = lower(A, n)
    whole: Matrix = np.maximum(L, L.T)
    return whole


def diagonal_of(n: int) -> Indices:
    """Return where in the triangle of an ``(n, n)`` matrix its diagonal is, shape ``(n,)``."""
    columns = np.arange(n)
    where: Indices = columns * (2 * n + 1 - columns) // 2
    return where
