"""What a study of the problem must show, whatever was published."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from asynctune.aggregate import (
    Run,
    Vector,
    draws,
    horizon,
    iqm,
    percentile_band,
    probability_lower,
    run_losses,
)
from asynctune.results import Setup, Study

FEWEST_SEEDS = 5
"""Below this number of seeds a bootstrap says nothing."""
FEW, MANY, WHEN = Setup("BO", 2), Setup("RS", 8), 18_000.0
_STEP = 250.0
_ROLES_APART = (1, 2)


class FewBeatMany(NamedTuple):
    """BO with 2 workers against RS with 8, at 18,000 s.

    Attributes:
        few: IQM of BO with 2 workers over our seeds.
        many: IQM of RS with 8 workers over our seeds.
        probability: Share of bootstrap resamples in which BO is below.
    """

    few: float
    many: float
    probability: float

    @property
    def holds(self) -> bool:
        """Whether BO is below."""
        return self.few < self.many


class MoreWorkers(NamedTuple):
    """A method with fewer and with more workers, at every time that both have.

    Attributes:
        method: The method.
        fewer: The smaller number of workers.
        more: The larger number of workers.
        n_times: Number of times looked at, 250 s apart.
        worse_at: Seconds at which more workers are worse by more than noise: the 95 %
            bootstrap band of the difference of IQMs is above zero.
        largest_excess: Largest lower end of that band; negative if never worse.
        mean_difference: Mean over the times of the difference of IQMs, more less fewer.
    """

    method: str
    fewer: int
    more: int
    n_times: int
    worse_at: tuple[float, ...]
    largest_excess: float
    mean_difference: float

    @property
    def holds(self) -> bool:
        """Whether more workers are never worse by more than noise."""
        return not self.worse_at


def few_beat_many(study: Study) -> FewBeatMany | None:
    """Return the comparison; None if the study lacks a setup, five seeds, or the time."""
    runs = [study.runs.get(setup, ()) for setup in (FEW, MANY)]
    if any(len(r) < FEWEST_SEEDS or horizon(r) < WHEN for r in runs):
        return None
    few, many = (run_losses(r, WHEN) for r in runs)
    paired = study.paired(FEW, MANY)
    sure = probability_lower(few, many, paired=paired)
    return FewBeatMany(float(iqm(few)), float(iqm(many)), sure)


def more_workers(study: Study) -> list[MoreWorkers]:
    """Return all pairs of numbers of workers of each method that have five seeds at least."""
    found = []
    for method in study.methods:
        counts = [n for n in study.worker_counts if len(_runs(study, method, n)) >= FEWEST_SEEDS]
        for fewer, more in combinations(counts, 2):
            one, two = _runs(study, method, fewer), _runs(study, method, more)
            paired = study.paired(Setup(method, fewer), Setup(method, more))
            compared = _compare(method, (fewer, more), one, two, paired=paired)
            if compared is not None:
                found.append(compared)
    return found


def _runs(study: Study, method: str, n_workers: int) -> tuple[Run, ...]:
    return study.runs.get(Setup(method, n_workers), ())


def _compare(
    method: str, counts: tuple[int, int], one: Sequence[Run], two: Sequence[Run], *, paired: bool
) -> MoreWorkers | None:
    """Return the comparison of fewer workers (`one`) with more; None without a common time."""
    begin = max(run.first_report for run in (*one, *two))
    end = min(horizon(one), horizon(two))
    times = np.arange(np.ceil(begin / _STEP) * _STEP, end + _STEP / 2, _STEP)
    times = times[times <= end]
    fewer, more = (np.stack([run_losses(r, t) for t in times], axis=1) for r in (one, two))
    seen = np.isfinite(fewer).all(axis=0) & np.isfinite(more).all(axis=0)
    times, fewer, more = times[seen], fewer[:, seen], more[:, seen]
    if not len(times):
        return None
    roles = (0, 0) if paired else _ROLES_APART
    of_fewer, of_more = (
        iqm(np.moveaxis(losses[draws(len(losses), role=role)], 1, 0))
        for losses, role in zip((fewer, more), roles, strict=True)
    )
    low: Vector = percentile_band(of_more - of_fewer)[0]
    return MoreWorkers(
        method=method,
        fewer=counts[0],
        more=counts[1],
        n_times=len(times),
        worse_at=tuple(times[low > 0].tolist()),
        largest_excess=float(low.max()),
        mean_difference=float(np.mean(iqm(more) - iqm(fewer))),
    )
