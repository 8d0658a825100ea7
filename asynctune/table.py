"""The table of a study: for each method and number of workers, what came out and what it cost."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from asynctune.aggregate import LEVEL, Run, horizon, iqm, iqm_band, reach, run_losses
from asynctune.exceptions import UsageError
from asynctune.results import Setup, Study

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

_KEYS = ("method", "n_workers", "seed")
_QUANTILES = (1.0, 0.5, 0.25)
_UNBOUNDED = 10_000  # characters: wider than any table
_SECONDS_TO, _REACHED = "seconds_to_", "reached_"


def summary_table(study: Study, losses: Sequence[float] | None = None) -> pl.DataFrame:
    """Return one row a setup, in the order of the figure.

    Columns: `method`, `n_workers`, `seeds`; `metric` (its name); `seconds` (how long the runs
    lasted), `final` (IQM over seeds of the best value) with `final_low` and `final_high` (95 %
    percentile bootstrap; null for one seed); `common_seconds` (how long all setups ran at
    least) and `at_common` (the IQM then); for each value v asked for `seconds_to_v` (median
    over seeds, those that never get there counting as latest; null unless the majority gets
    there) and `reached_v` (how many seeds do); `trials` and `reports` (means over seeds);
    `utilisation` (mean share of the time that workers were busy) and `training_share` (that they
    were training, not starting or ending an attempt; null where unknown); `cost_usd` (mean; null
    without a price); `best_source` (where the best values come from, such as "recorded 3,
    extrapolated 2") and `provenance`.

    Args:
        study: The study.
        losses: Values of the metric to be reached; by default `default_losses(study)`.

    Raises:
        UsageError: If one of `losses` is not finite.
    """
    levels = default_losses(study) if losses is None else tuple(losses)
    for level in levels:
        if not math.isfinite(level):
            raise UsageError(f"losses must be finite; got {level}")
    sources = _best_sources(study)
    rows = [_row(study, setup, runs, levels, sources) for setup, runs in study.runs.items()]
    whole = ["n_workers", "seeds", *(f"{_REACHED}{level:g}" for level in levels)]
    text = ["method", "metric", "best_source", "provenance"]
    schema = {
        name: pl.Int64 if name in whole else pl.String if name in text else pl.Float64
        for name in rows[0]
    }
    return pl.DataFrame(rows, schema=schema)


def default_losses(study: Study) -> tuple[float, ...]:
    """Return values of the metric that are worth a column, easiest first.

    They are what the worst, the middling and the best quarter of setups have reached (in the
    median over seeds) in the time that all ran for, rounded to the worse side to a tenth of
    the spread's order of size, so that at least one setup reaches each.
    """
    medians = np.array(
        [np.median(run_losses(runs, study.common_seconds)) for runs in study.runs.values()]
    )
    medians = medians[np.isfinite(medians)]
    if not len(medians):
        return ()
    levels = [
        round_to_worse(study, float(np.quantile(medians, q, method="higher"))) for q in _QUANTILES
    ]
    return tuple(dict.fromkeys(levels))


def round_to_worse(study: Study, loss: float) -> float:
    """Return the metric's round value at `loss` or just worse."""
    step = 10.0 ** (1 - decimals(study))
    # The tolerance keeps a loss that is round already.
    return study.sign * float(f"{math.ceil(loss / step - 1e-9) * step:.12g}")


def decimals(study: Study) -> int:
    """Return how many decimals of the metric tell the setups apart."""
    finals = np.array([iqm(run_losses(runs, horizon(runs))) for runs in study.runs.values()])
    finals = finals[np.isfinite(finals)]
    spread = float(np.ptp(finals)) if len(finals) else 0.0
    if not spread > 0:
        spread = max(abs(float(finals[0])) / 5, 1e-6) if len(finals) else 1.0
    # Two decimals for spreads from 0.3 to 3, and so on.
    return min(max(math.ceil(1.5 - math.log10(spread)), 0), 9)


def print_table(frame: pl.DataFrame, study: Study, console: "Console | None" = None) -> None:
    """Print a table for people.

    Args:
        frame: What `summary_table` returned.
        study: The study that it is of.
        console: Where to print; by default standard output.
    """
    from rich.console import Console

    console = console or Console()
    digits = decimals(study)
    setup = {
        "method": [str(method) for method in frame["method"]],
        "workers": [str(workers) for workers in frame["n_workers"]],
    }
    quality = _quality_columns(frame, digits)
    effort = _effort_columns(frame)
    whole = _rich_table(setup | quality | effort)
    # In a narrow window two tables are read more easily than one with broken cells.
    unbounded = console.options.update(width=_UNBOUNDED)
    fits = console.measure(whole, options=unbounded).maximum <= console.width
    console.print(f"{study.tag}: {study.metric}", style="bold", highlight=False, markup=False)
    parts = [whole] if fits else [_rich_table(setup | part, gap=0) for part in (quality, effort)]
    for part in parts:
        console.print(part)
        console.print()
    for line in _notes(study, frame):
        console.print(line, style="dim", highlight=False, markup=False)


def to_json(frame: pl.DataFrame) -> str:
    """Return the table as a JSON list of rows, absent values as null."""
    return orjson.dumps(frame.to_dicts(), option=orjson.OPT_INDENT_2).decode()


def to_csv(frame: pl.DataFrame) -> str:
    """Return the table as CSV with a header, absent values as empty fields."""
    return frame.write_csv()


def format_seconds(seconds: float) -> str:
    """Return a time for people: "5 h", "4.2 h", "35 min", "50 s"."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _row(
    study: Study,
    setup: Setup,
    runs: Sequence[Run],
    levels: Sequence[float],
    sources: dict[Setup, str],
) -> dict[str, Any]:
    """Return the table's row of one setup."""
    end, sign = horizon(runs), study.sign
    finals = run_losses(runs, end)
    low, high = sorted(sign * float(side[0]) for side in iqm_band(finals[:, None]))
    of_setup = study.metadata.filter(method=setup.method, n_workers=setup.n_workers)
    row: dict[str, Any] = {
        "method": setup.method,
        "n_workers": setup.n_workers,
        "seeds": len(runs),
        "metric": study.metric,
        "seconds": end,
        "final": _finite(sign * float(iqm(finals))),
        "final_low": _finite(low),
        "final_high": _finite(high),
        "common_seconds": study.common_seconds,
        "at_common": _finite(sign * float(iqm(run_losses(runs, study.common_seconds)))),
    }
    for level in levels:
        found = reach(runs, sign * level)
        row[f"{_SECONDS_TO}{level:g}"] = _finite(found.median)
        row[f"{_REACHED}{level:g}"] = found.reached
    return row | {
        "trials": of_setup["n_trials"].mean(),
        "reports": of_setup["n_reports"].mean(),
        "utilisation": of_setup["utilisation"].mean(),
        "training_share": of_setup["training_share"].mean(),
        "cost_usd": study.cost_at(setup, math.inf),
        "best_source": sources.get(setup, ""),
        "provenance": study.provenance,
    }


def _best_sources(study: Study) -> dict[Setup, str]:
    """Return by setup how many runs' best values come from which source."""
    best = best_reports(study)
    if "source" not in best.columns:
        return {}
    counted = (
        best.filter(pl.col("source").fill_null("") != "")
        .group_by("method", "n_workers", "source")
        .len()
        .sort("len", "source", descending=[True, False])
    )
    told: dict[Setup, list[str]] = {}
    for method, n_workers, source, count in counted.iter_rows():
        told.setdefault(Setup(method, n_workers), []).append(f"{source} {count}")
    return {setup: ", ".join(parts) for setup, parts in told.items()}


def best_reports(study: Study) -> pl.DataFrame:
    """Return for each experiment the report of its best value, the earliest of equals.

    Rows are in the order of `study.metadata`. The same reports count as in `Study.runs`.
    Experiments without a finite value have no row.
    """
    budgets = study.metadata.lazy().select(*_KEYS, "max_wallclock_time")
    value = study.sign * pl.col(study.metric)
    best = (
        study.reports.lazy()
        .filter((pl.col("status") != "repeated") & pl.col(study.metric).is_finite())
        .join(budgets, on=_KEYS)
        .filter(
            pl.col("max_wallclock_time").is_null()
            | (pl.col("tuner_time") <= pl.col("max_wallclock_time"))
        )
        .filter(value == value.min().over(_KEYS))
        .sort("tuner_time", maintain_order=True)
        .unique(_KEYS, keep="first", maintain_order=True)
    )
    return budgets.select(_KEYS).join(best, on=_KEYS, maintain_order="left").collect()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(
    value: float | None, digits: int, *, scale: float = 1.0, before: str = "", unit: str = ""
) -> str:
    return "–" if value is None else f"{before}{value * scale:,.{digits}f}{unit}"  # noqa: RUF001


def _quality_columns(frame: pl.DataFrame, digits: int) -> dict[str, list[str]]:
    """Return what came out, as text by heading."""
    rows = frame.to_dicts()
    columns = {
        "time": [format_seconds(row["seconds"]) for row in rows],
        f"final [{LEVEL * 100:.0f} % band]": [_with_band(row, digits) for row in rows],
    }
    if frame["seconds"].n_unique() > 1:
        at_common = [_number(row["at_common"], digits) for row in rows]
        columns[f"at {format_seconds(rows[0]['common_seconds'])}"] = at_common
    for name in frame.columns:
        if name.startswith(_SECONDS_TO):
            level = name.removeprefix(_SECONDS_TO)
            columns[f"to {level}"] = [_time_to(row, level) for row in rows]
    return columns


def _effort_columns(frame: pl.DataFrame) -> dict[str, list[str]]:
    """Return what was spent, as text by heading."""
    rows = frame.to_dicts()
    busy, training = (
        [_number(row[name], 0, scale=100.0, unit=" %") for row in rows]
        for name in ("utilisation", "training_share")
    )
    return {
        "trials": [_number(row["trials"], 0) for row in rows],
        "reports": [_number(row["reports"], 0) for row in rows],
        "busy": busy,
        "training": training,
        "cost": [_number(row["cost_usd"], 2, before="$") for row in rows],
    }


def _rich_table(columns: dict[str, list[str]], *, gap: int = 1) -> "RichTable":
    """Return a table of texts by heading, with a line between methods."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False)
    for heading in columns:
        shown.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    rows = list(zip(*columns.values(), strict=True))
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        shown.add_row(*row, end_section=following is not None and following[0] != row[0])
    return shown


def _with_band(row: dict[str, Any], digits: int) -> str:
    centre = _number(row["final"], digits)
    if row["final_low"] is None and row["final_high"] is None:
        return centre
    ends = [_number(row[name], digits) for name in ("final_low", "final_high")]
    return f"{centre} [{ends[0]}, {ends[1]}]"


def _time_to(row: dict[str, Any], level: str) -> str:
    """Return the time to `level`, and how many seeds get there unless all do."""
    seconds, reached = row[_SECONDS_TO + level], row[_REACHED + level]
    if seconds is None:
        return f"{reached}/{row['seeds']}"
    share = "" if reached == row["seeds"] else f" {reached}/{row['seeds']}"
    return format_seconds(seconds) + share


def _notes(study: Study, frame: pl.DataFrame) -> list[str]:
    """Return what a reader must know besides the numbers."""
    seeds = sorted(set(frame["seeds"].to_list()))
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    notes = [f"final: interquartile mean over {count} seed{'s' if seeds != [1] else ''}."]
    if any(name.startswith(_SECONDS_TO) for name in frame.columns):
        notes.append(
            "to v: median time until v is reached; k/n: only k of n seeds reach it "
            "(without a time: not the majority)."
        )
    sources = _tally(frame["best_source"].to_list())
    if sources:
        notes.append(f"sources of the best values: {sources}.")
    if study.provenance:
        notes.append(f"data: {study.provenance.rstrip('.')}.")
    if study.incomplete:
        notes.append(f"incomplete experiments left out: {', '.join(study.incomplete)}.")
    return notes


def _tally(told: Sequence[str]) -> str:
    """Return the sum of entries like "recorded 3, extrapolated 2", in the same form."""
    total: Counter[str] = Counter()
    for part in filter(None, ", ".join(told).split(", ")):
        source, count = part.rsplit(" ", 1)
        total[source] += int(count)
    return ", ".join(f"{source} {count}" for source, count in total.most_common())
