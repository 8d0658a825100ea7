"""Tables of recorded curves out of the journals of experiments."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import orjson

from asynctune.exceptions import AsynctuneWarning, UsageError
from asynctune.journal import Line, decode_number, read_header, read_lines
from asynctune.space import ConfigSpace
from asynctune.wording import plural
from sims.curvechecks import TableFormat
from sims.curvetable import CurveTable, check

_JOURNAL = "journal.jsonl"


@dataclass(slots=True)
class _Run:
    """A trial while its journal is read; `base` is what the attempt went on from, in seconds."""

    config: Mapping[str, Any]
    rows: dict[int, tuple[float, Mapping[str, float]]] = field(default_factory=dict)
    began: float | None = None
    base: float = 0.0


def journals_under(folders: Iterable[Path]) -> list[Path]:
    """Return the journals of experiments: each folder is one, or holds some.

    Raises:
        UsageError: If a folder has none.
    """
    found = []
    for folder in folders:
        own = folder / _JOURNAL
        journals = [own] if own.is_file() else sorted(folder.glob(f"*/{_JOURNAL}"))
        if not journals:
            raise UsageError(f"a folder must hold an experiment or a study; {folder} holds none")
        found += journals
    return found


def table_of(folders: Sequence[Path], source: str = "") -> tuple[CurveTable, int]:
    """Return the curves that experiments of one problem have seen.

    Seconds are those of training: from the report that an attempt started to its own
    reports, start-up and waiting left out. What a trial reported first at a level stands. Where
    reports do not say when they were made, and were read too late to tell, a curve has no
    seconds, and a warning says so. The seed of a row tells trials of the same config from one
    another, and is the same whenever the same journal is read.

    Args:
        folders: Of experiments or of studies.
        source: What the rows say of their source; by default the study's tag.

    Returns:
        The table, and the levels that a full training has.

    Raises:
        UsageError: If a folder has no experiment, the experiments are not of the same problem,
            or nothing was reported.
    """
    import polars as pl

    rows: list[dict[str, Any]] = []
    untimed = 0
    problem: dict[str, Any] | None = None
    others: dict[str, None] = {}
    for path in journals_under(folders):
        inputs = _inputs(path)
        own = {k: inputs[k] for k in ("space", "metric", "resource", "max_resource")}
        if problem is not None and own != problem:
            key = next(k for k in own if own[k] != problem[k])
            raise UsageError(f"experiments must share one {key}; {path.parent} has another")
        problem = own
        space = ConfigSpace.from_json(own["space"])
        place = f"{path.parent.parent.name}/{path.parent.name}"
        for trial, run in _runs(read_lines(path)).items():
            tuned = {name: run.config[name] for name in space.names}
            timed = _increase([run.rows[level][0] for level in sorted(run.rows)])
            untimed += not timed
            for level, (seconds, metrics) in sorted(run.rows.items()):
                others |= dict.fromkeys(metrics)
                rows.append(
                    {
                        "config_id": _digest(orjson.dumps(tuned).decode()),
                        **tuned,
                        own["resource"]: level,
                        **metrics,
                        "seconds": seconds if timed else None,
                        "source": source or path.parent.parent.name,
                        "seed": int(_digest(f"{place}/{trial}")[:7], 16),
                    }
                )
    if problem is None or not rows:
        raise UsageError(f"experiments must have reports; none in {', '.join(map(str, folders))}")
    if untimed:
        warnings.warn(
            f"{plural(untimed, 'curve')} got no seconds, as reports were read after a while only",
            AsynctuneWarning,
            stacklevel=2,
        )
    others.pop(problem["metric"], None)
    form = TableFormat(
        ConfigSpace.from_json(problem["space"]),
        problem["resource"],
        problem["metric"],
        tuple(others),
    )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return check(frame, form, allow_gaps=True), int(problem["max_resource"])


def _inputs(path: Path) -> Mapping[str, Any]:
    header = read_header(path)
    if header is None:
        raise UsageError(f"{path} must begin with a journal's header; it has none")
    return header


def _runs(lines: Iterable[Line]) -> dict[int, _Run]:
    configs: list[Mapping[str, Any] | None] = []
    runs: dict[int, _Run] = {}
    for line in lines:
        match line["event"]:
            case "proposal_ready" if line["config"] is not None:
                configs.append(line["config"])
            case "start":
                config = configs[line["trial"]]
                run = runs.setdefault(line["trial"], _Run(config or {}))
                # A report of that level may have been lost; the one before is the best guess.
                done = [level for level in run.rows if level <= line["from"]]
                run.base = run.rows[max(done)][0] if done else 0.0
                run.began = line.get("ready")
            case "started":
                runs[line["trial"]].began = line["t"]
            case "report":
                _note(runs[line["trial"]], line)
    return runs


def _note(run: _Run, line: Line) -> None:
    if run.began is None or line["resource"] in run.rows:
        return
    metrics = {name: decode_number(value) for name, value in line["metrics"].items()}
    seconds = line.get("seconds", line["t"] - run.began)
    run.rows[line["resource"]] = (run.base + seconds, metrics)


def _increase(seconds: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise((0.0, *seconds, inf)))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=6).hexdigest()
