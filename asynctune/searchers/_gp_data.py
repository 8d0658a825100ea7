"""What a model-based searcher makes of the log of observations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.searchers.base import Observation

# A resource level is trusted for the acquisition from this many observations on.
_TRUSTED_FROM = 3


class Data(NamedTuple):
    """Values by trial and resource, in the order in which each first came in.

    Attributes:
        trials: Numbers of the trials, shape ``(n,)``.
        resources: Resource levels, shape ``(n,)``.
        values: Metric values, smaller is better, shape ``(n,)``.
    """

    trials: NDArray[np.intp]
    resources: NDArray[np.float64]
    values: NDArray[np.float64]

    def subset(self, chosen: NDArray[np.intp]) -> "Data":
        """Return the observations with these indices."""
        return Data(self.trials[chosen], self.resources[chosen], self.values[chosen])


def final_values(observations: Sequence[Observation], length: int) -> Data:
    """Return the latest value of each trial among the first `length` observations."""
    latest = {o.trial: o for o in observations[:length]}
    return _data(list(latest.values()))


def values_by_level(observations: Sequence[Observation], length: int) -> Data:
    """Return the latest value at each (trial, resource) of the first `length` observations."""
    latest = {(o.trial, o.resource): o for o in observations[:length]}
    return _data(list(latest.values()))


def _data(observations: list[Observation]) -> Data:
    trials, resources, values = zip(*observations, strict=True) if observations else ((), (), ())
    return Data(
        np.array(trials, dtype=np.intp),
        np.array(resources, dtype=np.float64),
        np.array(values, dtype=np.float64),
    )


def acquisition_resource(data: Data) -> float:
    """Return the largest resource with at least 3 observations, else the smallest seen.

    The rule of BOHB: Falkner, Klein, Hutter, "BOHB: Robust and Efficient Hyperparameter
    Optimization at Scale", ICML 2018, section 3.2.
    """
    levels = np.sort(data.resources)
    apart = _TRUSTED_FROM - 1
    trusted = levels[apart:][levels[apart:] == levels[: len(levels) - apart]]
    return float(trusted[-1] if len(trusted) else levels[0])


def capped(data: Data, limit: int) -> Data:
    """Return at most `limit` observations that say most, in their order.

    Trials are ranked by the highest level that they reached, then by their value there.
    From the top, trials enter with all their observations (they show how curves go on) until
    two thirds of the places are taken. The other third goes to the rest of the trials, evenly
    spaced in the ranking so that bad regions stay known, with the observation at the
    highest level alone.
    """
    n = len(data.trials)
    if n <= limit:
        return data
    # By trial, highest level first; then the first of each trial is its best witness.
    order = np.lexsort((-data.resources, data.trials))
    _, first, counts = np.unique(data.trials[order], return_index=True, return_counts=True)
    top = order[first]
    ranking = np.lexsort((data.trials[top], data.values[top], -data.resources[top]))
    complete = int(np.searchsorted(np.cumsum(counts[ranking]), 2 * limit // 3, side="right"))
    chosen = [order[first[t] : first[t] + counts[t]] for t in ranking[:complete]]
    rest = ranking[complete:]
    places = min(limit - sum(map(len, chosen)), len(rest))
    spaced = (np.arange(places) * len(rest)) // max(places, 1)
    return data.subset(np.sort(np.concatenate([*chosen, top[rest[spaced]]])))
