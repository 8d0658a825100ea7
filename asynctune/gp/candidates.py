"""Points at which the acquisition is evaluated first: spread over the cube, and near the best."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.arrays import Indices, Matrix

# A local move resamples some parameters (None) or shifts them by normal steps of this size.
_STEPS = (None, 0.1, 0.03, 0.01)
_BITS = 30


def spread_points(n: int, dimension: int, rng: np.random.Generator) -> Matrix:
    """Return `n` points of a randomised Sobol sequence in the unit cube, ``(n, dimension)``.

    The sequence is scrambled once, the same for all; a random digital shift, which keeps its
    evenness, makes it another one for each generator (Owen, "Monte Carlo theory, methods and
    examples", 2013, section 17.5).
    """
    shift = rng.integers(0, 2**_BITS, size=dimension, dtype=np.int64)
    digits = (_sobol_digits(n, dimension) ^ shift).astype(np.float64)
    return np.ldexp(digits + 0.5, -_BITS)


@lru_cache(maxsize=8)
def _sobol_digits(n: int, dimension: int) -> NDArray[np.int64]:
    """Return scrambled Sobol points as integers below ``2^30``, ``(n, dimension)``."""
    from scipy.stats.qmc import Sobol

    power = (n - 1).bit_length()
    points = Sobol(dimension, scramble=True, bits=_BITS, rng=0).random_base2(power)[:n]
    digits = (points * 2.0**_BITS).astype(np.int64)
    digits.flags.writeable = False
    return digits


def points_around(centres: Matrix, n: int, parameters: Indices, rng: np.random.Generator) -> Matrix:
    """Return `n` random points around each of `centres`, in the unit cube.

    Each differs from its centre in about half of the parameters, and in at least one.

    Args:
        centres: Shape ``(c, d)``.
        n: Points per centre.
        parameters: Which parameter each coordinate belongs to, numbered from 0, shape
            ``(d,)``; the coordinates of one parameter (a one-hot code) move together.
        rng: Source of randomness.

    Returns:
        Shape ``(c * n, d)``.
    """
    c, d = centres.shape
    n_parameters = int(parameters[-1]) + 1
    chosen = rng.random((c, n, n_parameters)) < 0.5
    chosen.reshape(c * n, -1)[np.arange(c * n), rng.integers(n_parameters, size=c * n)] = True
    moves = chosen[:, :, parameters]
    points = np.repeat(centres[:, None, :], n, axis=1)
    for i, size in enumerate(_STEPS):
        part, move = points[:, i :: len(_STEPS)], moves[:, i :: len(_STEPS)]
        if size is None:
            moved = rng.random(part.shape)
        else:
            moved = part + size * rng.standard_normal(part.shape)
        np.copyto(part, moved, where=move)
    return np.clip(points, 0.0, 1.0, out=points).reshape(-1, d)
