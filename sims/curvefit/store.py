"""Benchmarks made of recorded curves: a folder each, found by its name or its path.

A folder holds `benchmark.json` (the problem and where its numbers come from), `curves.parquet`
(the table) and, unless the table is replayed without a model, `surrogate.npz`. Folders that are
found by name lie in `benchmarks` within `$ASYNCTUNE_HOME`, by default
`~/.local/share/asynctune`.
"""

import io
import json
import os
import re
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from zipfile import BadZipFile

import numpy as np

from asynctune.benchmark import Benchmark
from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from asynctune.space import ConfigSpace
from asynctune.wording import plural
from sims.curvechecks import TableFormat
from sims.curvetable import CurveTable, read

if TYPE_CHECKING:
    from sims.curvefit.model import Fitted

Replay = Literal["surrogate", "exact", "nearest"]

PROBLEM: Final = "benchmark.json"
TABLE: Final = "curves.parquet"
SURROGATE: Final = "surrogate.npz"
_FORMAT: Final = 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A benchmark made of recorded curves.

    Attributes:
        name: Its name: letters, digits, and after the first also "_", "." and "-".
        space: The config space as JSON.
        metric: Name of the metric.
        mode: "min" or "max".
        resource: Name of the resource.
        max_resource: Levels of a full training.
        others: Further metrics of the table.
        replay: Whether curves come from the surrogate, or from the table alone: "exact" for
            recorded configs only, "nearest" for any.
        max_wallclock_time: Default budget of an experiment, in seconds.
        n_workers: Default number of workers.
        seconds_per_level: Mean seconds of training a level.
        instance_type: Sets the price in simulations.
        provenance: Where the numbers come from, one line.
        data: How many curves, and a digest of them and of what was fitted; `save` sets it.
    """

    name: str
    space: dict[str, Any]
    metric: str
    mode: Literal["min", "max"]
    resource: str
    max_resource: int
    others: tuple[str, ...] = ()
    replay: Replay = "surrogate"
    max_wallclock_time: float
    n_workers: int
    seconds_per_level: float
    instance_type: str
    provenance: str = ""
    data: str = ""

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            UsageError: If one is broken.
        """
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"a benchmark's name must be letters, digits, '_', '.' and '-'; got {self.name!r}"
            )
        if self.mode not in ("min", "max"):
            raise UsageError(f"mode must be min or max; got {self.mode!r}")
        if self.replay not in get_args(Replay):
            raise UsageError(
                f"replay must be one of {', '.join(get_args(Replay))}; got {self.replay!r}"
            )

    @property
    def format(self) -> TableFormat:
        """What the columns of the table mean."""
        space = ConfigSpace.from_json(self.space)
        return TableFormat(space, self.resource, self.metric, tuple(self.others))

    def benchmark(self, folder: Path) -> Benchmark:
        """Return the benchmark whose files lie in `folder`."""
        return Benchmark(
            name=self.name,
            space=self.format.space,
            metric=self.metric,
            mode=self.mode,
            resource=self.resource,
            max_resource=self.max_resource,
            max_wallclock_time=self.max_wallclock_time,
            n_workers=self.n_workers,
            instance_types=dict.fromkeys(("local", "sagemaker"), self.instance_type),
            blackbox=partial(load_blackbox, folder),
            configs=partial(_load_configs, folder) if self.replay == "exact" else None,
            provenance=self.provenance,
            data=self.data,
            seconds_per_level=self.seconds_per_level,
        )


def home() -> Path:
    """Return the folder whose benchmarks are found by name."""
    chosen = os.environ.get("ASYNCTUNE_HOME")
    if chosen:
        return Path(chosen) / "benchmarks"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "asynctune" / "benchmarks"


class RecordedFinder:
    """Finds the benchmarks that folders hold."""

    def __call__(self, name: str) -> Benchmark | None:
        """Return the benchmark of a folder: its path, or its name within `home()`; else None."""
        for folder in (Path(name), home() / name):
            if (folder / PROBLEM).is_file():
                return load_problem(folder).benchmark(folder.absolute())
        return None

    def names(self) -> list[str]:
        """Return the names of the folders within `home()`, sorted."""
        return sorted(path.parent.name for path in home().glob(f"*/{PROBLEM}"))


find: Final = RecordedFinder()


def load_problem(folder: Path) -> Recorded:
    """Return what the folder's `benchmark.json` says.

    Raises:
        UsageError: If it cannot be read.
    """
    path = folder / PROBLEM
    try:
        values = json.loads(path.read_bytes())
        if values.pop("format") != _FORMAT:
            raise UsageError(f"{path} must be of format {_FORMAT}")
        values["others"] = tuple(values["others"])
        return Recorded(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read as a benchmark: {error}") from error


def load_blackbox(folder: Path) -> Any:  # noqa: ANN401 - any blackbox
    """Return the blackbox of a folder.

    Raises:
        UsageError: If a file is missing or cannot be read.
    """
    problem = load_problem(folder)
    table = read(folder / TABLE, problem.format, allow_gaps=True)
    if problem.replay != "surrogate":
        from sims.tabular import TabularBlackbox

        return TabularBlackbox(table, problem.max_resource, nearest=problem.replay == "nearest")
    from sims.curvefit.blackbox import FittedBlackbox

    return FittedBlackbox(table, read_surrogate(folder / SURROGATE))


def _load_configs(folder: Path) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = load_blackbox(folder).configs
    return configs


def read_surrogate(path: Path) -> "Fitted":
    """Return what was fitted, as `write_surrogate` has written it.

    Raises:
        UsageError: If the file is missing or cannot be read.
    """
    from sims.curvefit.model import Fitted

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Fitted.of(dict(arrays))
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise UsageError(f"{path} cannot be read as a surrogate: {error}") from error


def write_surrogate(path: Path, arrays: dict[str, Any]) -> None:
    """Write what was fitted, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def save(
    folder: Path, problem: Recorded, table: CurveTable, arrays: dict[str, Any] | None
) -> Recorded:
    """Write a benchmark's folder; `benchmark.json`, by which it is found, comes last.

    Args:
        folder: Made if it does not exist; its files are replaced.
        problem: The benchmark.
        table: The recorded curves.
        arrays: What was fitted, or None.

    Returns:
        The benchmark as it was written, with what tells its data from others.
    """
    problem = replace(problem, data=_told(problem.replay, table, arrays or {}))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROBLEM).unlink(missing_ok=True)
    table.write(folder / TABLE)
    if arrays is not None:
        write_surrogate(folder / SURROGATE, arrays)
    values = {name: getattr(problem, name) for name in Recorded.__dataclass_fields__}
    text = json.dumps({"format": _FORMAT, **values}, indent=2) + "\n"
    with replaced_atomically(folder / PROBLEM) as temporary:
        temporary.write_text(text)
    return problem


def _told(replay: Replay, table: CurveTable, arrays: dict[str, Any]) -> str:
    """Return what tells the data of a benchmark from others."""
    digest = blake2b(f"{replay}\n{table.frame.write_csv()}".encode(), digest_size=6)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return f"{plural(len(table.curves().ids), 'curve')}, digest {digest.hexdigest()}"
