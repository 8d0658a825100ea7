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


class _Words:
    """A column of texts of which there are few different ones."""

    def __init__(self) -> None:
        self._numbers = array("i")
        self._known: dict[str, int] = {}

    def append(self, word: str) -> None:
        """Add a row."""
        self._numbers.append(self._known.setdefault(word, len(self._known)))

    def series(self) -> "pl.Series":
        """Return the column."""
        import numpy as np
        import polars as pl

        words = pl.Series(list(self._known), dtype=pl.String)
        return words.gather(np.frombuffer(self._numbers, dtype=np.int32))


class _Columns:
    """The table's columns while they grow; arrays take an eighth of the room of lists."""

    def __init__(self) -> None:
        self.trial = array("q")
        self.resource = array("q")
        self.time = array("d")
        self.cost = array("d")
        self.metrics: dict[str, array[float]] = {}
        self.decision = _Words()
        self.status = _Words()
        self.source = _Words()
        self.configs: dict[str, list[Any]] = {}  # by name, then by trial

    def add(self, line: Line, cost: float) -> None:
        """Add a report; `cost` is what the trial's earlier attempts cost."""
        row = len(self.trial)
        self.trial.append(line["trial"])
        self.resource.append(line["resource"])
        self.time.append(line["t"])
        self.cost.append(cost + line["cost"])
        for name, value in line["metrics"].items():
            column = self.metrics.get(name)
            if column is None:
                column = self.metrics[name] = array("d")
            if len(column) < row:  # reports before did not have this metric
                column.extend([nan] * (row - len(column)))
            column.append(decode_number(value))
        self.decision.append(line.get("decision", ""))
        self.status.append(line["status"])
        self.source.append(line["source"])

    def add_config(self, config: Mapping[str, Any]) -> None:
        """Add the config of the next trial."""
        for name, value in config.items():
            self.configs.setdefault(name, []).append(value)


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
            columns.add_config(line["config"])
        elif event in ("paused", "ended", "failed"):
            spent[line["trial"]] = spent.get(line["trial"], 0.0) + line["cost"]
    n = len(columns.trial)
    for values in columns.metrics.values():
        values.extend([nan] * (n - len(values)))
    frame = pl.DataFrame(
        {
            "trial_id": np.frombuffer(columns.trial, dtype=np.int64),
            resource: np.frombuffer(columns.resource, dtype=np.int64),
            **{k: np.frombuffer(v, dtype=np.float64) for k, v in columns.metrics.items()},
            "tuner_time": np.frombuffer(columns.time, dtype=np.float64),
            "decision": columns.decision.series(),
            "status": columns.status.series(),
            "source": columns.source.series(),
            "cost_usd": np.frombuffer(columns.cost, dtype=np.float64),
        }
    )
    if not n:
        return frame
    trials = frame["trial_id"].to_numpy()
    return frame.with_columns(
        pl.Series(f"config_{name}", values, strict=False).gather(trials)
        for name, values in columns.configs.items()
    )


def write_results(lines: Iterable[Line], resource: str, path: Path) -> None:
    """Write the table of reports to a parquet file, whole or not at all."""
    frame = reports_frame(lines, resource)
    with replaced_atomically(path) as temporary:
        frame.write_parquet(temporary, statistics=False)
