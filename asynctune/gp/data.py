"""What a process is fitted to."""

from typing import NamedTuple

import numpy as np

from asynctune.gp.arrays import Indices, Matrix, Vector

_ONE_LEVEL = np.ones(1)


class Inputs(NamedTuple):
    """Where a process is observed.

    Attributes:
        X: Points in the unit cube, shape ``(n, d)``.
        levels: The distinct resource levels that occur, as fractions of the largest
            resource, shape ``(L,)``; a single 1 if there is no resource.
        at: For each point the index of its level, shape ``(n,)``.
    """

    X: Matrix
    levels: Vector
    at: Indices


def inputs(X: Matrix, resources: Vector | None = None) -> Inputs:
    """Return the inputs at points `X`, observed at `resources` if there is a resource.

    Args:
        X: Points in the unit cube, shape ``(n, d)``.
        resources: Fractions of the largest resource, in ``(0, 1]``, shape ``(n,)``.
    """
    if resources is None:
        return Inputs(X, _ONE_LEVEL, np.zeros(len(X), dtype=np.intp))
    # They are few, so that a set is faster than to sort them all.
    levels = np.array(sorted(set(resources.tolist())))
    return Inputs(X, levels, np.searchsorted(levels, resources))


def distinct(X: Matrix) -> tuple[Indices, Indices]:
    """Return where each distinct row of `X` is first, and for each row which one it equals."""
    n, width = len(X), X.shape[1] * X.itemsize
    rows = X.tobytes()
    seen: dict[bytes, int] = {}
    same = [seen.setdefault(rows[i * width : (i + 1) * width], i) for i in range(n)]
    at = np.array(same, dtype=np.intp)
    first = np.array(list(seen.values()), dtype=np.intp)
    numbers = np.empty(n, dtype=np.intp)
    numbers[first] = np.arange(len(first))
    return first, numbers[at]
