"""The physics of the learning curves: how far clipped SGD has walked, and what that buys.

Gradient clipping is at work nearly all the time, so a step has the length lr x clip, which
momentum stretches by 1 / (1 - momentum) in the long run. The length of the path walked so far,
s = x e after e epochs of length x, orders nearly everything. What the model adds to it:

- **Noise turns steps away.** At the start the part of a step that goes downhill is the cosine
  between the noisy gradient and the true one, (1 + kappa / batch_size)^(-1/2); dropout p
  raises kappa with the odds p / (1 - p).
- **Gradients below the clip value.** Later the norm of the gradient falls to about 0.6, and a
  larger clip value no longer lengthens the step; the norm is mostly noise, so it falls with
  the square root of the batch size (fitted, not assumed).
- **One curve of progress** over the log of the effective path, a spline; for long paths a
  line that saturates slowly.
- **Instability**: with dropout, once the loss has fallen to the plateau near 9, the loss
  without dropout jumps (to 12 to 15 at dropout 0.9) and comes down later.
- **Over-fitting**: with a long path and little dropout the loss rises again.

All of it is a function of log x, dropout, batch size, clip and the epoch.
"""

from functools import lru_cache
from math import exp
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Array = NDArray[np.float64]

TRAIN_TOKENS = 2_088_628
BPTT = 35
UNTRAINED = 10.817  # loss of the untrained model; it depends on the order of the vocabulary
# Of the published configs only one with a longer path was followed to the end; beyond, unless
# curves were collected there, the surrogate leans on curves whose configs had to be inferred.
LONGEST_PUBLISHED_PATH = 10.0

# Log effective path, and where the fit of the log of progress less it starts. At the first
# knot that is 0: short paths buy what the slope at the start says.
KNOTS = np.array([-1.5, -0.7, 0.0, 0.4, 0.8, 1.3, 2.0, 3.0, 4.0, 5.0, 6.5])
PROGRESS = np.array([-0.03, -0.02, 0.0, -0.1, -0.35, -0.87, -1.75, -2.63, -3.5, -4.9])
FREE = len(PROGRESS)
# The other parameters, in this order, with where their fit starts; `log_` ones are logs.
START = {
    "log_gain": (0.5, 2.0),  # norm of the gradient that descends at the start
    "log_kappa": (2.3, 2.0),  # noise of the gradient, in units of the batch size: without dropout,
    "log_kappa_2": (2.4, 2.0),  # with the square of the odds of dropout,
    "log_kappa_3": (2.2, 2.0),  # and with their cube
    "late_at": (2.0, 1.0),  # log path at which the early regime gives way to the late one,
    "log_late_width": (-0.8, 2.0),  # and how gradually
    "late_gain": (0.6, 2.0),  # late regime: log of the gain,
    "batch": (0.45, 2.0),  # its power of the batch size at log path 3,
    "batch_slope": (0.05, 2.0),  # how that power grows with the log path,
    "dropout": (1.5, 2.0),  # what dropout costs,
    "odds": (0.15, 2.0),  # and what its odds cost, in e-folds of the path
    "log_norm": (-0.5, 2.0),  # norm of late gradients,
    "norm_batch": (-0.5, 0.5),  # its power of the batch size,
    "norm_dropout": (1.5, 1.0),  # and what dropout adds to its log
    "log_sharpness": (1.8, 0.7),  # how sharply the clip value and that norm cut each other off
    "log_saturation": (-5.0, 2.0),  # how fast the line of long paths bends
    "log_jump": (-0.6, 2.0),  # height of the jump at even odds of dropout,
    "log_jump_power": (0.2, 2.0),  # its power of the odds,
    "log_jump_ceiling": (2.0, 0.3),  # the height it tends to: no recorded loss is above 15.3,
    "jump_at": (0.6, 2.0),  # log effective path at which it comes,
    "log_jump_width": (-2.8, 2.0),  # how gradually it rises,
    "log_decay": (0.5, 2.0),  # and e-folds of path over which it decays
    "log_overfit": (0.0, 2.0),  # slope of over-fitting,
    "overfit_at": (8.3, 2.0),  # the log path at which it sets in without dropout,
    "log_overfit_dropout": (1.3, 0.3),  # how much later with dropout,
    "log_overfit_width": (-1.2, 0.5),  # and how gradually
}
SIZE = FREE + len(START)


class Inputs(NamedTuple):
    """What the backbone needs to know of configs; arrays that broadcast with log epochs.

    Attributes:
        log_path: Log of the path length of an epoch.
        dropout: Dropout rate.
        log_batch: Log of batch size / 30.
        log_clip: Log of the clip value.
    """

    log_path: Array
    dropout: Array
    log_batch: Array
    log_clip: Array


class Terms(NamedTuple):
    """What the backbone says of each config and epoch; arrays of one shape.

    Attributes:
        loss: Validation loss.
        scale: How large residuals are here relative to elsewhere: they are small while little
            is learned and large where the loss jumps.
    """

    loss: Array
    scale: Array


def start() -> Vector:
    """Return the parameters at which fitting starts, shape ``(SIZE,)``."""
    return np.concatenate([PROGRESS, [value for value, _ in START.values()]])


