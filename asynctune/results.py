"""Results of experiments as polars frames: one experiment, or all those of a study.

A study's folder holds one folder an experiment, each with `metadata.json` and
`results.parquet`. The table has one row a report: `trial_id`, the resource, the metric,
`tuner_time` (seconds since the experiment's start), `decision`, `status` ("running",
"late", "repeated"), `source`, `cost_usd` and `config_<name>`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from asynctune.aggregate import Run, best_so_far, horizon
from asynctune.exceptions import UsageError

METHOD_ORDER = ("RS", "BO", "ASHA", "MOBSTER")
"""Methods in the order in which they are shown; others follow by name."""

_SCHEMA: dict[str, type[pl.DataType]] = {
    "tag": pl.String,
    "method": pl.String,
    "n_workers": pl.Int64,
    "seed": pl.Int64,
    "benchmark": pl.String,
    "backend": pl.String,
    "profile": pl.String,
    "random_seed": pl.Int64,
    "scheduler_seed": pl.Int64,
    "metric": pl.String,
    "mode": pl.String,
    "resource": pl.String,
    "max_resource": pl.Int64,
    "max_wallclock_time": pl.Float64,
    "experiment_seconds": pl.Float64,
    "n_trials": pl.Int64,
    "n_reports": pl.Int64,
    "worker_busy_seconds": pl.Float64,
    "utilisation": pl.Float64,
    "training_share": pl.Float64,
    "total_cost_usd": pl.Float64,
    "stopped_by": pl.String,
    "status": pl.String,
    "provenance": pl.String,
}
_REQUIRED = ("method", "n_workers", "seed", "metric", "mode", "resource", "status")
_SHARED = ("benchmark", "metric", "mode", "resource")


class Setup(NamedTuple):
    """What is compared: a method with a number of workers; its runs differ by seed only."""

    method: str
    n_workers: int


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One tuning run.

    Attributes:
        path: Its folder.
        metadata: The content of `metadata.json`.
        reports: One row a report, in the order in which they came.
    """

    path: Path
    metadata: dict[str, Any]
    reports: pl.DataFrame

    @property
    def sign(self) -> int:
        """Factor that makes smaller metric values better: 1, or -1 in mode "max"."""
        return -1 if self.metadata["mode"] == "max" else 1


