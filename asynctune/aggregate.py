"""Statistics over the seeds of one setup: best-so-far curves, IQM, bootstrap, time to reach a loss.

Everything here is about *losses*: values signed so that smaller is better. Whoever shows
them to people turns them back. All functions are pure and seeded: the same input gives
the same numbers.

Sources:
    IQM and its bootstrap: Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge
    of the Statistical Precipice", section 4. Percentile bootstrap: Efron and Tibshirani
    (1993), "An Introduction to the Bootstrap", chapter 13.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every band."""
RESAMPLES = 1000
"""Bootstrap resamples behind every band and probability."""
SEED = 0
"""Seed of the bootstrap, so that a figure drawn twice is the same figure."""
_INSTANT = 1e-9  # seconds; two medians of zero are equally fast
_ROLE_PAIRED, _ROLE_FIRST, _ROLE_SECOND = 0, 1, 2


class Steps(NamedTuple):
    """A best-so-far curve: it holds each value from its time on until the next.

    Attributes:
        times: Seconds, strictly increasing, shape ``(k,)``; k may be 0.
        losses: Best loss from that time on, strictly decreasing and finite, shape ``(k,)``.
    """

    times: Vector
    losses: Vector


class Run(NamedTuple):
    """What the statistics need of one experiment.

    Attributes:
        seed: Number of the seed; runs of two setups with equal seeds are paired.
        first_report: Seconds of the first report of any kind, 0 if there was none.
        end: Seconds at which the experiment ended; nothing is known of it later.
        steps: Best loss so far.
    """

    seed: int
    first_report: float
    end: float
    steps: Steps


class Curve(NamedTuple):
    """IQM of the best loss over runs, with its band; a step function of time.

    Attributes:
        times: Seconds, strictly increasing, shape ``(k,)``.
        iqm: Finite, shape ``(k,)``.
        low: Lower end of the band, shape ``(k,)``; NaN if there is one run only.
        high: Upper end of the band, may be inf where some run has no finite value yet.
    """

    times: Vector
    iqm: Vector
    low: Vector
    high: Vector


class Reach(NamedTuple):
    """When the runs of a setup reach a loss.

    Attributes:
        times: Seconds by run, inf where a run ends before it gets there, shape ``(n,)``.
        reached: How many of the n runs get there.
        median: Median over *all* n runs, those that never get there counting as later
            than any that do; inf unless the majority gets there.
    """

    times: Vector
    reached: int
    median: float


def best_so_far(times: Vector, losses: Vector) -> Steps:
    """Return the best loss so far as a step function.

    Args:
        times: Seconds of the reports in any order, shape ``(n,)``.
        losses: Their losses; NaN and infinities of either sign never win, shape ``(n,)``.
    """
    order = np.argsort(times, kind="stable")
    when = np.asarray(times, dtype=np.float64)[order]
    loss = np.where(np.isfinite(losses), losses, np.inf)[order]
    best = np.minimum.accumulate(loss)
    improves = best < np.concatenate(([np.inf], best[:-1]))
    when, best = when[improves], best[improves]
    # Of several improvements at one instant only the last is ever in force.
    last = np.concatenate((when[1:] != when[:-1], [True]))[: len(when)]
    return Steps(when[last], best[last])


def losses_at(steps: Steps, times: Vector) -> Vector:
    """Return the best loss at each of `times`, inf before the first finite report."""
    held = np.concatenate(([np.inf], steps.losses))
    return held[np.searchsorted(steps.times, times, side="right")]


def run_losses(runs: Sequence[Run], seconds: float) -> Vector:
    """Return the best loss of each run at `seconds` (after a run's end: its last), shape (n,)."""
    when = np.array([seconds])
    return np.array([losses_at(run.steps, when)[0] for run in runs], dtype=np.float64)


def horizon(runs: Sequence[Run]) -> float:
    """Return when the longest of `runs` ends, in seconds."""
    return max(run.end for run in runs)


def iqm_weights(n: int) -> Vector:
    """Return the weights of the sorted values in an interquartile mean of `n` values.

    A weight of n/4 is taken off at either end, in fractions of a value where n is not a
    multiple of four, and the rest scaled by 2/n: n = 5 gives 0, 0.3, 0.4, 0.3, 0.
    """
    if n < 1:
        raise ValueError(f"an interquartile mean needs at least one value; got {n}")
    edges = np.arange(n + 1, dtype=np.float64).clip(n / 4, 3 * n / 4)
    return np.asarray(np.diff(edges) * (2 / n), dtype=np.float64)


def _combine(weights: Matrix, ordered: Matrix) -> Matrix:
    """Return `weights @ ordered`, where a weight of zero also silences an infinity."""
    infinite = np.isinf(ordered)
    total = weights @ np.where(infinite, 0.0, ordered)
    return np.where(weights @ infinite.astype(np.float64) > 0, np.inf, total)


def iqm(losses: Matrix) -> Vector:
    """Return the interquartile mean over the first axis.

    Args:
        losses: Values of n runs, shape ``(n, ...)``; inf counts as worst.

    Returns:
        Shape ``(...)``; inf where an infinite value has weight.
    """
    ordered = np.sort(losses, axis=0)
    flat = ordered.reshape(len(ordered), -1)
    return _combine(iqm_weights(len(flat)), flat).reshape(ordered.shape[1:])


def draws(
    n: int, *, resamples: int = RESAMPLES, seed: int = SEED, role: int = _ROLE_PAIRED
) -> NDArray[np.int64]:
    """Return bootstrap draws: the numbers of the runs in each resample, shape (resamples, n)."""
    key = np.random.SeedSequence(seed, spawn_key=(role, n))
    return np.random.Generator(np.random.PCG64(key)).integers(n, size=(resamples, n))


