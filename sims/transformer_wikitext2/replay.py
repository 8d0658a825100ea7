"""The benchmark's blackbox: recorded curves as recorded, the surrogate everywhere else."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from sims.blackbox import Curve
from sims.surrogate import matern52, squared_distances
from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.recorded import EPOCHS, NAMES

if TYPE_CHECKING:
    from sims.surrogate import CurveGP

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# Readings have four decimals, seconds two. Rounding also keeps results the same on machines
# whose exponentials and matrix products differ in the last bit.
LOSS_DECIMALS, SECONDS_DECIMALS = 4, 2
# Configs of one batch size differ by about this much in seconds an epoch.
SECONDS_SPREAD = 0.01
_LOG_EPOCH = np.log(np.arange(1.0, EPOCHS + 1))
_EPOCH = np.arange(1.0, EPOCHS + 1)
_SURROGATE, _EXTRAPOLATED = ("surrogate",) * EPOCHS, ("extrapolated",) * EPOCHS


class _Known(NamedTuple):
    """A recorded curve, gaps filled; one that diverged ends where it did."""

    loss: Vector
    epoch_seconds: float
    source: tuple[str, ...]


class Wikitext2Blackbox:
    """Validation loss and seconds by epoch, for any config of the space.

    Loss is "recorded" where a published curve shows this very config at this epoch, whatever
    the seed, or else a collected one: that with the asked seed, otherwise seeds take turns.
    Elsewhere it is the mean of the surrogate ("surrogate", or "extrapolated" where
    the path of an epoch is longer than all but one of the recorded configs' that were
    followed to the end), moved by what training runs of one config differ by, which depends
    on the seed. Seconds an epoch are the published ones, or follow from the batch size.

    Args:
        arrays: What `sims.transformer_wikitext2.fit` has written.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._parameters = arrays["parameters"]
        self._lengths = arrays["lengths"]
        self._scaled = arrays["scaled"]
        self._weights = arrays["weights"]
        self._noise = float(arrays["noise"])
        self._seconds = arrays["seconds"]
        longest = float(arrays.get("longest_path", 0.0))  # of those collected to the end
        self._longest = max(bb.LONGEST_PUBLISHED_PATH, longest)
        # By config, then by seed: published curves have one for all seeds.
        self._known: dict[tuple[float, ...], dict[int, _Known]] = {}
        for config, loss, seen, seconds in zip(
            arrays["configs"],
            arrays["loss"],
            arrays["seen"],
            arrays["epoch_seconds"],
            strict=True,
        ):
            self._known[_key(config)] = {0: _known(loss, seen, float(seconds))}
        if "collected_configs" in arrays:
            self._add_collected()

    def _add_collected(self) -> None:
        """Make the answers for collected configs that are not published ones."""
        published = set(self._known)
        names = ("configs", "seed", "loss", "seen", "levels")
        for config, seed, loss, seen, n in zip(
            *(self._arrays[f"collected_{name}"] for name in names), strict=True
        ):
            if (key := _key(config)) not in published:
                curve = _known(loss[:n], seen[:n], math.nan)
                self._known.setdefault(key, {}).setdefault(int(seed), curve)

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the learning curve of `config`.

        Args:
            config: A config of the benchmark's space; constants are ignored.
            seed: Training seed; the same (config, seed) gives the same curve.

        Raises:
            UsageError: If a hyperparameter is missing or outside the benchmark's space.
        """
        return self.curves([config], [seed])[0]

    def curves(self, configs: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[Curve]:
        """Return the learning curves of many configs at once, faster than one by one.

        Args:
            configs: Configs of the benchmark's space.
            seeds: Training seed of each.
        """
        if not configs:
            return []
        rows = np.array([_row(config) for config in configs])
        keys = [_key(row) for row in rows]
        new = np.array([key not in self._known for key in keys])
        losses = np.empty((len(rows), EPOCHS))
        seconds = np.empty(len(rows))
        far = np.zeros(len(rows), dtype=bool)
        if new.any():
            at = bb.inputs(rows[new])
            far[new] = at.log_path > math.log(self._longest)
            expected, scale = self._surrogate(at)
            draws = np.array([_draws(rows[i], seeds[i]) for i in np.flatnonzero(new).tolist()])
            phase = 0.5 * math.pi * _LOG_EPOCH
            # A smooth function of the log epoch with unit variance at each epoch.
            wave = draws[:, 0:1] * np.cos(phase) + draws[:, 1:2] * np.sin(phase)
            losses[new] = np.round(expected + self._noise * scale * wave, LOSS_DECIMALS)
            seconds[new] = self.epoch_seconds(rows[new, 2]) * np.exp(SECONDS_SPREAD * draws[:, 2])
        out = []
        for i, (row, key) in enumerate(zip(rows, keys, strict=True)):
            copies = self._known.get(key)
            if copies is None:
                known = _Known(
                    losses[i], float(seconds[i]), _EXTRAPOLATED if far[i] else _SURROGATE
                )
            else:
                known = copies.get(seeds[i]) or list(copies.values())[seeds[i] % len(copies)]
            if math.isnan(known.epoch_seconds):
                spread = math.exp(SECONDS_SPREAD * _draws(row, seeds[i])[2])
                known = known._replace(
                    epoch_seconds=float(self.epoch_seconds(row[2:3])[0]) * spread
                )
            epochs = _EPOCH[: len(known.loss)]
            total = np.round(known.epoch_seconds * epochs, SECONDS_DECIMALS)
            out.append(Curve({"val_loss": known.loss}, total, known.source))
        return out

    def mean(self, configs: Sequence[Mapping[str, Any]]) -> Matrix:
        """Return what the surrogate expects of configs, recorded or not, shape ``(q, 40)``."""
        return self._surrogate(bb.inputs(np.array([_row(config) for config in configs])))[0]

    def deviation(self, configs: Sequence[Mapping[str, Any]]) -> Matrix:
        """Return how uncertain `mean` is, one standard deviation, shape ``(q, 40)``.

        The first call conditions the surrogate's process anew on the package's table, which takes
        a second or two with the published curves, and minutes with hundreds of collected ones.
        """
        at = bb.inputs(np.array([_row(config) for config in configs]))
        column = bb.Inputs(*(part[:, None] for part in at))
        scale = bb.backbone(self._parameters, column, _LOG_EPOCH).scale
        out: Matrix = scale * self._process.deviation(_features(at))
        return out

    @cached_property
    def _process(self) -> "CurveGP":
        from sims.surrogate import CurveGP, Theta
        from sims.transformer_wikitext2.collected import all_recorded, with_published_words
        from sims.transformer_wikitext2.fit import residual_readings
        from sims.transformer_wikitext2.recorded import unplaced

        stored = self._arrays
        data = residual_readings(
            with_published_words(all_recorded(), float(stored.get("offset", 0.0))),
            unplaced(stored["seconds"]),
            (stored["parameters"], stored["path"], stored["dropout"]),
        )
        return CurveGP(data, Theta.of(stored["theta"]), EPOCHS)

    def epoch_seconds(self, batch_size: Vector) -> Vector:
        """Return the seconds an epoch that a batch size takes on a T4 GPU, same shape."""
        out: Vector = self._seconds[0] + self._seconds[1] / batch_size
        return out

    def _surrogate(self, at: bb.Inputs) -> tuple[Matrix, Matrix]:
        """Return the mean loss and the scale of what it may be off by, each ``(q, 40)``."""
        column = bb.Inputs(*(part[:, None] for part in at))
        terms = bb.backbone(self._parameters, column, _LOG_EPOCH)
        scaled = _features(at) / self._lengths
        residual = matern52(squared_distances(scaled, self._scaled)) @ self._weights
        return terms.loss + terms.scale * residual, terms.scale


def _known(loss: Vector, seen: NDArray[np.bool_], epoch_seconds: float) -> _Known:
    return _Known(
        loss=np.where(seen, loss, np.round(loss, LOSS_DECIMALS)),
        epoch_seconds=epoch_seconds,
        source=tuple("recorded" if s else "surrogate" for s in seen),
    )


def _features(at: bb.Inputs) -> Matrix:
    return np.column_stack([at.dropout, at.log_path, at.log_batch])


def _row(config: Mapping[str, Any]) -> tuple[float, ...]:
    missing = [name for name in NAMES if name not in config]
    if missing:
        raise UsageError(f"a config must have {', '.join(NAMES)}; {missing[0]} is missing")
    lr, dropout, batch_size, momentum, clip = row = tuple(float(config[n]) for n in NAMES)
    inside = lr > 0 and 0 <= dropout < 1 and batch_size >= 1 and 0 <= momentum < 1 and clip >= 0
    if not inside:
        raise UsageError(
            "lr must be positive, dropout and momentum in [0, 1), batch_size at least 1 and "
            f"clip not negative; got {dict(zip(NAMES, row, strict=True))}"
        )
    return row


def _key(row: Vector) -> tuple[float, ...]:
    """Return what recorded configs are found by: nine digits survive any way of writing."""
    return tuple(float(f"{value:.9g}") for value in row)


def _draws(row: Vector, seed: int) -> tuple[float, float, float]:
    """Return three standard normal numbers that (config, seed) fixes (Box and Muller, 1958)."""
    text = f"{','.join(f'{value:.9g}' for value in row)};{int(seed)}"
    digest = blake2b(text.encode(), digest_size=32).digest()
    a, b, c, d = (
        (int.from_bytes(digest[i : i + 8], "little") + 0.5) / 2**64 for i in range(0, 32, 8)
    )
    one, two = math.sqrt(-2 * math.log(a)), math.sqrt(-2 * math.log(c))
    angle = 2 * math.pi * b
    return one * math.cos(angle), one * math.sin(angle), two * math.cos(2 * math.pi * d)


def load() -> Wikitext2Blackbox:
    """Return the blackbox with the surrogate that is stored in the package."""
    with (
        (files(__package__) / "data" / "surrogate.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return Wikitext2Blackbox(dict(arrays))
