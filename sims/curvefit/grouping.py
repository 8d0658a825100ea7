"""Recorded curves brought together by config."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from asynctune.space import ConfigSpace
from sims.curvefit.scale import Scale
from sims.curvetable import Curves
from sims.tabular import Key, config_key

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


class Grouped(NamedTuple):
    """Curves of `m` configs up to level `R`, on the model's scale.

    Attributes:
        configs: The configs.
        coordinates: Of the configs in the unit cube, shape ``(m, d)``.
        config: Which config each of the table's curves belongs to, shape ``(n,)``.
        loss: Mean of the longest curves of each config, NaN where not seen, ``(m, R)``.
        seen: Where it was seen, shape ``(m, R)``.
        diverged: Level at which most of a config's trainings had diverged, 0 if they had not,
            shape ``(m,)``.
        last: What the metric was then, shape ``(m,)``.
        copies: For configs with several whole curves, how each differs from their mean, made
            larger for the mean is theirs, shape ``(p, R)``.
        copy_of: Which config each of these is of, shape ``(p,)``.
    """

    configs: list[Mapping[str, Any]]
    coordinates: Array
    config: Indices
    loss: Array
    seen: Flags
    diverged: Indices
    last: Array
    copies: Array
    copy_of: Indices

    @property
    def whole(self) -> Flags:
        """Which configs were seen at all levels, shape ``(m,)``."""
        whole: Flags = self.seen.sum(axis=1) == self.seen.shape[1]
        return whole


def group(curves: Curves, space: ConfigSpace, scale: Scale, R: int) -> Grouped:
    """Bring curves together by config.

    Args:
        curves: The curves; the optimised metric comes first.
        space: The config space.
        scale: The model's scale.
        R: Levels of a full training.
    """
    numbers: dict[Key, int] = {}
    configs: list[Mapping[str, Any]] = []
    config = np.empty(len(curves.ids), dtype=np.intp)
    for i, values in enumerate(curves.configs):
        key = config_key(space, values)
        if key not in numbers:
            numbers[key] = len(configs)
            configs.append(values)
        config[i] = numbers[key]
    raw = _levels(next(iter(curves.values.values())), R)
    scaled = np.where(
        np.isfinite(raw), scale.to_scale(np.where(np.isfinite(raw), raw, 0.0)), np.nan
    )
    finite = np.isfinite(scaled)
    ended = curves.diverged() & (curves.levels <= R)
    m = len(configs)
    loss, diverged, last = np.full((m, R), np.nan), np.zeros(m, dtype=np.intp), np.zeros(m)
    copies, copy_of = [], []
    for c in range(m):
        mine = np.flatnonzero(config == c)
        n_levels = finite[mine].sum(axis=1)
        longest = mine[n_levels == n_levels.max()]
        loss[c] = np.where(finite[longest[0]], scaled[longest].mean(axis=0), np.nan)
        if ended[mine].mean() >= 0.5:
            first = mine[ended[mine]][0]
            diverged[c] = curves.levels[first]
            last[c] = raw[first, diverged[c] - 1]
        if len(longest) > 1 and finite[longest].all():
            grown = np.sqrt(len(longest) / (len(longest) - 1))
            copies += list((scaled[longest] - loss[c]) * grown)
            copy_of += [c] * len(longest)
    return Grouped(
        configs=configs,
        coordinates=space.encode(configs),
        config=config,
        loss=loss,
        seen=np.isfinite(loss),
        diverged=diverged,
        last=last,
        copies=np.array(copies).reshape(-1, R),
        copy_of=np.array(copy_of, dtype=np.intp),
    )


def seconds_by_config(curves: Curves, grouped: Grouped, R: int) -> tuple[Array, Array]:
    """Return how seconds spread over the levels, and the seconds of a full training.

    Returns:
        The median share of the seconds that has passed after each level, increasing to 1,
        shape ``(R,)``; and for each config the mean seconds over its timed curves, NaN if there
        are none, shape ``(m,)``.

    Raises:
        UsageError: If no curve was timed.
    """
    seconds = _levels(curves.seconds, R)
    timed = np.isfinite(seconds).sum(axis=1) > 0
    if not timed.any():
        raise UsageError("a surrogate needs seconds of at least one curve; the table has none")
    full = np.isfinite(seconds).sum(axis=1) == R
    share = np.arange(1.0, R + 1) / R
    if full.any():
        share = np.median(seconds[full] / seconds[full, -1:], axis=0)
        # Medians of increasing numbers increase; rounding must not undo that.
        share = np.maximum.accumulate(share) + np.arange(R) * 1e-12
        share /= share[-1]
    totals = np.full(len(timed), np.nan)
    for i in np.flatnonzero(timed).tolist():
        at = int(np.flatnonzero(np.isfinite(seconds[i]))[-1])
        totals[i] = seconds[i, at] / share[at]
    m = len(grouped.configs)
    sums = np.bincount(grouped.config[timed], totals[timed], m)
    counts = np.bincount(grouped.config[timed], minlength=m)
    return share, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _levels(matrix: Array, R: int) -> Array:
    """Return the matrix cut or filled with NaN to R columns."""
    out = np.full((len(matrix), R), np.nan)
    n = min(R, matrix.shape[1])
    out[:, :n] = matrix[:, :n]
    return out