def iqm_band(
    losses: Matrix, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[Vector, Vector]:
    """Return the percentile bootstrap band of the IQM over the first axis.

    The same resamples serve all columns. A resample is drawn over the ranks of the sorted
    values, which at any one time is the same as over the runs and needs one sort only.

    Args:
        losses: Values of n runs, shape ``(n, k)``.
        level: Coverage.
        resamples: How many resamples are drawn.
        seed: Seed of the draws.

    Returns:
        Lower and upper end, each of shape ``(k,)``; NaN if n is 1.
    """
    n, k = losses.shape
    if n == 1:
        return np.full(k, np.nan), np.full(k, np.nan)
    ranks = np.sort(draws(n, resamples=resamples, seed=seed), axis=1)
    weights = np.zeros((resamples, n))
    np.add.at(weights, (np.arange(resamples)[:, None], ranks), iqm_weights(n))
    return percentile_band(_combine(weights, np.sort(losses, axis=0)), level=level)


def percentile_band(resampled: Matrix, *, level: float = LEVEL) -> tuple[Vector, Vector]:
    """Return the central band of bootstrap values over the first axis, outer ends taken.

    The ends are values that occurred, never interpolated: so infinities are allowed.
    """
    tail = (1 - level) / 2
    low = np.quantile(resampled, tail, axis=0, method="lower")
    high = np.quantile(resampled, 1 - tail, axis=0, method="higher")
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def aggregate(
    runs: Sequence[Run], *, resamples: int = RESAMPLES, seed: int = SEED, points: int = 400
) -> Curve:
    """Return the IQM over `runs` of the best loss so far, with its bootstrap band.

    The curve starts at the latest first report of any run, for before it the runs cannot be
    compared. A run that ends early keeps its last value until the longest of `runs` ends. A
    run without a single finite value counts as infinitely bad.

    Args:
        runs: The runs of one setup, at least one.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
        points: The curve is exact if it has at most so many steps; beyond, it is read off
            at so many equidistant times.
    """
    if not runs:
        raise ValueError("a curve needs at least one run; got none")
    start, end = max(run.first_report for run in runs), horizon(runs)
    times = np.unique(np.concatenate([run.steps.times for run in runs] + [[start, end]]))
    times = times[(times >= start) & (times <= end)]
    if len(times) > points:
        times = np.linspace(start, end, points)
    losses = np.stack([losses_at(run.steps, times) for run in runs])
    centre = iqm(losses)
    low, high = iqm_band(losses, resamples=resamples, seed=seed)
    seen = np.isfinite(centre)
    return Curve(times[seen], centre[seen], low[seen], high[seen])


def time_to_reach(run: Run, loss: float) -> float:
    """Return the seconds at which `run` first has a loss of at most `loss`, inf if never."""
    # The losses fall strictly, so their negatives are sorted.
    first = int(np.searchsorted(-run.steps.losses, -loss, side="left"))
    return float(run.steps.times[first]) if first < len(run.steps.times) else float("inf")


def reach(runs: Sequence[Run], loss: float) -> Reach:
    """Return when the `runs` reach `loss`."""
    times = np.array([time_to_reach(run, loss) for run in runs], dtype=np.float64)
    return Reach(times, int(np.isfinite(times).sum()), float(np.median(times)))


def probability_lower(first: Vector, second: Vector, *, paired: bool, seed: int = SEED) -> float:
    """Return the bootstrap probability that the IQM of `first` is below that of `second`.

    Ties count half.

    Args:
        first: Values of n runs.
        second: Values of m runs.
        paired: Whether entry i of both belongs to one seed; then n = m, and runs are
            resampled together.
        seed: Seed of the draws.
    """
    if paired:
        if len(first) != len(second):
            raise ValueError(f"paired runs must be equally many; got {len(first)}, {len(second)}")
        one = two = draws(len(first), seed=seed)
    else:
        one = draws(len(first), seed=seed, role=_ROLE_FIRST)
        two = draws(len(second), seed=seed, role=_ROLE_SECOND)
    a, b = iqm(first[one].T), iqm(second[two].T)
    return float(np.mean(a < b) + np.mean(a == b) / 2)


def speed_up_band(slow: Vector, fast: Vector, *, paired: bool, seed: int = SEED) -> Vector:
    """Return the bootstrap band of how many times faster `fast` is than `slow`.

    Args:
        slow: Seconds of n runs, inf where never reached.
        fast: Seconds of m runs, inf where never reached.
        paired: As in `probability_lower`.
        seed: Seed of the draws.

    Returns:
        Lower and upper end of the ratio of medians, shape ``(2,)``. Where a resample's slow
        side never gets there the ratio has no upper end (inf), where its fast side does not
        it has no lower end (0); where neither does, it may be anything and counts as both.
    """
    one = draws(len(slow), seed=seed, role=_ROLE_PAIRED if paired else _ROLE_FIRST)
    two = one if paired else draws(len(fast), seed=seed, role=_ROLE_SECOND)
    a, b = np.median(slow[one], axis=1), np.median(fast[two], axis=1)
    a, b = np.maximum(a, _INSTANT), np.maximum(b, _INSTANT)
    reached = np.isfinite(b)
    least = np.divide(a, b, out=np.zeros(len(a)), where=reached)
    most = np.divide(a, b, out=np.full(len(a), np.inf), where=reached | np.isfinite(a))
    return np.array([percentile_band(least)[0], percentile_band(most)[1]])
