"""Fit the surrogate to the recorded curves: `python -m sims.transformer_wikitext2.fit`.

Three steps, none of which knows which method recorded a curve:

1. Seconds an epoch against the batch size, a robust straight line in 1 / batch_size.
2. The physical backbone, by robust least squares. The curves of BO whose configs are unknown
   take part with their path length and dropout as unknowns of their own: those are the only
   curves from the best region. The published end values bound that region too: with eight
   workers BO ended at 5.17, MOBSTER at 5.16 to 5.19, so the best final loss of the space is
   held at 5.14, until curves are collected there.
3. A Gaussian process on what the backbone leaves, by its marginal likelihood.
"""

import time
from importlib.resources import files
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from sims.surrogate import CurveGP, Readings, Theta, thinned
from sims.surrogate import fit as fit_gp
from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.collected import (
    all_recorded,
    collected_paths,
    fit_offset,
    with_published_words,
)
from sims.transformer_wikitext2.noise import fit_noise
from sims.transformer_wikitext2.recorded import EPOCHS, Recorded, Unplaced, unplaced
from sims.transformer_wikitext2.stored import Surrogate, counts, save

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# Neighbouring epochs say nearly the same; these carry a curve's shape.
USED = np.array([1, 2, 3, 4, 5, 7, 9, 12, 16, 20, 24, 27, 31, 35, 40])
BEST_FINAL_LOSS = 5.14
# The region of the best losses counts as recorded once so many curves with a longer path than the
# published ones' were collected to the end.
ENOUGH = 10
MOST_READINGS = 1500  # by which the process's parameters are fitted
MISFIT = 0.04  # what the backbone is expected to leave, in loss
THETA = Theta(
    shared=np.log(0.1),
    own=np.log(0.03),
    noise=np.log(0.005),
    shared_level=np.log(1.0),
    own_level=np.log(1.0),
    features=(np.log(0.3), np.log(1.0), np.log(1.0)),
)
# The features' lengths are held near values that make sense: with little left to explain,
# the likelihood alone would shrink them until no two configs are alike.
THETA_SPREAD = Theta(1.5, 1.5, 1.5, 0.7, 0.7, (0.25, 0.25, 0.25))


def fit_seconds(recorded: Recorded) -> Vector:
    """Return fixed seconds an epoch, and seconds times the batch size, shape ``(2,)``."""
    # The first epochs of a trial take longer, so a curve must be long enough to judge by.
    long = np.isfinite(recorded.epoch_seconds) & (np.isfinite(recorded.loss).sum(axis=1) > 15)
    batch, seconds = recorded.configs[long, 2], recorded.epoch_seconds[long]

    def misfit(v: Vector) -> Vector:
        out: Vector = v[0] + v[1] / batch - seconds
        return out

    found: Vector = least_squares(misfit, [40.0, 400.0], loss="soft_l1").x
    return found


def fit_backbone(recorded: Recorded, extra: Unplaced) -> tuple[Vector, Vector, Vector]:
    """Return the backbone's parameters, and log path and dropout of the unplaced curves."""
    row, column = _used(recorded.loss)
    loss, sigma = recorded.loss[row, column], recorded.sigma[row, column]
    at = bb.Inputs(*(part[row] for part in bb.inputs(recorded.configs)))
    log_epoch = np.log(column + 1.0)
    row2, column2 = _used(extra.loss)
    loss2, sigma2 = extra.loss[row2, column2], extra.sigma[row2, column2]
    log_epoch2 = np.log(column2 + 1.0)
    corner = _corner()
    n_bounds = 0 if reached(recorded) else 1
    start, k = bb.start(), len(extra.curve)
    ceiling = np.log(bb.longest_path(extra.batch_size))

    def place(z: Vector) -> tuple[Vector, Vector, Vector]:
        """Unknowns are unbounded: log of how far below the longest path, logit of dropout."""
        below, logit = z[bb.SIZE : bb.SIZE + k], z[bb.SIZE + k :]
        path = ceiling - np.exp(np.minimum(below, 4))
        return z[: bb.SIZE], path, 0.99 / (1 + np.exp(-np.clip(logit, -30, 30)))

    def placed(z: Vector) -> Vector:
        v, path, dropout = place(z)
        log_batch = np.log(extra.batch_size / 30)
        inputs = bb.Inputs(path[row2], dropout[row2], log_batch[row2], np.zeros(len(row2)))
        return _misfit(v, inputs, log_epoch2, loss2, sigma2)

    def known(v: Vector) -> Vector:
        return _misfit(v, at, log_epoch, loss, sigma)

    def bound(v: Vector, error: float) -> Vector:
        best = bb.backbone(v, corner, np.log(float(EPOCHS))).loss.min()
        return np.array([(best - BEST_FINAL_LOSS) / error])[:n_bounds]

    def residuals(z: Vector, error: float) -> Vector:
        v = z[: bb.SIZE]
        below, logit = z[bb.SIZE : bb.SIZE + k], z[bb.SIZE + k :]
        prior = np.concatenate([(v - start) / bb.freedom(), below / 3, logit / 1.5])
        return np.concatenate([known(v), placed(z), bound(v, error), prior])

    n, n2 = len(row), len(row2)

    def jacobian(z: Vector, error: float) -> Matrix:
        """Forward differences; each unplaced curve depends on its own two unknowns alone."""
        J = np.zeros((n + n2 + n_bounds + len(z), len(z)))
        now, step = residuals(z, error), 1e-6
        for j in range(bb.SIZE):
            moved = z.copy()
            moved[j] += step
            v = moved[: bb.SIZE]
            parts = np.concatenate([known(v), placed(moved), bound(v, error)])
            J[: len(parts), j] = (parts - now[: len(parts)]) / step
        for first in (bb.SIZE, bb.SIZE + k):
            moved = z.copy()
            moved[first : first + k] += step
            J[n + np.arange(n2), first + row2] = (placed(moved) - now[n : n + n2]) / step
        weights = np.concatenate([1 / bb.freedom(), np.full(k, 1 / 3), np.full(k, 1 / 1.5)])
        J[n + n2 + n_bounds :] = np.diag(weights)
        return J

    below = np.log(np.clip(ceiling - np.log(5.0), 0.3, None))
    z = np.concatenate([start, below, np.full(k, -1.0)])
    # The bound is stiff: first bring the curves near it.
    for error in (0.05, 0.003) if n_bounds else (0.05,):
        z = least_squares(
            residuals,
            z,
            jac=jacobian,
            args=(error,),
            loss="soft_l1",
            x_scale="jac",
            max_nfev=100,
            ftol=1e-5,
        ).x
    return place(z)


