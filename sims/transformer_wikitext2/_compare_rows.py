"""Published rows beside a study's own, with the band that five seeds of ours would fall in."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.aggregate import Matrix, Run, Vector, horizon, iqm, percentile_band, run_losses

Verdict = Literal["better", "within", "worse", "unknown"]

PUBLISHED_SEEDS = 5
"""Repetitions behind every published value."""
ENOUGH_SEEDS = 20
"""From so many seeds on, sets of five are drawn without replacement."""
_SETS = 2_000
_ROLE_WITHOUT, _ROLE_WITH = 0, 1


class Row(NamedTuple):
    """One published value beside ours.

    Attributes:
        method: The method.
        n_workers: Number of workers.
        wallclock_s: Seconds since the experiment's start.
        published: Published IQM of the best loss over five seeds.
        expected: Our expected IQM over five seeds; NaN if there are fewer.
        low: Lower end of the 95 % band of our IQMs over five seeds; NaN if there are fewer.
        high: Upper end.
        verdict: "worse" if the published value is below the band, "better" if above.
    """

    method: str
    n_workers: int
    wallclock_s: float
    published: float
    expected: float
    low: float
    high: float
    verdict: Verdict

    @property
    def difference(self) -> float:
        """Ours less the published one: positive where ours is worse."""
        return self.expected - self.published


class Summary(NamedTuple):
    """All rows of one method with one number of workers.

    Attributes:
        method: The method.
        n_workers: Number of workers.
        n_seeds: Seeds that we have.
        replacement: Whether sets of five were drawn with replacement.
        mean_difference: Mean over the rows of ours less the published one.
        share_worse: Share of the rows that are worse by more than the band.
        share_better: Share of the rows that are better by more than the band.
        worst_excess: By how much the published value is below the band at most, 0 if never.
    """

    method: str
    n_workers: int
    n_seeds: int
    replacement: bool
    mean_difference: float
    share_worse: float
    share_better: float
    worst_excess: float


def with_replacement(n: int) -> bool:
    """Return whether sets of five out of `n` seeds are drawn with replacement.

    Sets out of few seeds have most of their seeds in common, and so spread less than sets of
    new seeds would: by the factor sqrt(1 - 5/n), which is 0.61 at n = 8 and 0 at n = 5.
    """
    return n < ENOUGH_SEEDS


def sets_of_five(
    n: int, *, replacement: bool, sets: int = _SETS, seed: int = 0
) -> NDArray[np.intp]:
    """Return numbers of runs, five of `n` in each set, shape ``(sets, 5)``.

    Args:
        n: Number of runs, at least 5.
        replacement: Whether a run may be in a set more than once.
        sets: How many sets are drawn.
        seed: Seed of the draws.
    """
    if n < PUBLISHED_SEEDS:
        raise ValueError(f"sets of {PUBLISHED_SEEDS} need at least as many runs; got {n}")
    role = _ROLE_WITH if replacement else _ROLE_WITHOUT
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(role, n))))
    if replacement:
        return random.integers(n, size=(sets, PUBLISHED_SEEDS), dtype=np.intp)
    everyone = np.tile(np.arange(n, dtype=np.intp), (sets, 1))
    return random.permuted(everyone, axis=1)[:, :PUBLISHED_SEEDS]


def expected_and_band(losses: Matrix, members: NDArray[np.intp]) -> tuple[Vector, Vector, Vector]:
    """Return the mean of the IQMs of sets of runs, and the ends of their 95 % band.

    Args:
        losses: Best losses of n runs at k times, shape ``(n, k)``.
        members: Numbers of the runs in each set, shape ``(sets, 5)``.

    Returns:
        Three arrays of shape ``(k,)``; inf where sets of that rank have no finite IQM yet.
    """
    of_sets = iqm(np.moveaxis(losses[members], 1, 0))
    return (of_sets.mean(axis=0), *percentile_band(of_sets))


def judge(published: float, low: float, high: float) -> Verdict:
    """Return how ours stands to a published value, given the band of ours."""
    if np.isnan(low) or np.isnan(high):
        return "unknown"
    if published < low:
        return "worse"
    return "better" if published > high else "within"


def rows_of(
    method: str, n_workers: int, runs: Sequence[Run], published: Sequence[tuple[float, float]]
) -> list[Row]:
    """Return the rows of one setup, up to the end of our runs.

    Args:
        method: The method.
        n_workers: Number of workers.
        runs: Our runs, at least one; with fewer than five every verdict is "unknown".
        published: Seconds and published IQM.
    """
    end = horizon(runs)
    kept = [(seconds, value) for seconds, value in published if seconds <= end]
    if not kept:
        return []
    if len(runs) < PUBLISHED_SEEDS:
        expected = low = high = np.full(len(kept), np.nan)
    else:
        losses = np.stack([run_losses(runs, seconds) for seconds, _ in kept], axis=1)
        members = sets_of_five(len(runs), replacement=with_replacement(len(runs)))
        expected, low, high = expected_and_band(losses, members)
    return [
        Row(method, n_workers, *there, float(mean), float(a), float(b), judge(there[1], a, b))
        for there, mean, a, b in zip(kept, expected, low, high, strict=True)
    ]


def summary_of(rows: Sequence[Row], n_seeds: int) -> Summary:
    """Return the summary of one setup's rows, of which there is at least one."""
    verdicts = [row.verdict for row in rows]
    return Summary(
        method=rows[0].method,
        n_workers=rows[0].n_workers,
        n_seeds=n_seeds,
        replacement=with_replacement(n_seeds),
        mean_difference=float(np.mean([row.difference for row in rows])),
        share_worse=verdicts.count("worse") / len(rows),
        share_better=verdicts.count("better") / len(rows),
        worst_excess=max([0.0, *(r.low - r.published for r in rows if r.verdict == "worse")]),
    )
