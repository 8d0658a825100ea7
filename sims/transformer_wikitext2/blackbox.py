"""The benchmark's blackbox: recorded curves as recorded, a surrogate everywhere else."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.blackbox import Curve
from sims.surrogate import CurveGP, Readings
from sims.transformer_wikitext2.recorded import EPOCHS, Recorded, as_row, merge, readings

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

TRAIN_TOKENS = 2_088_628
BPTT = 35
UNTRAINED = 10.817
THETA = np.log([1.985, 0.148, 0.0138, 0.5, 0.7, 1.97, 0.316])


def path_length(configs: Matrix) -> Vector:
    """Return the length of the path that clipped SGD walks in an epoch, shape ``(q,)``.

    Gradient norms stay above the clip value, so every step has the length lr x clip, which
    momentum stretches by 1 / (1 - momentum) in the long run.

    Args:
        configs: lr, dropout, batch_size, momentum, clip, shape ``(q, 5)``.
    """
    lr, _, batch_size, momentum, clip = configs.T
    steps = TRAIN_TOKENS / BPTT / batch_size
    out: Vector = lr / (1 - momentum) * clip * steps
    return out


def features(configs: Matrix) -> Matrix:
    """Return the features that the surrogate sees: log10 path length and dropout."""
    return np.column_stack([np.log10(np.maximum(path_length(configs), 1e-9)), configs[:, 1]])


class _Known(NamedTuple):
    loss: Vector
    epoch_seconds: float
    source: tuple[str, ...]


class Wikitext2Blackbox:
    """Validation loss and seconds by epoch of any config of the space.

    Args:
        recorded: The recorded curves.
    """

    def __init__(self, recorded: Recorded) -> None:
        row, column = np.nonzero(np.isfinite(recorded.loss))
        self._gp = CurveGP(
            Readings(
                features=features(recorded.configs),
                config=row,
                level=np.asarray(column + 1, dtype=np.float64),
                value=recorded.loss[row, column] - 9.0,
                noise=recorded.sigma[row, column],
            ),
            THETA,
            EPOCHS,
        )
        seen = np.isfinite(recorded.epoch_seconds)
        inverse = np.column_stack([np.ones(seen.sum()), 1 / recorded.configs[seen, 2]])
        self._seconds, *_ = np.linalg.lstsq(inverse, recorded.epoch_seconds[seen], rcond=None)
        self._known = {
            tuple(recorded.configs[i]): self._replay(recorded, i)
            for i in range(len(recorded.configs))
            if recorded.exact[i]
        }

    def _replay(self, recorded: Recorded, i: int) -> _Known:
        loss, seen = recorded.loss[i], np.isfinite(recorded.loss[i])
        mean = self._gp.mean_of(i) + 9.0
        epochs = np.arange(EPOCHS)
        gap = np.interp(epochs, epochs[seen], loss[seen] - mean[seen])
        seconds = recorded.epoch_seconds[i]
        if not np.isfinite(seconds):
            seconds = self._epoch_seconds(recorded.configs[i : i + 1])[0]
        return _Known(
            loss=np.where(seen, loss, mean + gap),
            epoch_seconds=float(seconds),
            source=tuple("recorded" if s else "surrogate" for s in seen),
        )

    def _epoch_seconds(self, configs: Matrix) -> Vector:
        out: Vector = self._seconds[0] + self._seconds[1] / configs[:, 2]
        return out

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the learning curve of `config`."""
        return self.curves([config], [seed])[0]

    def curves(self, configs: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[Curve]:
        """Return the learning curves of many configs at once."""
        rows = np.array([as_row(c) for c in configs])
        means = self._gp.mean(features(rows)) + 9.0
        seconds = self._epoch_seconds(rows)
        epochs = np.arange(1, EPOCHS + 1, dtype=np.float64)
        out = []
        for row, mean, each, seed in zip(rows, means, seconds, seeds, strict=True):
            known = self._known.get(tuple(row))
            if known is None:
                loss = mean + 0.004 * _generator(row, seed).standard_normal()
                known = _Known(loss, each, ("surrogate",) * EPOCHS)
            total: Vector = known.epoch_seconds * epochs
            out.append(Curve({"val_loss": known.loss}, total, known.source))
        return out


def _generator(row: Vector, seed: int) -> np.random.Generator:
    """Return the generator of one (config, seed), whatever was drawn before."""
    key = hashlib.sha256(row.tobytes()).digest()
    words = np.frombuffer(key, dtype=np.uint32)
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(int(w) for w in words)))
    )


def load() -> Wikitext2Blackbox:
    """Return the blackbox over the recorded curves."""
    return Wikitext2Blackbox(merge(readings()))
