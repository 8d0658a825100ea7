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

# The loss is known exactly; what moving it onto the published numbering of words leaves is not.
SIGMA = 1e-3
# Validation loss at which the numbering of words no longer shows, about that of knowing how often
# each word occurs. The training script starts at 10.923, 0.106 above the published curves; the
# first epochs in the data's README, 0.066 to 0.077 above at losses of 9.3 to 9.9, are near this;
# one of 8.7, which is 0.009 below, is not.
_FORGOTTEN = 7.0
_RANGE = bb.UNTRAINED - _FORGOTTEN


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


def fit_offset(recorded: Recorded, parameters: Vector) -> float:
    """Return how far above the published ones collected losses start.

    The untrained loss depends on the order of the articles, and with it the ids of words, which
    is not the original's. Configs that hardly learn show it best: a median, weighted with how
    sure the backbone is.

    Args:
        recorded: The curves.
        parameters: Parameters of the backbone, fitted to the published curves.
    """
    at = bb.Inputs(*(part[recorded.collected, None] for part in bb.inputs(recorded.configs)))
    terms = bb.backbone(parameters, at, np.log(np.arange(1.0, EPOCHS + 1)))
    share = np.clip((terms.loss - _FORGOTTEN) / _RANGE, 0, 1)
    loss = recorded.loss[recorded.collected]
    used = np.isfinite(loss) & (share > 0.5)
    if not used.any():
        return 0.0
    found = (loss - terms.loss)[used] / share[used]
    order = np.argsort(found)
    weight = np.cumsum((1 / (terms.scale[used] + 0.01))[order])
    return float(found[order][np.searchsorted(weight, weight[-1] / 2)])


def with_published_words(recorded: Recorded, offset: float) -> Recorded:
    """Return the curves with collected losses as the published numbering of words gives them."""
    share = np.clip((recorded.loss - _FORGOTTEN) / (_RANGE + offset), 0, 1)
    moved = np.where(recorded.collected[:, None], recorded.loss - offset * share, recorded.loss)
    return recorded._replace(loss=moved)


def with_collected_words(loss: Vector, offset: float) -> Vector:
    """Return losses of the published numbering of words as the collector would have them."""
    out: Vector = loss + offset * np.clip((loss - _FORGOTTEN) / _RANGE, 0, 1)
    return out


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
