"""A quantile of all values that ever came, kept exact while they come."""

from bisect import insort
from math import inf
from typing import Final

#: Values to each side of the quantile that are kept in order.
REACH: Final = 512


class RunningQuantile:
    """The linearly interpolated quantile of a growing set of numbers.

    Only the numbers around the quantile are kept in order; the others lie on two piles, as they
    came, which are sorted when the quantile has moved that far. Most numbers so cost one append,
    which touches no cold memory, where a heap of a million would be walked from leaf to root.

    Args:
        share: Which quantile, in (0, 1).
    """

    __slots__ = ("_above", "_around", "_below", "_high", "_low", "_most", "count", "share", "value")

    def __init__(self, share: float) -> None:
        self.share = share
        self.count = 0
        self.value: float | None = None  # None of fewer than two numbers
        self._below: list[float] = []  # at most `_low`, in any order
        self._around: list[float] = []  # from `_low` to `_high`, ascending
        self._above: list[float] = []  # at least `_high`, in any order
        self._low = -inf
        self._high = inf
        self._most = 4 * REACH

    def add(self, number: float) -> int:
        """Add a number, which must not be NaN; returns how many there are now.

        An infinite number counts, but the quantile is never interpolated towards one.
        """
        around = self._around
        if number < self._low:
            self._below.append(number)
        elif number > self._high:
            self._above.append(number)
        else:
            insort(around, number)
        position = self.count * self.share
        self.count = n = self.count + 1
        whole = int(position)
        at = whole - len(self._below)
        if not 0 <= at < len(around) - 1 or len(around) > self._most:
            at = self._gather(whole)
        if n > 1:
            fraction, low = position - whole, around[at]
            if not fraction or (high := around[at + 1]) == inf:
                self.value = low
            else:
                self.value = low + (high - low) * fraction
        return n

    def _gather(self, whole: int) -> int:
        """Bring order to the numbers around number `whole` of all; returns where it is in there."""
        around, below, above = self._around, self._below, self._above
        if whole < len(below) or (below and whole - len(below) < REACH):
            below.sort()
            first = max(whole - REACH, 0)
            around[:0] = below[first:]
            del below[first:]
        if above and whole - len(below) + REACH > len(around):
            above.sort(reverse=True)
            missing = whole - len(below) + REACH - len(around)
            around += above[: -missing - 1 : -1]
            del above[-missing:]
        at = whole - len(below)
        if at > 2 * REACH:
            below += around[: at - REACH]
            del around[: at - REACH]
            at = REACH
        if len(around) > at + 2 * REACH:
            above += around[at + REACH :]
            del around[at + REACH :]
        self._low = around[0] if below else -inf
        self._high = around[-1] if above else inf
        return at
