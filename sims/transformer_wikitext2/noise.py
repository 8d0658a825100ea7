"""What training runs of one config differ by."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.recorded import Reading, Recorded

Vector = NDArray[np.float64]

# Median of chi squared with one degree of freedom.
_MEDIAN = 0.4549
_LEAST = 1e-3  # deviation that is reckoned with in any case
_LEARNT = 0.3  # backbone's scale from which on something has been learnt


def fit_noise(recorded: Recorded, parameters: Vector) -> float:
    """Return the deviation between training runs, in units of the backbone's scale.

    Where configs were collected with several seeds, these tell. Otherwise copies of a published
    config do: ASHA's were resumed, with other random states than RS's. The median of the squared
    distance of two runs, less what reading errors explain.

    Args:
        recorded: The curves.
        parameters: Parameters of the backbone.
    """
    pairs = _seeds(recorded) or _resumed(recorded)
    if not pairs:
        return _LEAST
    distances, errors = [], []
    at = bb.inputs(recorded.configs)
    for i, a, b, first in pairs:
        one, two = a.learnt(), b.learnt()
        both = np.flatnonzero(np.isfinite(one) & np.isfinite(two))
        both = both[both >= first]
        here = bb.Inputs(*(part[i] for part in at))
        scale = bb.backbone(parameters, here, np.log(both + 1.0)).scale
        if a.collected:  # untrained, seeds differ by their weights
            both, scale = both[scale > _LEARNT], scale[scale > _LEARNT]
        distances.append((one[both] - two[both]) / scale)
        errors.append((a.sigma[both] ** 2 + b.sigma[both] ** 2) / scale**2)
    distance, error = np.concatenate(distances), np.concatenate(errors)
    if not len(distance):
        return _LEAST
    variance = (np.median(distance**2) / _MEDIAN - np.median(error)) / 2  # two runs differ
    return max(float(np.sqrt(max(variance, 0.0))), _LEAST)


Pair = tuple[int, Reading, Reading, int]


def _seeds(recorded: Recorded) -> list[Pair]:
    """Return pairs of runs with different seeds: row, the two, and from which epoch on."""
    return [
        (i, a, b, 0)
        for i, copies in enumerate(recorded.readings)
        if copies[0].collected
        for a, b in combinations(copies, 2)
    ]


def _resumed(recorded: Recorded) -> list[Pair]:
    """Return pairs of an uninterrupted and a resumed run, which agree in the first epoch."""
    found = []
    for i, copies in enumerate(recorded.readings):
        by_method = {c.method: c for c in copies}
        if {"RS", "ASHA"} <= set(by_method):
            found.append((i, by_method["RS"], by_method["ASHA"], 1))
    return found
