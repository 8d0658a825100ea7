"""Comparing optimizers over seeds: ranks, and who is better for certain."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, rankdata

Vector = NDArray[np.float64]
Verdict = Literal["win", "tie", "loss"]
_CONFIDENCE: Final = 0.05


def resolved(values: Vector, resolution: float) -> Vector:
    """Return the values, rounded so that differences that do not matter are none."""
    return np.asarray(np.round(values / resolution) * resolution)


def mean_ranks(finals: Mapping[str, Vector]) -> dict[str, float]:
    """Return each optimizer's rank by value, 1 the lowest, in the mean over seeds.

    Args:
        finals: Values by optimizer, one a seed, all of shape ``(n,)``; equal ones share the
            mean of their ranks.
    """
    ranks = rankdata(np.stack(list(finals.values())), axis=0).mean(axis=1)
    return dict(zip(finals, ranks.tolist(), strict=True))


def verdict(ours: Vector, theirs: Vector) -> Verdict:
    """Return whether our values are lower, by a two-sided rank-sum test at five per cent.

    Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables is
    Stochastically Larger than the Other", 1947.
    """
    if np.ptp(np.concatenate([ours, theirs])) == 0:
        return "tie"
    statistic, p = mannwhitneyu(ours, theirs)
    if p >= _CONFIDENCE:
        return "tie"
    return "win" if statistic < len(ours) * len(theirs) / 2 else "loss"


def counted(verdicts: Sequence[Verdict]) -> str:
    """Return how many wins, ties and losses there are, as in "5/3/1"."""
    return "/".join(str(verdicts.count(which)) for which in ("win", "tie", "loss"))
