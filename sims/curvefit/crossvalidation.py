"""How well the surrogate predicts configs that it has not seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.curvefit.fit import Fit
from sims.curvefit.model import around, distances
from sims.curvetable import Curves

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class LeftOut(NamedTuple):
    """Curves of `m` configs, each predicted from all others.

    The principal curves, the index and the lengths of the features are those of all configs;
    everything else leaves the config out.

    Attributes:
        recorded: The metric as recorded, NaN where not seen, shape ``(m, R)``.
        predicted: As predicted, shape ``(m, R)``.
        nearest: The curve of the nearest config seen at all levels, shape ``(m, R)``.
        diverged: Which diverged, shape ``(m,)``.
        foretold: Which were predicted to, shape ``(m,)``.
    """

    recorded: Array
    predicted: Array
    nearest: Array
    diverged: Flags
    foretold: Flags


class Score(NamedTuple):
    """Errors over configs that were seen at a level, and not predicted to diverge.

    They are absolute, in the metric's own unit.

    Attributes:
        name: Of what.
        n: Number of configs.
        median: Median error.
        mean: Mean error.
        rank: Rank correlation of predicted with recorded values (Spearman); NaN below 3.
        nearest: Median error of the nearest config's curve.
        rises: Mean over configs of the summed rises of the loss from level to level.
        rises_predicted: The same of the predicted curves.
    """

    name: str
    n: int
    median: float
    mean: float
    rank: float
    nearest: float
    rises: float
    rises_predicted: float


def leave_one_out(fit: Fit) -> LeftOut:
    """Predict each config from all others (Rasmussen and Williams 2006, section 5.4.2)."""
    fitted, grouped = fit.fitted, fit.grouped
    m = len(fitted.features)
    sq = distances(fitted, fitted.features)
    sq[np.diag_indices(m)] = np.inf
    found = around(fitted, sq, fit.left_out)
    to_metric = fitted.scale.from_scale
    nearest = fitted.donor[sq[:, fitted.donor].argmin(axis=1)]
    return LeftOut(
        recorded=np.where(grouped.seen, to_metric(np.nan_to_num(grouped.loss)), np.nan),
        predicted=to_metric(found.loss),
        nearest=to_metric(grouped.loss[nearest]),
        diverged=grouped.diverged > 0,
        foretold=found.diverged > 0,
    )


def score(left_out: LeftOut, rows: Flags, level: int, name: str, sign: float) -> Score:
    """Return the errors at a level.

    Args:
        left_out: The predictions.
        rows: Which configs count, shape ``(m,)``.
        level: From 1.
        name: What the score is of.
        sign: 1 if small values of the metric are good, -1 if large ones are.
    """
    from scipy.stats import spearmanr

    rows = rows & ~left_out.foretold & np.isfinite(left_out.recorded[:, level - 1])
    recorded, predicted = left_out.recorded[rows], left_out.predicted[rows]
    if not rows.any():
        return Score(name, 0, *(float("nan"),) * 6)
    truth, guess = recorded[:, level - 1], predicted[:, level - 1]
    error = np.abs(guess - truth)
    varied = len(truth) > 2 and np.ptp(truth) > 0 and np.ptp(guess) > 0
    whole = np.isfinite(recorded).all(axis=1)
    return Score(
        name=name,
        n=len(truth),
        median=float(np.median(error)),
        mean=float(error.mean()),
        rank=float(spearmanr(guess, truth).statistic) if varied else float("nan"),
        nearest=float(np.median(np.abs(left_out.nearest[rows, level - 1] - truth))),
        rises=_rises(sign * recorded[whole]),
        rises_predicted=_rises(sign * predicted[whole]),
    )


def sources_of(fit: Fit, curves: Curves) -> list[str]:
    """Return the source of each config of a fit: that of its first curve in the table."""
    found: dict[int, str] = {}
    for config, source in zip(fit.grouped.config.tolist(), curves.source, strict=True):
        found.setdefault(config, source)
    return [found[i] for i in range(len(found))]


def report(fit: Fit, left_out: LeftOut, sources: Sequence[str]) -> list[str]:
    """Return the lines of a table of errors by source.

    Args:
        fit: The surrogate.
        left_out: Its predictions.
        sources: Source of each config.
    """
    sign, R = fit.fitted.scale.sign, left_out.recorded.shape[1]
    lines = [
        "source          level configs   median     mean  rank corr  nearest   rises (predicted)"
    ]
    kinds = sorted(set(sources))
    for kind in [*kinds, "all"] if len(kinds) > 1 else kinds:
        rows = np.array([kind in (source, "all") for source in sources])
        for level in dict.fromkeys((1, R)):
            s = score(left_out, rows, level, kind, sign)
            lines.append(
                f"{kind or 'recorded':15.15} {level:5} {s.n:7} {s.median:8.4f} {s.mean:8.4f} "
                f"{s.rank:10.3f} {s.nearest:8.4f} {s.rises:7.3f} ({s.rises_predicted:.3f})"
            )
    n = int(left_out.diverged.sum())
    if n or left_out.foretold.any():
        right = int((left_out.diverged & left_out.foretold).sum())
        wrong = int((~left_out.diverged & left_out.foretold).sum())
        lines.append(f"{right} of {n} divergences foretold, {wrong} falsely")
    return lines


def _rises(loss: Array) -> float:
    if not len(loss):
        return float("nan")
    return float(np.maximum(np.diff(loss, axis=1), 0.0).sum(axis=1).mean())
