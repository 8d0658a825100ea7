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
    rows += np.repeat(columns - positions(columns, columns, n), lengths)
    return rows, np.repeat(columns, lengths)


def positions(i: Indices, j: Indices, n: int) -> Indices:
    """Return where in the triangle of an ``(n, n)`` matrix its elements at `i` and `j` are."""
    column = np.minimum(i, j)
    where: Indices = np.maximum(i, j) + column * (2 * n - 1 - column) // 2
    return where