def freedom() -> Vector:
    """Return how far the parameters may reasonably lie from `start`, shape ``(SIZE,)``."""
    return np.concatenate([np.full(FREE, 2.0), [spread for _, spread in START.values()]])


def longest_path(batch_size: Vector) -> Vector:
    """Return the longest path of an epoch that the config space allows, same shape."""
    out: Vector = 1e-3 / (1 - 0.99) * TRAIN_TOKENS / BPTT / batch_size
    return out


def inputs(configs: Array) -> Inputs:
    """Return what the backbone needs to know of configs.

    Args:
        configs: lr, dropout, batch_size, momentum, clip, shape ``(q, 5)``.

    Returns:
        Columns of shape ``(q,)``.
    """
    lr, dropout, batch_size, momentum, clip = configs.T
    log_clip = np.log(np.maximum(clip, 1e-12))  # the space includes a clip of 0
    log_path = np.log(lr / (1 - momentum) * TRAIN_TOKENS / BPTT / batch_size) + log_clip
    return Inputs(log_path, dropout, np.log(batch_size / 30), log_clip)


def backbone(parameters: Vector, at: Inputs, log_epoch: Array) -> Terms:
    """Return loss and scale.

    Args:
        parameters: Values at all knots but the first, then the others in the order of
            `START`, shape ``(SIZE,)``.
        at: The configs; arrays that broadcast with `log_epoch`.
        log_epoch: Log of the number of epochs.
    """
    v = dict(zip(START, parameters[FREE:].tolist(), strict=True))
    odds = at.dropout / (1 - at.dropout)
    log_s = at.log_path + log_epoch
    kappa = exp(v["log_kappa"]) + exp(v["log_kappa_2"]) * odds**2 + exp(v["log_kappa_3"]) * odds**3
    early = v["log_gain"] - 0.5 * np.log1p(kappa / (30 * np.exp(at.log_batch)))
    sharpness = exp(v["log_sharpness"])
    norm = v["log_norm"] + v["norm_batch"] * at.log_batch + v["norm_dropout"] * at.dropout
    unclipped = -_softplus(sharpness * (at.log_clip - norm)) / sharpness
    noise = (v["batch"] + v["batch_slope"] * (log_s - 3)) * at.log_batch
    late = v["late_gain"] + noise - v["dropout"] * at.dropout - v["odds"] * odds + unclipped
    lateness = _sigmoid((log_s - v["late_at"]) / exp(v["log_late_width"]))
    effective = log_s + early + lateness * (late - early)
    progress = _progress(np.r_[0.0, parameters[:FREE]], exp(v["log_saturation"]), effective)

    beyond = log_s + early - v["jump_at"]
    ceiling = exp(v["log_jump_ceiling"])
    power = exp(min(v["log_jump_power"], 5.0))  # steps that a fit tries and rejects overflow
    unbounded = exp(v["log_jump"]) * odds**power
    height = -ceiling * np.expm1(-unbounded / ceiling)
    rise = _sigmoid(beyond / exp(v["log_jump_width"]))
    jump = height * rise * np.exp(-_softplus(4 * beyond) / 4 / exp(v["log_decay"]))

    width = exp(v["log_overfit_width"])
    onset = v["overfit_at"] + exp(v["log_overfit_dropout"]) * at.dropout
    past = log_s + unclipped + v["batch"] * at.log_batch - onset
    overfit = exp(v["log_overfit"]) * width * _softplus(past / width)

    scale = -np.expm1(-np.exp(np.minimum(log_s + early, 3.0))) * (1 + jump)
    return Terms(UNTRAINED - progress + jump + overfit, scale)


def _progress(values: Vector, saturation: float, effective: Array) -> Array:
    """Return how far the loss has fallen: a cubic Hermite spline, then a saturating line."""
    inside = np.minimum(np.maximum(effective, KNOTS[0]), KNOTS[-1])
    i = np.minimum(np.searchsorted(KNOTS, inside, side="right") - 1, len(KNOTS) - 2)
    width = KNOTS[i + 1] - KNOTS[i]
    t = (inside - KNOTS[i]) / width
    slopes = _slopes(tuple(values.tolist()))
    curve = (
        (1 + 2 * t) * (1 - t) ** 2 * values[i]
        + t * (1 - t) ** 2 * width * slopes[i]
        + t * t * (3 - 2 * t) * values[i + 1]
        + t * t * (t - 1) * width * slopes[i + 1]
    )
    progress = np.exp(np.minimum(effective, KNOTS[-1]) + curve)
    end = np.exp(KNOTS[-1] + values[-1]) * (1 + slopes[-1])
    tail = np.maximum(effective - KNOTS[-1], 0)
    out: Array = progress + end * -np.expm1(-saturation * tail) / saturation
    return out


@lru_cache(maxsize=4)
def _slopes(values: tuple[float, ...]) -> Vector:
    """Return the slopes of the spline at its knots; the same ones serve many configs."""
    return np.asarray(np.gradient(np.array(values), KNOTS), dtype=np.float64)


def _softplus(z: Array) -> Array:
    out: Array = np.logaddexp(0, z)
    return out


def _sigmoid(z: Array) -> Array:
    out: Array = 0.5 * (1 + np.tanh(0.5 * z))  # never overflows
    return out
