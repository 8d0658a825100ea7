"""Tables of recorded learning curves: what a training of each config has shown.

One row is a config after one resource level. Columns: `config_id`; one for each tuned
hyperparameter; the resource (1, 2, ...); the metrics, which may be non-finite where training
has diverged; `seconds` of training from scratch to the end of the level, null throughout a
curve that was not timed; `source`, which says where the curve is from; and, where known,
`seed`, `device`, `precision`, `torch_version`, `code_version`. A curve is what `config_id`,
`source` and `seed` name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from sims.curvechecks import CURVE, TableFormat, checked_rows

if TYPE_CHECKING:
    import polars as pl

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Curves(NamedTuple):
    """`n` recorded curves of up to `R` levels.

    Attributes:
        configs: Config of each, tuned parameters only.
        ids: `config_id` of each.
        source: Source of each.
        seed: Seed of each; -1 where it is not known.
        levels: How many levels each was followed for, shape ``(n,)``.
        seen: Where a level was recorded, shape ``(n, R)``.
        values: For each metric, values of shape ``(n, R)``, NaN where not seen.
        seconds: Cumulative seconds, shape ``(n, R)``, NaN where not known.
    """

    configs: tuple[dict[str, Any], ...]
    ids: tuple[str, ...]
    source: tuple[str, ...]
    seed: NDArray[np.int64]
    levels: NDArray[np.intp]
    seen: Flags
    values: Mapping[str, Matrix]
    seconds: Matrix

    def diverged(self) -> Flags:
        """Return which curves end because a metric was not finite, shape ``(n,)``."""
        n = np.arange(len(self.levels))
        out = np.zeros(len(n), dtype=bool)
        for i, values in enumerate(self.values.values()):
            # A further metric that a source does not have is NaN throughout.
            absent = np.isnan(values).all(axis=1) if i else np.zeros(len(n), dtype=bool)
            out |= ~absent & ~np.isfinite(values[n, self.levels - 1])
        return out

    def whole(self, max_resource: int) -> Flags:
        """Return which curves were followed to their end without a gap, shape ``(n,)``."""
        ended = (self.levels >= max_resource) | self.diverged()
        out: Flags = ended & (self.seen.sum(axis=1) == self.levels)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class CurveTable:
    """A table that was checked.

    Attributes:
        format: What its columns mean.
        frame: The rows, curve by curve, levels ascending.
    """

    format: TableFormat
    frame: "pl.DataFrame"

    def metrics(self) -> tuple[str, ...]:
        """Return the metrics that there are, the optimised one first."""
        there = (n for n in self.format.others if n in self.frame.columns)
        return (self.format.metric, *there)

    def max_resource(self) -> int:
        """Return the highest level that any curve has."""
        highest: int = self.frame[self.format.resource].max()  # type: ignore[assignment]
        return highest

    def curves(self) -> Curves:
        """Return the rows as arrays."""
        resource, names = self.format.resource, self.format.space.names
        parts = self.frame.partition_by(*CURVE, maintain_order=True)
        shape = (len(parts), self.max_resource())
        seen = np.zeros(shape, dtype=bool)
        seconds = np.full(shape, np.nan)
        values = {name: np.full(shape, np.nan) for name in self.metrics()}
        for i, part in enumerate(parts):
            at = part[resource].to_numpy() - 1
            seen[i, at] = True
            seconds[i, at] = part["seconds"].to_numpy()
            for name, matrix in values.items():
                matrix[i, at] = part[name].to_numpy()
        first = [part.row(0, named=True) for part in parts]
        return Curves(
            configs=tuple({name: row[name] for name in names} for row in first),
            ids=tuple(row["config_id"] for row in first),
            source=tuple(row["source"] for row in first),
            seed=np.array([row["seed"] for row in first], dtype=np.int64),
            levels=np.array([part[resource][-1] for part in parts], dtype=np.intp),
            seen=seen,
            values=values,
            seconds=seconds,
        )

    def appended(self, rows: "pl.DataFrame", *, allow_gaps: bool = False) -> "CurveTable":
        """Return the table with further rows.

        Raises:
            UsageError: If they are not valid, or a curve has a level twice then.
        """
        import polars as pl

        new = checked_rows(rows, self.format, allow_gaps=allow_gaps)
        both = pl.concat([self.frame, new], how="diagonal_relaxed")
        return check(both, self.format, allow_gaps=allow_gaps)

    def write(self, path: Path) -> None:
        """Write the table to a parquet file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(path) as temporary:
            self.frame.write_parquet(temporary, compression="zstd", statistics=False)


def check_there(path: Path) -> None:
    """Raise a UsageError if there is no such table."""
    if not path.is_file():
        raise UsageError(f"a table of curves must be a parquet file; there is no {path}")


def read(path: Path, form: TableFormat, *, allow_gaps: bool = False) -> CurveTable:
    """Read and check a table.

    Args:
        path: A parquet file.
        form: What its columns mean.
        allow_gaps: Whether levels between a curve's first and last may be missing.

    Raises:
        UsageError: If there is no such file, or its rows are not valid.
    """
    import polars as pl

    check_there(path)
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{path} cannot be read as parquet: {error}") from error
    try:
        return check(frame, form, allow_gaps=allow_gaps)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def check(frame: "pl.DataFrame", form: TableFormat, *, allow_gaps: bool = False) -> CurveTable:
    """Return the rows as a table, in order.

    Raises:
        UsageError: If a column is missing or not known, a config is not of the space or has
            two values under one `config_id`, a curve has a level twice or, unless that is
            allowed, lacks one, or its seconds do not increase.
    """
    return CurveTable(form, checked_rows(frame, form, allow_gaps=allow_gaps))
