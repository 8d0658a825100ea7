"""The published curves as rows of a table of recorded curves.

    python -m sims.transformer_wikitext2.published [EXPORT ...]

writes `data/curves.parquet` anew: the published curves, then those that the collector exported.
"""

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from asynctune.exceptions import UsageError
from asynctune.space import ConfigSpace
from sims.curvechecks import TableFormat
from sims.transformer_wikitext2 import benchmark
from sims.transformer_wikitext2.recorded import NAMES, PUBLISHED, SEED, merge, readings

if TYPE_CHECKING:
    import polars as pl


def published_rows() -> "pl.DataFrame":
    """Return the recovered curves, the most accurate reading of each epoch.

    ASHA's curves have gaps between the rungs, and were not timed. `config_id` is
    "published-local-0-K" with K the config's number in the study's sequence, and for configs that
    are not of it "published-bo-K" with K the trial's number.
    """
    import polars as pl

    recorded = merge(readings())
    parts = []
    for config, loss, seconds, exact, copies in zip(
        recorded.configs,
        recorded.loss,
        recorded.epoch_seconds,
        recorded.exact,
        recorded.readings,
        strict=True,
    ):
        at = np.flatnonzero(np.isfinite(loss))
        name = "local-0" if exact else copies[0].method.lower()
        values = dict(zip(NAMES, config.tolist(), strict=True))
        values["batch_size"] = int(values["batch_size"])
        parts.append(
            pl.DataFrame({"epoch": at + 1, "val_loss": loss[at]}).select(
                pl.lit(f"published-{name}-{copies[0].trial}").alias("config_id"),
                *(pl.lit(value).alias(key) for key, value in values.items()),
                "epoch",
                "val_loss",
                (pl.col("epoch") * (None if np.isnan(seconds) else seconds))
                .cast(pl.Float64)
                .alias("seconds"),
                pl.lit(PUBLISHED).alias("source"),
                pl.lit(SEED, dtype=pl.Int64).alias("seed"),
                pl.lit("NVIDIA T4").alias("device"),
                pl.lit("float").alias("precision"),
            )
        )
    return pl.concat(parts)


def table_file() -> Path:
    """Return where the package's table of recorded curves lies."""
    return Path(str(files(__package__) / "data" / "curves.parquet"))


@click.command()
@click.argument("exports", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="Default: the package's."
)
def main(exports: tuple[Path, ...], out: Path | None) -> None:
    """Write the table of recorded curves: the published ones, then those of EXPORTS.

    EXPORTS are tables that the collector has written.
    """
    from sims.curvetable import check, read

    space = ConfigSpace(benchmark().space)
    form = TableFormat(space, "epoch", "val_loss")
    try:
        table = check(published_rows(), form, allow_gaps=True)
        for path in exports:
            table = table.appended(read(path, form).frame, allow_gaps=True)
    except UsageError as error:
        click.echo(f"published: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    path = table_file() if out is None else out
    table.write(path)
    n = len(table.curves().ids)
    click.echo(f"{path}: {n} curves, {len(table.frame)} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
