"""The rung table: what successive halving will do with the trials, before it does it.

Expected numbers follow from the rule alone (Li et al., "A System for Massively Parallel
Hyperparameter Tuning", MLSys 2020, section 3.2): of the trials that reach a rung, the share
(its level / the next level) goes on. An asynchronous rung decides before all its values are
in, so somewhat more go on at first: with 10,000 trials of constant quality up to 15 % more.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Literal, NamedTuple

from asynctune.exceptions import UsageError
from asynctune.schedulers.rungs import expected_counts


class Row(NamedTuple):
    """One resource level at which trials are compared, or the last one, where they are complete.

    Attributes:
        level: The resource level.
        share: Share of the trials that goes on from here; None at the last level.
        rule: Who goes on, in words.
        per_100: Trials expected to reach the level of 100 that are started.
        within_budget: Trials at most that reach it before the time is over, or None if the
            time or the speed is not known.
    """

    level: int
    share: float | None
    rule: str
    per_100: float
    within_budget: float | None


def rung_table(
    levels: Iterable[int],
    max_resource: int,
    n_workers: int,
    max_wallclock_time: float | None = None,
    seconds_per_level: float | None = None,
    seconds_per_attempt: float = 0.0,
    *,
    mode: Literal["min", "max"] = "min",
) -> list[Row]:
    """Return the rung table of asynchronous successive halving.

    Within the budget it is assumed that all workers are busy all the time, that a trial comes to
    each rung by an attempt of its own, and that no more go on than the share says. With few trials
    many more do, and those under way at the end are left out. So the numbers are an upper estimate.

    Args:
        levels: Resource levels of the rungs, ascending, below `max_resource`; none if every
            trial runs to the end.
        max_resource: Resource level at which a trial is complete.
        n_workers: Number of workers.
        max_wallclock_time: Seconds that the experiment may take; None or ``inf``: no bound.
        seconds_per_level: Seconds of training a resource level, on average.
        seconds_per_attempt: Seconds that a start, a pause and the like take besides.
        mode: Whether the metric is minimised or maximised: says which side of a cut-off wins.

    Returns:
        A row a rung, from the lowest, and one for `max_resource`.

    Raises:
        UsageError: If a number is out of range.
    """
    rungs = tuple(levels)
    _check(rungs, max_resource, n_workers)
    for name, value in (
        ("max_wallclock_time", max_wallclock_time),
        ("seconds_per_level", seconds_per_level),
    ):
        if value is not None and not value > 0:
            raise UsageError(f"{name} must be above 0; got {value}")
    stops = (*rungs, max_resource)
    counts = expected_counts(rungs, max_resource, 100)
    started = None  # of 100 trials, how many times over
    if max_wallclock_time is not None and seconds_per_level and isfinite(max_wallclock_time):
        spans = [above - below for below, above in pairwise((0, *stops))]
        # What 100 trials take: everyone trains to the first rung, some on to the next, and so on.
        seconds = sum(
            n * (span * seconds_per_level + seconds_per_attempt)
            for n, span in zip(counts, spans, strict=True)
        )
        started = n_workers * max_wallclock_time / seconds
    rows = []
    for i, (level, count) in enumerate(zip(stops, counts, strict=True)):
        share = level / stops[i + 1] if i < len(rungs) else None
        within = None if started is None else started * count
        rows.append(Row(level, share, _rule(share, mode), count, within))
    return rows


def format_rung_table(rows: Sequence[Row], resource: str = "epoch") -> str:
    """Return the table as plain text: what it shows, the heading, and a line a row."""
    budget = any(row.within_budget is not None for row in rows)
    title = "rungs, where trials are compared: which share goes on, how many of 100 get there"
    title += ", and how many at most in the time" if budget else ""
    table = [[resource, "goes on", "per 100", *(["at most"] if budget else []), "cut-off"]]
    for row in rows:
        share = "" if row.share is None else f"{row.share:.0%}"
        cells = [str(row.level), share, f"{row.per_100:.3g}"]
        if budget:
            cells.append(_count(row.within_budget))
        table.append([*cells, row.rule])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]) - 1)]
    lines = (
        "  ".join([*(cell.rjust(w) for cell, w in zip(line, widths, strict=False)), line[-1]])
        for line in table
    )
    return "\n".join([title, *lines])


def _check(rungs: tuple[int, ...], max_resource: int, n_workers: int) -> None:
    stops = (0, *rungs, max_resource)
    if any(a >= b for a, b in pairwise(stops)):
        raise UsageError(
            "rung levels must be above 0, ascend and lie below max_resource "
            f"{max_resource}; got {list(rungs)}"
        )
    if n_workers < 1:
        raise UsageError(f"n_workers must be at least 1; got {n_workers}")


def _rule(share: float | None, mode: str) -> str:
    if share is None:
        return "complete"
    if mode == "min":
        return f"at or below the {share:.1%} quantile of the rung's values"
    return f"at or above the {1 - share:.1%} quantile of the rung's values"


def _count(n: float | None) -> str:
    if n is None:
        return ""
    return f"{n:.1f}" if n < 10 else f"{n:.0f}"
