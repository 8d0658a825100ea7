"""Turn a journal into the table of results: one row a report."""

from array import array
from collections.abc import Iterable, Mapping
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynctune.files import replaced_atomically
from asynctune.journal import Line, decode_number

if TYPE_CHECKING:
    import polars as pl


class _Columns:
    """The table's columns while they grow; arrays take an eighth of the room of lists."""

    def __init__(self) -> None:
        self.trial = array("q")
        self.resource = array("q")
        self.time = array("d")
        self.cost = array("d")
        self.metrics: dict[str, array[float]] = {}
        self.words: tuple[list[str], list[str], list[str]] = ([], [], [])
        self.configs: list[Mapping[str, Any]] = []

    def add(self, line: Line, cost: float) -> None:
        """Add a report; `cost` is what the trial's earlier attempts cost."""
        self.trial.append(line["trial"])
        self.resource.append(line["resource"])
        self.time.append(line["t"])
        self.cost.append(cost + line["cost"])
        row = len(self.trial) - 1
        for name, value in line["metrics"].items():
            column = self.metrics.setdefault(name, array("d"))
            if len(column) < row:  # reports before did not have this metric
                column.extend([nan] * (row - len(column)))
            column.append(decode_number(value))
        decision, status, source = self.words
        decision.append(line.get("decision", ""))
        status.append(line["status"])
        source.append(line["source"])


def reports_frame(lines: Iterable[Line], resource: str) -> "pl.DataFrame":
    """Return the table of reports in a journal's lines.

    Columns: `trial_id`, the resource, the metrics, `tuner_time` in seconds since the
    experiment's start, `decision` ("continue", "pause", "stop", "complete"; "" where none was
    made), `status` ("running", "late", "repeated"), `source` of a simulated report, `cost_usd`
    of the trial up to the report, and `config_<name>`.
    """
    import numpy as np
    import polars as pl

    columns = _Columns()
    spent: dict[int, float] = {}
    for line in lines:
        event = line["event"]
        if event == "report":
            columns.add(line, spent.get(line["trial"], 0.0))
        elif event == "proposal_ready" and line["config"] is not None:
            columns.configs.append(line["config"])
        elif event in ("paused", "ended", "failed"):
            spent[line["trial"]] = spent.get(line["trial"], 0.0) + line["cost"]
    n = len(columns.trial)
    for values in columns.metrics.values():
        values.extend([nan] * (n - len(values)))
    decision, status, source = columns.words
    frame = pl.DataFrame(
        {
            "trial_id": np.frombuffer(columns.trial, dtype=np.int64),
            resource: np.frombuffer(columns.resource, dtype=np.int64),
            **{k: np.frombuffer(v, dtype=np.float64) for k, v in columns.metrics.items()},
            "tuner_time": np.frombuffer(columns.time, dtype=np.float64),
            "decision": pl.Series(decision, dtype=pl.Categorical),
            "status": pl.Series(status, dtype=pl.Categorical),
            "source": pl.Series(source, dtype=pl.Categorical),
            "cost_usd": np.frombuffer(columns.cost, dtype=np.float64),
        }
    ).with_columns(pl.col("decision", "status", "source").cast(pl.String))
    if not n:
        return frame
    configs = pl.DataFrame(columns.configs, infer_schema_length=None)
    configs = configs.rename({name: f"config_{name}" for name in configs.columns})
    return frame.hstack(configs[frame["trial_id"].to_numpy()])


def write_results(lines: Iterable[Line], resource: str, path: Path) -> None:
    """Write the table of reports to a parquet file, whole or not at all."""
    frame = reports_frame(lines, resource)
    with replaced_atomically(path) as temporary:
        frame.write_parquet(temporary, statistics=False)