def fit_residuals(
    recorded: Recorded,
    extra: Unplaced,
    backbone: tuple[Vector, Vector, Vector],
    theta: Theta | None = None,
) -> CurveGP:
    """Return the process on what the backbone leaves, fitted unless `theta` is given."""
    data = residual_readings(recorded, extra, backbone)
    if theta is None:
        theta = fit_gp(thinned(data, MOST_READINGS), THETA, THETA_SPREAD)
    return CurveGP(data, theta, EPOCHS)


def residual_readings(
    recorded: Recorded, extra: Unplaced, backbone: tuple[Vector, Vector, Vector]
) -> Readings:
    """Return what the backbone leaves of each reading, in units of its scale."""
    v, path, dropout = backbone
    at = bb.inputs(recorded.configs)
    log_batch = np.log(extra.batch_size / 30)
    all_at = bb.Inputs(
        np.concatenate([at.log_path, path]),
        np.concatenate([at.dropout, dropout]),
        np.concatenate([at.log_batch, log_batch]),
        np.concatenate([at.log_clip, np.zeros(len(path))]),
    )
    loss = np.concatenate([recorded.loss, extra.loss])
    sigma = np.concatenate([recorded.sigma, extra.sigma])
    row, column = _used(loss)
    terms = bb.backbone(v, bb.Inputs(*(part[row] for part in all_at)), np.log(column + 1.0))
    return Readings(
        features=features(all_at),
        config=row,
        level=np.asarray(column + 1, dtype=np.float64),
        value=(loss[row, column] - terms.loss) / terms.scale,
        noise=sigma[row, column] / terms.scale,
    )


def features(at: bb.Inputs) -> Matrix:
    """Return the features that the process sees, shape ``(q, 3)``."""
    return np.column_stack([at.dropout, at.log_path, at.log_batch])


def fit(recorded: Recorded, theta: Theta | None = None) -> Surrogate:
    """Return the surrogate fitted to the recorded curves.

    Args:
        recorded: The curves.
        theta: Log-parameters of the process; fitted if left out.
    """
    seconds = fit_seconds(recorded)
    extra = unplaced(seconds)
    offset = 0.0
    if recorded.collected.any():
        published = recorded.only(np.flatnonzero(~recorded.collected))
        offset = fit_offset(recorded, fit_backbone(published, extra)[0])
    moved = with_published_words(recorded, offset)
    found = fit_backbone(moved, extra)
    gp = fit_residuals(moved, extra, found, theta)
    noise = fit_noise(recorded, found[0])
    return Surrogate(seconds, *found, gp=gp, noise=noise, offset=offset)


def reached(recorded: Recorded) -> bool:
    """Return whether enough curves were collected where the best losses are."""
    return int((collected_paths(recorded) > bb.LONGEST_PUBLISHED_PATH).sum()) >= ENOUGH


def _used(loss: Matrix) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    row, column = np.nonzero(np.isfinite(loss))
    used = np.isin(column + 1, USED)
    return row[used], column[used]


def _misfit(v: Vector, at: bb.Inputs, log_epoch: Vector, loss: Vector, sigma: Vector) -> Vector:
    terms = bb.backbone(v, at, log_epoch)
    out: Vector = (loss - terms.loss) / np.hypot(MISFIT * terms.scale, sigma)
    return out


def _corner() -> bb.Inputs:
    """Return a grid over the region where the best configs lie."""
    batch, dropout, share = np.meshgrid(
        [16.0, 20.0, 24.0, 32.0, 40.0, 48.0], np.linspace(0, 0.6, 25), [1.0, 0.9, 0.7]
    )
    path = np.log(share * bb.longest_path(batch))
    return bb.Inputs(
        path.ravel(), dropout.ravel(), np.log(batch / 30).ravel(), np.zeros(batch.size)
    )


@click.command()
def main() -> None:
    """Fit the surrogate and write it beside the recorded curves."""
    began = time.perf_counter()
    recorded = all_recorded()
    for source, n in counts(recorded).items():
        click.echo(f"{n} curves {source}")
    surrogate = fit(recorded)
    path = save(recorded, surrogate, Path(str(files(__package__) / "data")))
    values = dict(zip(bb.START, surrogate.parameters[bb.FREE :], strict=True))
    for name, value in values.items():
        click.echo(f"{name:22} {value:8.3f}")
    click.echo(f"knots {np.round(surrogate.parameters[: bb.FREE], 3)}")
    click.echo(f"process {surrogate.gp.theta}")
    click.echo(f"seconds {surrogate.seconds}, noise between runs {surrogate.noise:.4f}")
    if surrogate.offset:
        click.echo(f"collected losses start {surrogate.offset:+.4f} above the published ones")
    click.echo(f"{path} ({path.stat().st_size} bytes) in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
