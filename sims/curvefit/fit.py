"""Fit the surrogate to a table of recorded curves."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from asynctune.gp.threads import one_thread
from sims.curvefit.grouping import Grouped, group, seconds_by_config
from sims.curvefit.index import Index
from sims.curvefit.model import Fitted, Process
from sims.curvefit.regression import Regression, regress
from sims.curvefit.scale import Scale
from sims.curvefit.shapes import Shapes
from sims.curvetable import CurveTable

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST_WHOLE: Final = 8


class Fit(NamedTuple):
    """A surrogate, and what it was fitted to.

    Attributes:
        fitted: The surrogate.
        grouped: The curves by config.
        weights: The processes of the principal curves' weights, one each.
        left_out: The weights of each config as predicted from all others, shape ``(m, K)``.
    """

    fitted: Fitted
    grouped: Grouped
    weights: list[Regression]
    left_out: Array


def fit(table: CurveTable, mode: str, max_resource: int | None = None) -> Fit:
    """Return the surrogate of a table.

    The same table gives the same surrogate, to the last bits of the linear algebra.

    Args:
        table: The curves; some may be short or have gaps.
        mode: "min" or "max".
        max_resource: Levels of a full training; by default the highest of the table.

    Raises:
        UsageError: If fewer than 8 configs were followed to the end, or none was timed.
    """
    # scipy's library must have been loaded to be told.
    import scipy.linalg  # noqa: F401

    with one_thread():
        return _fit(table, mode, max_resource or table.max_resource())


def _fit(table: CurveTable, mode: str, R: int) -> Fit:
    curves = table.curves()
    values = curves.values[table.format.metric]
    if not np.isfinite(values).any():
        raise UsageError(f"{table.format.metric} must be finite somewhere; it is nowhere")
    scale = Scale.of(values, mode)
    grouped = group(curves, table.format.space, scale, R)
    n_whole = int(grouped.whole.sum())
    if n_whole < FEWEST_WHOLE:
        raise UsageError(
            f"a surrogate needs at least {FEWEST_WHOLE} configs with all {R} levels; got {n_whole}"
        )
    shapes = Shapes.of(grouped.loss[grouped.whole])
    ranked = sorted({0, round(R**0.5) - 1, R - 1})  # early, amid (levels count by ratio), last
    directions = Index.of(grouped.coordinates, [grouped.loss[:, level] for level in ranked])
    all_features = directions.features(grouped.coordinates)
    # What comes before a divergence is of a size of its own; whole curves are lent there.
    known = np.flatnonzero(grouped.seen.any(axis=1) & (grouped.diverged == 0))
    told = [shapes.weights(grouped.loss[i], grouped.seen[i]) for i in known.tolist()]
    observed, noise = (np.array(column) for column in zip(*told, strict=True))
    features = all_features[known]
    weights = [regress(features, observed[:, k], noise[:, k]) for k in range(observed.shape[1])]
    share, totals = seconds_by_config(curves, grouped, R)
    timed = np.flatnonzero(np.isfinite(totals))
    log_seconds = np.log(totals[timed])
    seconds = regress(all_features[timed], log_seconds, np.zeros(len(timed)))
    process = _process(weights)
    left_out = _left_out(weights, all_features, known)
    means = process.mean(all_features[grouped.copy_of], features)
    fitted = Fitted(
        scale=scale,
        shapes=shapes,
        directions=directions,
        features=all_features,
        known=known,
        weights=process,
        lengths=_common_lengths(process.lengths, np.sqrt(shapes.variance)),
        beyond=_beyond(grouped, shapes.curve(process.mean(all_features, features))),
        donor=np.flatnonzero(grouped.whole),
        diverged=grouped.diverged,
        last=grouped.last,
        timed=timed,
        seconds=_process([seconds]),
        share=share,
        spread=seconds.noise(),
        copies=grouped.copies,
        copy_weights=means.reshape(len(grouped.copies), len(shapes.variance)),
    )
    return Fit(fitted, grouped, weights, left_out)


def _process(regressions: list[Regression]) -> Process:
    return Process(
        lengths=np.array([np.exp(r.gp.theta.features) for r in regressions]),
        weights=np.array([r.unit * r.gp.weights[:, 0] for r in regressions]),
        shift=np.array([r.shift for r in regressions]),
    )


def _common_lengths(lengths: Array, deviation: Array) -> Array:
    """Return lengths under which a squared distance is the mean of those under each process."""
    share = deviation / deviation.sum()
    in_any_case = 0.1 * 4 / lengths.shape[1]  # a tenth of what processes start from
    out: Array = 1 / np.sqrt(share @ lengths**-2.0 + in_any_case)
    return out


def _left_out(regressions: list[Regression], features: Array, known: Indices) -> Array:
    """Return the numbers of each config as predicted from all others, shape ``(m, K)``."""
    out = np.column_stack([r.mean(features) for r in regressions])
    for k, regression in enumerate(regressions):
        out[known, k] = regression.left_out()
    return out


def _beyond(grouped: Grouped, expected: Array) -> Array:
    """Return what curves have beyond what is expected; all of those that diverged."""
    beyond = np.zeros_like(grouped.loss)
    for i in np.flatnonzero(grouped.seen.any(axis=1)).tolist():
        left = grouped.loss[i] - (0.0 if grouped.diverged[i] else expected[i])
        seen = np.flatnonzero(grouped.seen[i])
        beyond[i] = np.interp(np.arange(len(left)), seen, left[seen])  # gaps, from either side
    return beyond
