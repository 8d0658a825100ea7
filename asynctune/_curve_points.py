"""What the figure of learning curves shows: which trials, their points, and the axis' extent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from asynctune import plot_style as style
from asynctune.exceptions import UsageError
from asynctune.experiment import JOURNAL
from asynctune.journal import read_lines
from asynctune.results import Experiment

FATES: Final = ("completed", "ended early", "paused", "stopped", "cut off", "under way")
# So many times the distance from the best value to what is usual is shown beyond that one: a
# training that diverges would else leave nothing to be seen of the others.
_REACH: Final = 2.0

Values = list[dict[str, Any]]


def finite_reports(experiment: Experiment) -> pl.DataFrame:
    """Return the first reports of each level that have a finite value, by trial and time."""
    metric, reports = experiment.metadata["metric"], experiment.reports
    if metric in reports.columns:  # not where nothing was reported
        reports = reports.filter(pl.col("status") != "repeated", pl.col(metric).is_finite())
    if not len(reports):
        raise UsageError(f"a figure needs finite values of {metric}; {experiment.path} has none")
    return reports.sort("trial_id", "tuner_time")


def best_trial(reports: pl.DataFrame, metric: str, sign: int) -> int:
    best = reports.select(pl.col("trial_id").get((sign * pl.col(metric)).arg_min()))
    return int(best.item())


def ended(folder: Path) -> list[int]:
    """Return the trials that came to an end in order, as far as there is a journal to tell."""
    path = folder / JOURNAL
    lines = read_lines(path) if path.exists() else ()
    return [line["trial"] for line in lines if line["event"] == "ended"]


def fates(
    reports: pl.DataFrame, resource: str, highest: int, ended: Sequence[int], *, over: bool
) -> pl.DataFrame:
    """Return `trial_id`, `furthest` resource and `fate` of each trial, reports being sorted.

    `ended` are those that came to an end in order, and `over` says that the experiment did.
    """
    decided = pl.col("decision").last()
    return (
        reports.group_by("trial_id", maintain_order=True)
        .agg(
            pl.col(resource).max().alias("furthest"),
            pl.when((pl.col(resource).max() >= highest) | (decided == "complete"))
            .then(pl.lit("completed"))
            .when(decided == "pause")
            .then(pl.lit("paused"))
            .when(decided == "stop")
            .then(pl.lit("stopped"))
            .when(pl.col("trial_id").first().is_in(ended))
            .then(pl.lit("ended early"))
            .otherwise(pl.lit("cut off" if over else "under way"))
            .alias("fate"),
        )
        .sort("trial_id")
    )


def sampled(fates: pl.DataFrame, trials: int, best: int) -> pl.DataFrame:
    """Return at most `trials` rows: half for the best and the furthest, half a sample."""
    if len(fates) <= trials:
        return fates
    ordered = fates.sort(
        pl.col("trial_id") == best, "furthest", "trial_id", descending=[True, True, False]
    )
    kept = (trials + 1) // 2
    rest = ordered[kept:].sort("trial_id")
    picks = np.linspace(0, len(rest) - 1, trials - kept).astype(np.int64)
    return pl.concat([ordered[:kept], rest[picks]]).sort("trial_id")


def points(reports: pl.DataFrame, metric: str, resource: str, x: str, clock: style.Clock) -> Values:
    """Return the points of all curves.

    `part` numbers the pieces of a curve that pauses leave, `resumed` says that the trial was
    paused here and went on.
    """
    along = pl.col("tuner_time") / clock.seconds if x == "time" else pl.col(resource)
    paused = pl.col("decision") == "pause"
    last = pl.col("trial_id") != pl.col("trial_id").shift(-1)
    configs = [name for name in reports.columns if name.startswith("config_")]
    shown = reports.sort("trial_id", "tuner_time").select(
        trial="trial_id",
        x=along.cast(pl.Float64),
        value=pl.col(metric),
        level=pl.col(resource),
        fate="fate",
        resumed=paused & ~last.fill_null(value=True),
        part=paused.cast(pl.Int64).cum_sum().shift(1, fill_value=0) if x == "time" else pl.lit(0),
        config=pl.concat_str(
            [
                pl.format(f"{name.removeprefix('config_')} {{}}", _short(pl.col(name), reports))
                for name in configs
            ],
            separator=", ",
        )
        if configs
        else pl.lit(""),
    )
    return [
        row | {"x": style.rounded(row["x"]), "value": style.rounded(row["value"])}
        for row in shown.iter_rows(named=True)
    ]


def _short(column: pl.Expr, reports: pl.DataFrame) -> pl.Expr:
    name = column.meta.output_name()
    return column.round_sig_figs(4) if reports[name].dtype.is_float() else column


def value_axis(points: Values, sign: int) -> tuple[style.Axis, int]:
    """Return the metric's axis, and the number of values that are too bad to stand on it."""
    losses = sign * np.array([point["value"] for point in points])
    best = losses.min()
    # Long curves have most of the values, and short ones are to be seen as well.
    _, first = np.unique([point["trial"] for point in points], return_index=True)
    usual = max(np.quantile(losses, 0.75), np.quantile(losses[first], 0.5, method="lower"))
    limit = best + (1.0 + _REACH) * (usual - best)
    worst = losses[losses <= limit].max()
    low, high = sorted((sign * best, sign * worst))
    return style.axis(float(low), float(high), 8), int((losses > limit).sum())


def rungs(reports: pl.DataFrame, resource: str, highest: int) -> list[int]:
    """Return the resource levels, below the highest, where a trial was paused or stopped."""
    decided = pl.col("decision").is_in(["pause", "stop"]) & (pl.col("status") == "running")
    levels = reports.filter(decided)[resource].unique().sort().to_list()
    return [level for level in levels if 0 < level < highest]