@dataclass(frozen=True, eq=False)
class Study:
    """The experiments under one tag.

    Attributes:
        tag: The study's name.
        path: Its folder.
        metadata: One row an experiment, sorted by method, number of workers and seed.
        reports: All reports of these experiments, with the columns `method`, `n_workers`
            and `seed` before their own.
        incomplete: Folders of experiments that are not complete, by name. They are not in
            the frames unless they were asked for.
    """

    tag: str
    path: Path
    metadata: pl.DataFrame
    reports: pl.DataFrame
    incomplete: tuple[str, ...]

    @property
    def metric(self) -> str:
        """Name of the metric that all experiments optimise."""
        return str(self.metadata["metric"][0])

    @property
    def resource(self) -> str:
        """Name of the resource, such as "epoch"."""
        return str(self.metadata["resource"][0])

    @property
    def sign(self) -> int:
        """Factor that turns the metric into a loss and back: 1, or -1 in mode "max"."""
        return -1 if self.metadata["mode"][0] == "max" else 1

    @property
    def provenance(self) -> str:
        """Where the values come from, in a line; empty if nothing is said about it."""
        lines = self.metadata["provenance"].drop_nulls().unique(maintain_order=True)
        return "; ".join(line for line in lines if line)

    @cached_property
    def runs(self) -> dict[Setup, tuple[Run, ...]]:
        """The runs of each setup, as losses (the metric times `sign`), setups in order.

        A repeated report does not count, for the first value stands; a late one does, for
        it was measured; one after the experiment's budget does not.
        """
        counted = self.reports.lazy().filter(pl.col("status") != "repeated")
        columns = counted.select(
            "method", "n_workers", "seed", "tuner_time", pl.col(self.metric).fill_null(np.nan)
        ).collect()
        by_key = columns.partition_by("method", "n_workers", "seed", as_dict=True)
        runs: dict[Setup, list[Run]] = {}
        for row in self.metadata.iter_rows(named=True):
            frame = by_key.get((row["method"], row["n_workers"], row["seed"]), columns.clear())
            setup = Setup(row["method"], row["n_workers"])
            runs.setdefault(setup, []).append(_run(row, frame, self.metric, self.sign))
        return {setup: tuple(of_setup) for setup, of_setup in runs.items()}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in order."""
        return tuple(dict.fromkeys(setup.method for setup in self.runs))

    @property
    def worker_counts(self) -> tuple[int, ...]:
        """The numbers of workers, ascending."""
        return tuple(sorted({setup.n_workers for setup in self.runs}))

    @property
    def common_seconds(self) -> float:
        """The longest time that every setup ran for, in seconds."""
        return min(horizon(runs) for runs in self.runs.values())

    def paired(self, *setups: Setup) -> bool:
        """Return whether these setups ran the same seeds, so that runs can be compared by seed."""
        seeds = {tuple(run.seed for run in self.runs[setup]) for setup in setups}
        return len(seeds) == 1

    def cost_at(self, setup: Setup, seconds: float) -> float | None:
        """Return the mean dollars that a run of `setup` had cost by `seconds`.

        An experiment's dollars are spread evenly over its time, for it pays for its workers
        all along. None if the experiments have no price.
        """
        rows = self.metadata.filter(method=setup.method, n_workers=setup.n_workers)
        spread = rows.select(
            pl.col("total_cost_usd")
            * (seconds / pl.col("experiment_seconds")).clip(upper_bound=1.0)
        ).to_series()
        if spread.null_count() or not spread.len() or not (spread.sum() > 0):
            return None
        return float(spread.to_numpy().mean())


def load_experiment(path: str | Path) -> Experiment:
    """Load one experiment, complete or not.

    Args:
        path: The experiment's folder.

    Raises:
        UsageError: If the folder has no readable `metadata.json` or no `results.parquet`.
    """
    folder = Path(path)
    if not (folder / "metadata.json").is_file():
        raise UsageError(f"an experiment's folder must hold metadata.json; {folder} does not")
    if not (folder / "results.parquet").is_file():
        raise UsageError(
            f"an experiment's folder must hold results.parquet; {folder} does not "
            "(the table is written when an experiment ends)"
        )
    metadata = _read_metadata(folder)
    return Experiment(folder, metadata, pl.read_parquet(folder / "results.parquet"))


def load_study(
    tag: str, results_dir: str | Path = "results", *, include_incomplete: bool = False
) -> Study:
    """Load all experiments of a study.

    Args:
        tag: The study's name, which is the name of its folder in `results_dir`.
        results_dir: Where studies lie.
        include_incomplete: Whether experiments that are still running, or were interrupted,
            are in the frames as well, as far as they have results.

    Raises:
        UsageError: If there is no such study, if it has no experiment to show, or if its
            experiments do not belong together.
    """
    folder = Path(results_dir) / tag
    if not tag or not folder.is_dir():
        raise UsageError(f"a study's folder must exist; got tag {tag!r}, and no folder {folder}")
    complete: list[tuple[Path, dict[str, Any]]] = []
    unfinished: list[tuple[Path, dict[str, Any]]] = []
    incomplete: list[str] = []
    for experiment in sorted(child for child in folder.iterdir() if _is_experiment(child)):
        metadata = _read_metadata(experiment) if (experiment / "metadata.json").is_file() else {}
        has_table = (experiment / "results.parquet").is_file()
        if metadata.get("status") == "complete" and has_table:
            complete.append((experiment, metadata))
            continue
        incomplete.append(experiment.name)
        if metadata and has_table:
            unfinished.append((experiment, metadata))
    shown = complete + (unfinished if include_incomplete else [])
    if not shown:
        raise UsageError(
            f"a study must have at least one complete experiment; {folder} has none"
            + (_how_to_see(tag, incomplete) if incomplete else "")
        )
    shown.sort(key=lambda entry: _order(entry[1]))
    metadata_frame = _metadata_frame([metadata for _, metadata in shown])
    _check_together(metadata_frame, folder)
    return Study(tag, folder, metadata_frame, _reports_frame(shown), tuple(incomplete))


def _how_to_see(tag: str, incomplete: list[str]) -> str:
    """Return what there is for those that run still, or were interrupted."""
    name = f"{tag}/{incomplete[0]}"
    return (
        f", and {len(incomplete)} incomplete; `asynctune curves {name}` and "
        f"`asynctune explain {name}` tell of those"
    )


def method_rank(method: str) -> tuple[int, str]:
    """Return a sort key that puts methods in the order in which they are shown."""
    known = method in METHOD_ORDER
    return (METHOD_ORDER.index(method) if known else len(METHOD_ORDER), method)


def _is_experiment(path: Path) -> bool:
    """Return whether `path` is a folder with an experiment's files in it."""
    names = ("metadata.json", "journal.jsonl", "results.parquet")
    return path.is_dir() and any((path / name).exists() for name in names)


