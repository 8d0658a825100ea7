"""The published curves as rows of a table of recorded curves."""

from typing import TYPE_CHECKING

import numpy as np

from sims.transformer_wikitext2.recorded import NAMES, merge, readings

if TYPE_CHECKING:
    import polars as pl

SOURCE = "published"


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
                pl.lit(SOURCE).alias("source"),
                pl.lit(1111, dtype=pl.Int64).alias("seed"),
                pl.lit("NVIDIA T4").alias("device"),
                pl.lit("float").alias("precision"),
            )
        )
    return pl.concat(parts)
