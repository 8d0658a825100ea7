"""Make the table that ships of a record, finished or not.

    python -m sims.transformer_wikitext2_mini.publish --record FOLDER [--to FILE]

Only trainings that have come to their end are taken. The record may be written to meanwhile.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from sims.transformer_wikitext2.population.rows import NAME, Record
from sims.transformer_wikitext2_mini import SPACE, TRAINING
from sims.transformer_wikitext2_mini.alone import Alone, recorded

if TYPE_CHECKING:
    import polars as pl

_TRAINING: Final = ("config_id", "seed")
_COLUMNS: Final = (
    *("config_id", *SPACE, "epoch", "val_loss", "train_loss", "seconds"),
    *("source", "seed", "device", "precision", "torch_version", "code_version"),
)

# What a curve is called. One is flat that falls by less than this after the first epoch.
_FLAT: Final = 0.3
# So much above its least loss a curve ends that over-fits, and rises at once one that is unstable.
_RISE: Final = 0.05


def rows_of(folder: Path) -> "pl.DataFrame":
    """Return the rows of a record, which another process may be adding to.

    Raises:
        UsageError: If there is no record, or it has no rows.
    """
    source = folder / NAME
    if not source.is_file():
        raise UsageError(f"--record must be a folder with a record; {folder} has no {NAME}")
    with tempfile.TemporaryDirectory() as scratch:
        # A record that is opened is mended, which is not for us to do to one in use.
        shutil.copyfile(source, Path(scratch) / NAME)
        record = Record(Path(scratch))
        if not record.rows:
            raise UsageError(f"a record must have rows to make a table of; {source} has none")
        return record.table()


def ended(rows: "pl.DataFrame", epochs: int) -> "pl.DataFrame":
    """Return the rows of trainings that were followed to the last epoch, or diverged before."""
    import polars as pl

    finite = (pl.col("val_loss") + pl.col("train_loss")).is_finite()
    at_end = (pl.col("epoch") >= epochs) | finite.not_()
    return rows.filter(at_end.any().over(*_TRAINING))


def table(rows: "pl.DataFrame", alone: Alone, epochs: int) -> "pl.DataFrame":
    """Return the table: trainings that have ended, with the seconds they take alone.

    Args:
        rows: Of a record.
        alone: Seconds of an epoch, by the batch size.
        epochs: Of a whole training.

    Raises:
        UsageError: If none has ended.
    """
    import polars as pl

    seconds = pl.col("epoch") * (alone.fixed + alone.by_step / pl.col("batch_size"))
    whole = ended(rows, epochs)
    if whole.is_empty():
        raise UsageError(f"a training must have ended; none of {len(rows)} rows is of one that has")
    return (
        whole.with_columns(seconds=seconds)
        .select(_COLUMNS)
        .sort(*_TRAINING, "epoch", maintain_order=True)
    )


def kinds(made: "pl.DataFrame") -> "pl.DataFrame":
    """Return what the curves are like: one row a training, a column of truth values each.

    `diverged` has a loss that is not finite; `flat` falls by less than 0.3 after the first epoch;
    `over_fitting` ends more than 0.05 above its least loss, its training loss fallen as much
    meanwhile; `unstable` rises by more than 0.05 from one epoch to the next; the others are
    `steady`.
    """
    import polars as pl

    valid, train = pl.col("val_loss"), pl.col("train_loss")
    found = (
        made.sort(*_TRAINING, "epoch")
        .group_by(*_TRAINING, maintain_order=True)
        .agg(
            diverged=(valid + train).is_finite().all().not_(),
            flat=valid.first() - valid.min() < _FLAT,
            over_fitting=(valid.last() - valid.min() > _RISE)
            & (train.last() < train.get(valid.arg_min()) - _RISE),
            unstable=valid.diff().max() > _RISE,
        )
    )
    return found.with_columns(
        steady=pl.any_horizontal("diverged", "flat", "over_fitting", "unstable").not_()
    )


def summary(made: "pl.DataFrame") -> str:
    """Return in a few lines what the table holds."""
    of_kind = kinds(made).drop(*_TRAINING).sum().row(0, named=True)
    n = made.select(_TRAINING).n_unique()
    configs = made.unique("config_id")
    lines = [
        f"{len(made)} rows, {n} trainings of {len(configs)} configs",
        ", ".join(f"{name} {count}" for name, count in of_kind.items()),
    ]
    for name in SPACE:
        quarters = configs[name].quantile
        values = ", ".join(f"{quarters(q) or 0:.3g}" for q in (0, 0.25, 0.5, 0.75, 1))
        lines.append(f"{name}: quartiles {values}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="publish", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--record", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--to", type=Path, metavar="FILE", help="default: the package's own table")
    values = parser.parse_args(arguments)
    path = values.to or Path(str(files(__package__))) / "data" / "curves.parquet"
    try:
        made = table(rows_of(values.record), recorded(), TRAINING["epochs"])
    except UsageError as error:
        sys.stderr.write(f"publish: {' '.join(str(error).split())}\n")
        return 2
    with replaced_atomically(path) as temporary:
        made.write_parquet(temporary, compression="zstd", statistics=False)
    sys.stdout.write(f"{summary(made)}\nwrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
