"""Rungs of successive halving: who stands on each, and where its cut-off lies.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, section 3.2.
The cut-off is a linearly interpolated quantile over all values ever entered.
"""

from heapq import heappop, heappush
from itertools import pairwise
from math import inf, isfinite

from asynctune.exceptions import UsageError
from asynctune.schedulers.quantile import RunningQuantile


def rung_levels(max_resource: int, grace_period: int, reduction_factor: float) -> tuple[int, ...]:
    """Return the resource levels at which trials are compared, ascending, below `max_resource`.

    Level j is ``round(grace_period * reduction_factor**j)``.

    Raises:
        UsageError: If an argument is out of range.
    """
    if max_resource < 1:
        raise UsageError(f"max_resource must be at least 1; got {max_resource}")
    if not 1 <= grace_period <= max_resource:
        raise UsageError(
            f"grace_period must lie between 1 and max_resource {max_resource}; got {grace_period}"
        )
    if not (isfinite(reduction_factor) and reduction_factor > 1):
        raise UsageError(f"reduction_factor must be above 1; got {reduction_factor}")
    levels: list[int] = []
    exact = float(grace_period)
    while (level := round(exact)) < max_resource:
        if not levels or level > levels[-1]:
            levels.append(level)
        exact *= reduction_factor
    return tuple(levels)


def expected_counts(levels: tuple[int, ...], max_resource: int, trials: int) -> tuple[float, ...]:
    """Return how many of `trials` are expected to reach each level and `max_resource`.

    Each rung lets through the share (its level / the next level) of what reaches it.
    """
    counts = [float(trials)]
    for level, following in pairwise((*levels, max_resource)):
        counts.append(counts[-1] * level / following)
    return tuple(counts)


class Rung:
    """The entries at one resource level, and who of them waits for its promotion.

    Args:
        level: The resource level.
        quantile: Share of entries that may go on, in (0, 1).
    """

    __slots__ = ("_entries", "_waiting", "_withdrawn", "level")

    def __init__(self, level: int, quantile: float) -> None:
        self.level = level
        self._entries = RunningQuantile(quantile)
        self._waiting: list[tuple[float, int]] = []
        self._withdrawn: set[int] = set()  # who is in `_waiting` and waits no more

    def __len__(self) -> int:
        """Return the number of values ever entered."""
        return self._entries.count

    def enter(self, value: float) -> int:
        """Enter a value, ``inf`` for one that can never win; returns how many there are now."""
        return self._entries.add(value)

    def cutoff(self) -> float | None:
        """Return the quantile of all values entered; None if there are fewer than two."""
        return self._entries.value

    def promotes(self, trial: int, value: float) -> bool:
        """Return whether a trial that has entered would be promoted at once, if it waited."""
        cutoff = self._entries.value
        if cutoff is None or value > cutoff or value == inf:
            return False
        if self._withdrawn:
            self._drop_withdrawn()
        return not self._waiting or (value, trial) < self._waiting[0]

    def wait(self, trial: int, value: float) -> None:
        """Let a trial that has entered wait for its promotion."""
        heappush(self._waiting, (value, trial))

    def promotable(self) -> tuple[float, int] | None:
        """Return the best waiting (value, trial) if it is at or below the cut-off, else None."""
        waiting, cutoff = self._waiting, self._entries.value
        if self._withdrawn:
            self._drop_withdrawn()
        if not waiting or cutoff is None:
            return None
        best = waiting[0]
        return best if best[0] <= cutoff and best[0] < inf else None

    def promote(self) -> int:
        """Take out the trial that `promotable` has just named."""
        return heappop(self._waiting)[1]

    def withdraw(self, trial: int) -> None:
        """Let a waiting trial wait no more; its value stays."""
        self._withdrawn.add(trial)

    def waiting(self) -> int:
        """Return how many trials wait for their promotion."""
        return len(self._waiting) - len(self._withdrawn)

    def _drop_withdrawn(self) -> None:
        waiting, withdrawn = self._waiting, self._withdrawn
        while waiting and waiting[0][1] in withdrawn:
            withdrawn.remove(heappop(waiting)[1])
