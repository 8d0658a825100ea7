"""Leave-one-config-out cross-validation of the surrogate.

All readings of a config, from whichever methods and sources, are left out together. The configs
fall into folds; for each fold the backbone, the process's log-parameters, the path lengths
inferred for BO's curves and the seconds an epoch are fitted anew without the fold's configs. Then
each config of the fold is predicted from the readings of all others. The curves of BO whose
configs are unknown belong to no config and stay in every fold.

What is not repeated in the folds is the choice of the backbone's terms and of the values at
which its fit starts: both were settled with all curves in view, so that the errors are
somewhat smaller than those of a model that had been chosen blindly.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.surrogate import CurveGP
from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.collected import with_collected_words, with_published_words
from sims.transformer_wikitext2.fit import fit, residual_readings
from sims.transformer_wikitext2.recorded import EPOCHS, Recorded, unplaced

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Indices = NDArray[np.intp]

CHECKED = (1, 3, 9, 27, 40)
NORMAL_90 = 1.6448536269514722  # half width of the central 90 % of a normal, in deviations
TRIMMED = 0.05  # share of the worst errors that a trimmed mean leaves out


class LeftOut(NamedTuple):
    """Predictions of every config's curve without its own readings.

    Attributes:
        recorded: What was recorded.
        mean: Predicted loss, shape ``(n, 40)``.
        deviation: Its standard deviation, reading error not included, shape ``(n, 40)``.
    """

    recorded: Recorded
    mean: Matrix
    deviation: Matrix

    def only(self, rows: NDArray[np.bool_]) -> "LeftOut":
        """Return the predictions of some of the rows, a mask of shape ``(n,)``."""
        kept = self.recorded.only(np.flatnonzero(rows))
        return LeftOut(kept, self.mean[rows], self.deviation[rows])

    @property
    def error(self) -> Matrix:
        """Absolute error, NaN where nothing was recorded, shape ``(n, 40)``."""
        return np.abs(self.mean - self.recorded.loss)

    @property
    def covered(self) -> Matrix:
        """1 where the 90 % band holds the reading, 0 where not, NaN without, ``(n, 40)``."""
        half = NORMAL_90 * np.hypot(self.deviation, self.recorded.sigma)
        return np.where(np.isnan(self.error), np.nan, self.error <= half)


class EpochScore(NamedTuple):
    """How good the predictions of the loss after one epoch number are.

    Attributes:
        epoch: The epoch.
        configs: How many configs were seen there.
        mean: Mean absolute error.
        median: Median absolute error.
        trimmed_mean: Mean absolute error without the worst 5 %.
        spearman: Rank correlation of predicted and recorded losses.
        coverage_90: Share of the readings within the 90 % band.
    """

    epoch: int
    configs: int
    mean: float
    median: float
    trimmed_mean: float
    spearman: float
    coverage_90: float


def folds(recorded: Recorded, n: int) -> list[Indices]:
    """Return the configs of each fold; every fold covers all path lengths."""
    log_path = bb.inputs(recorded.configs).log_path
    configs = list(same_config(recorded).values())
    order = np.argsort([log_path[rows[0]] for rows in configs], kind="stable")
    return [np.sort(np.concatenate([configs[j] for j in order[i::n]])) for i in range(n)]


def same_config(recorded: Recorded) -> dict[tuple[float, ...], list[int]]:
    """Return the rows of each config: two where it is both published and collected."""
    found: dict[tuple[float, ...], list[int]] = {}
    for i, config in enumerate(recorded.configs.tolist()):
        found.setdefault(tuple(config), []).append(i)
    return found


def cross_validate(recorded: Recorded, n_folds: int = 10, jobs: int = 1) -> LeftOut:
    """Return predictions of every recorded config without its own readings.

    Args:
        recorded: The recorded curves.
        n_folds: How many times everything is fitted anew.
        jobs: How many processes fit at once.
    """
    parts = folds(recorded, n_folds)
    mean = np.empty((len(recorded.configs), EPOCHS))
    deviation = np.empty_like(mean)
    if jobs == 1:
        found = [predict_left_out(recorded, part) for part in parts]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            found = list(pool.map(predict_left_out, [recorded] * n_folds, parts))
    for part, (means, deviations) in zip(parts, found, strict=True):
        mean[part], deviation[part] = means, deviations
    return LeftOut(recorded, mean, deviation)


def predict_left_out(recorded: Recorded, left_out: Indices) -> tuple[Matrix, Matrix]:
    """Return predictions of the configs of one fold, fitted without them.

    Args:
        recorded: The recorded curves.
        left_out: Which configs to leave out, shape ``(k,)``.

    Returns:
        Means and deviations, each of shape ``(k, 40)``.
    """
    keep = np.setdiff1d(np.arange(len(recorded.configs)), left_out)
    fitted = fit(recorded.only(keep))
    backbone = (fitted.parameters, fitted.path, fitted.dropout)
    extra = unplaced(fitted.seconds)
    data = residual_readings(with_published_words(recorded, fitted.offset), extra, backbone)
    gp = CurveGP(data, fitted.gp.theta, EPOCHS)
    at = bb.Inputs(*(part[left_out, None] for part in bb.inputs(recorded.configs)))
    terms = bb.backbone(fitted.parameters, at, np.log(np.arange(1.0, EPOCHS + 1)))
    rows = same_config(recorded)
    residual = [gp.leave_out(i, *rows[tuple(recorded.configs[i].tolist())]) for i in left_out]
    means = terms.loss + terms.scale * np.stack([mean for mean, _ in residual])
    collected = recorded.collected[left_out, None]
    means = np.where(collected, with_collected_words(means, fitted.offset), means)
    return means, terms.scale * np.stack([deviation for _, deviation in residual])


def score(left_out: LeftOut, epoch: int) -> EpochScore:
    """Return how good the predictions of the loss after `epoch` epochs are."""
    from scipy.stats import spearmanr

    error = left_out.error[:, epoch - 1]
    seen = np.isfinite(error)
    ordered = np.sort(error[seen])
    kept = ordered[: int(np.ceil((1 - TRIMMED) * len(ordered)))]
    ranks = spearmanr(left_out.mean[seen, epoch - 1], left_out.recorded.loss[seen, epoch - 1])
    return EpochScore(
        epoch=epoch,
        configs=len(ordered),
        mean=float(ordered.mean()),
        median=float(np.median(ordered)),
        trimmed_mean=float(kept.mean()),
        spearman=float(ranks.statistic),
        coverage_90=float(left_out.covered[seen, epoch - 1].mean()),
    )


def coverage(left_out: LeftOut) -> float:
    """Return the share of the readings at the checked epochs within the 90 % band."""
    at = np.array(CHECKED) - 1
    return float(np.nanmean(left_out.covered[:, at]))
