"""The curves that the collector has recorded, beside the published ones.

They are rows of the package's table (`python -m sims.transformer_wikitext2.published EXPORT`).
Their seconds are those of a population on the collector's device and say nothing about a trial
on a T4: none are taken over.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.recorded import (
    EPOCHS,
    NAMES,
    PUBLISHED,
    Reading,
    Recorded,
    merge,
    readings,
    table,
)

if TYPE_CHECKING:
    import polars as pl

Vector = NDArray[np.float64]

# The loss is known exactly; this is the last digit that is shown. What trainings differ by is
# the process's noise.
SIGMA = 1e-4


def all_recorded(rows: "pl.DataFrame | None" = None) -> Recorded:
    """Return every curve to learn from, published and collected.

    Args:
        rows: A table of recorded curves; by default the package's.
    """
    return merge(readings() + collected(table("curves") if rows is None else rows))


def collected(rows: "pl.DataFrame") -> list[Reading]:
    """Return the curves of a table that are not published ones, each seed by itself.

    Args:
        rows: Columns as in `sims.curvetable`; epochs after the 40th are left out.
    """
    import polars as pl

    rows = rows.filter(pl.col("source") != PUBLISHED, pl.col("epoch") <= EPOCHS)
    parts = rows.sort("epoch", maintain_order=True).partition_by(
        "config_id", "source", "seed", as_dict=True, maintain_order=True
    )
    return [_reading(i, part) for i, part in enumerate(parts.values())]


def collected_paths(recorded: Recorded) -> Vector:
    """Return the path lengths of an epoch of the curves collected to the end, ascending."""
    whole = recorded.collected & np.isfinite(recorded.loss[:, -1])
    out: Vector = np.sort(np.exp(bb.inputs(recorded.configs[whole]).log_path))
    return out


def _reading(number: int, part: "pl.DataFrame") -> Reading:
    first = part.row(0, named=True)
    at, val_loss = part["epoch"].to_numpy() - 1, part["val_loss"].to_numpy()
    # The collector ends a training whose loss is not finite, be it that of training alone.
    last = [val_loss[-1]]
    if "train_loss" in part.columns and part["train_loss"][-1] is not None:
        last.append(part["train_loss"][-1])
    loss = np.full(EPOCHS, np.nan)
    loss[at] = np.where(np.isfinite(val_loss), val_loss, np.nan)
    return Reading(
        method=first["source"],
        trial=number,
        config=np.array([first[name] for name in NAMES], dtype=float),
        loss=loss,
        sigma=np.where(np.isfinite(loss), SIGMA, np.nan),
        epoch_seconds=np.nan,
        exact=True,
        name=first["config_id"],
        seed=first["seed"],
        ended=0 if np.isfinite(last).all() else int(at[-1]) + 1,
        last=float(val_loss[-1]),
    )