def _read_metadata(folder: Path) -> dict[str, Any]:
    """Return the content of an experiment's metadata, checked for what is needed here."""
    file = folder / "metadata.json"
    try:
        metadata = json.loads(file.read_bytes())
    except ValueError as error:
        raise UsageError(f"{file} must be JSON; {error}") from error
    missing = [k for k in _REQUIRED if not isinstance(metadata, dict) or metadata.get(k) is None]
    if missing:
        raise UsageError(f"{file} must have the keys {', '.join(_REQUIRED)}; lacks {missing}")
    if metadata["mode"] not in ("min", "max"):
        raise UsageError(f"mode must be min or max; {file} has {metadata['mode']!r}")
    return dict(metadata)


def _order(metadata: dict[str, Any]) -> tuple[Any, ...]:
    return (*method_rank(metadata["method"]), metadata["n_workers"], metadata["seed"])


def _metadata_frame(entries: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return one row an experiment: the agreed columns, then all other scalars found."""
    agreed = [{key: entry.get(key) for key in _SCHEMA} for entry in entries]
    others = dict.fromkeys(
        key
        for entry in entries
        for key, value in entry.items()
        if key not in _SCHEMA and not isinstance(value, dict | list)
    )
    frame = pl.DataFrame(agreed, schema=_SCHEMA, strict=False)
    further = [
        pl.Series(key, [entry.get(key) for entry in entries], strict=False)
        for key in others
        if not any(isinstance(entry.get(key), dict | list) for entry in entries)
    ]
    return frame.with_columns(further)


def _check_together(metadata: pl.DataFrame, folder: Path) -> None:
    """Raise if the experiments cannot stand in one figure."""
    for key in _SHARED:
        found = metadata[key].unique(maintain_order=True).to_list()
        if len(found) > 1:
            raise UsageError(f"a study's experiments must share one {key}; {folder} has {found}")
    twice = metadata.filter(metadata.select("method", "n_workers", "seed").is_duplicated())
    if len(twice):
        one = twice.row(0, named=True)
        raise UsageError(
            "a study must have one experiment for each method, n_workers and seed; "
            f"{folder} has several of {one['method']}, {one['n_workers']}, {one['seed']}"
        )


def _reports_frame(entries: Sequence[tuple[Path, dict[str, Any]]]) -> pl.DataFrame:
    """Return the reports of all experiments under one another, read in parallel."""
    frames = [
        pl.scan_parquet(path / "results.parquet").select(
            pl.lit(metadata["method"]).alias("method"),
            pl.lit(metadata["n_workers"], dtype=pl.Int64).alias("n_workers"),
            pl.lit(metadata["seed"], dtype=pl.Int64).alias("seed"),
            pl.exclude("method", "n_workers", "seed"),
        )
        for path, metadata in entries
    ]
    reports = pl.concat(frames, how="diagonal_relaxed").collect()
    metric = entries[0][1]["metric"]
    if not len(reports) and metric not in reports.columns:
        # Nothing was reported at all, so nobody knew the names of metrics.
        reports = reports.with_columns(pl.lit(None, dtype=pl.Float64).alias(metric))
    needed = ["trial_id", "tuner_time", "status", metric]
    missing = [name for name in needed if name not in reports.columns]
    if missing:
        raise UsageError(
            f"results.parquet must have the columns {', '.join(needed)}; "
            f"{entries[0][0].parent} lacks {missing}"
        )
    return reports


def _run(row: dict[str, Any], reports: pl.DataFrame, metric: str, sign: int) -> Run:
    """Return what the statistics need of the experiment with metadata `row`."""
    times = reports["tuner_time"].to_numpy()
    losses = sign * reports[metric].cast(pl.Float64).to_numpy()
    budget = row["max_wallclock_time"]
    if budget is not None:
        within = times <= budget
        times, losses = times[within], losses[within]
    last = float(times.max()) if len(times) else 0.0
    end = last if row["experiment_seconds"] is None else float(row["experiment_seconds"])
    end = max(last, end if budget is None else min(end, budget))
    first = float(times.min()) if len(times) else 0.0
    return Run(row["seed"], first, end, best_so_far(times, losses))
