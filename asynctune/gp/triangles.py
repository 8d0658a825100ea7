"""Lower triangles of symmetric matrices as vectors, column after column, as LAPACK packs them.

What is done elementwise costs half of what it does on whole matrices.
"""

import numpy as np

from asynctune.gp.arrays import Indices


def pairs(n: int) -> tuple[Indices, Indices]:
    """Return row and column of each element of an ``(n, n)`` matrix's triangle."""
    columns = np.arange(n)
    lengths = n - columns
    rows = np.arange(n * (n + 1) // 2)
    rows += np.repeat(columns - diagonal_of(n), lengths)
    return rows, np.repeat(columns, lengths)


def diagonal_of(n: int) -> Indices:
    """Return where in the triangle of an ``(n, n)`` matrix its diagonal is, shape ``(n,)``."""
    columns = np.arange(n)
    where: Indices = columns * (2 * n + 1 - columns) // 2
    return where
