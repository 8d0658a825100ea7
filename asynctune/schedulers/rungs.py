"""Rungs of successive halving: who stands on each, and where its cut-off lies.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, section 3.2.
The cut-off is a linearly interpolated quantile over all values ever entered.
"""

from heapq import heappop, heappush, heappushpop
from itertools import pairwise
from math import inf, isfinite

from asynctune.exceptions import UsageError


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
    """The entries at one resource level.

    Insertion and cut-off cost O(log n) in the number of entries: the entries at or below
    the quantile stand in one heap, those above in another, so that the two order statistics
    that the quantile lies between are the tops. A third heap holds who may still be promoted.

    Args:
        level: The resource level.
        quantile: Share of entries that may go on, in (0, 1).
    """

    __slots__ = ("_above", "_below", "_cutoff", "_waiting", "_withdrawn", "level", "quantile")

    def __init__(self, level: int, quantile: float) -> None:
        self.level = level
        self.quantile = quantile
        self._below: list[float] = []  # negated: a max-heap of the floor((n-1) q) + 1 smallest
        self._above: list[float] = []
        self._cutoff: float | None = None
        self._waiting: list[tuple[float, int]] = []
        self._withdrawn: set[int] = set()  # who is in `_waiting` and waits no more

    def __len__(self) -> int:
        """Return the number of values ever entered."""
        return len(self._below) + len(self._above)

    def enter(self, value: float) -> int:
        """Enter a value, ``inf`` for one that can never win; returns how many there are now."""
        below, above = self._below, self._above
        heappush(above, -heappushpop(below, -value) if below else value)
        n = len(below) + len(above)
        position = (n - 1) * self.quantile
        whole = int(position)
        while len(below) <= whole:
            heappush(below, -heappop(above))
        if n > 1:
            fraction = position - whole
            low = -below[0]
            # An infinite upper neighbour would make the cut-off infinite, and diverged trials win.
            if not fraction or above[0] == inf:
                self._cutoff = low
            else:
                self._cutoff = low + (above[0] - low) * fraction
        return n

    def cutoff(self) -> float | None:
        """Return the quantile of all values entered; None if there are fewer than two."""
        return self._cutoff

    def wait(self, trial: int, value: float) -> None:
        """Let a trial that has entered wait for its promotion."""
        heappush(self._waiting, (value, trial))

    def promotable(self) -> tuple[float, int] | None:
        """Return the best waiting (value, trial) if it is at or below the cut-off, else None."""
        waiting, cutoff = self._waiting, self._cutoff
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
