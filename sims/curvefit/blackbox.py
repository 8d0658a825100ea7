"""The surrogate as a blackbox: recorded curves as recorded, predicted ones everywhere else."""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sims.blackbox import Curve
from sims.curvefit.grouping import Grouped, group
from sims.curvefit.model import Fitted, Prediction, predict
from sims.curvetable import Curves, CurveTable
from sims.tabular import Key, config_key

Array = NDArray[np.float64]

_MOST_REMEMBERED: Final = 20_000
_PREDICTED: Final = "surrogate"


class FittedBlackbox:
    """Learning curves of any config of a space, after a table of recorded ones.

    A recorded config gets its longest recorded curve; of equally long ones that of the asked
    seed, otherwise seeds take turns. What it was not followed to, and the curves of all other
    configs, is predicted: the source of these reports is "surrogate", that of the others
    "recorded", and behind a colon the table's own source if it names one.

    Predicted curves of one config differ by seed as those of the recorded repetition do whose
    predicted curve is most alike; not at all if none was recorded. Their seconds differ between
    configs as much as those of alike recorded configs.

    Args:
        table: The curves.
        fitted: What was fitted to them.
    """

    def __init__(self, table: CurveTable, fitted: Fitted) -> None:
        self._space = table.format.space
        self._metric = table.format.metric
        self._fitted = fitted
        self._levels = len(fitted.share)
        curves = table.curves()
        grouped = group(curves, self._space, fitted.scale, self._levels)
        self._known: dict[Key, dict[int, Curve]] = {}
        self._fill(curves, grouped)
        self._cache: dict[tuple[Key, int], Curve] = {}

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the learning curve of `config`.

        Args:
            config: A config of the space; constants are ignored.
            seed: Training seed; the same (config, seed) gives the same curve.
        """
        return self.curves([config], [seed])[0]

    def curves(self, configs: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[Curve]:
        """Return the learning curves of many configs at once, faster than one by one.

        Args:
            configs: Configs of the space.
            seeds: Training seed of each.

        Raises:
            UsageError: If a config has a value out of range, or lacks one.
        """
        asked = [
            (config_key(self._space, config), int(seed))
            for config, seed in zip(configs, seeds, strict=True)
        ]
        if len(self._cache) > _MOST_REMEMBERED:
            self._cache.clear()
        new: dict[tuple[Key, int], Mapping[str, Any]] = {}
        for pair, config in zip(asked, configs, strict=True):
            if pair not in self._cache and pair[0] not in self._known:
                new.setdefault(pair, config)
        if new:
            found = self._predicted(list(new), list(new.values()))
            self._cache.update(zip(new, found, strict=True))
        return [self._answer(key, seed) for key, seed in asked]

    def _answer(self, key: Key, seed: int) -> Curve:
        copies = self._known.get(key)
        if copies is None:
            return self._cache[key, seed]
        curve = copies.get(seed)
        return list(copies.values())[seed % len(copies)] if curve is None else curve

    def _predicted(
        self, pairs: list[tuple[Key, int]], configs: list[Mapping[str, Any]]
    ) -> list[Curve]:
        fitted, levels = self._fitted, self._levels
        features = fitted.directions.features(self._space.encode(configs))
        found = predict(fitted, features)
        draws = np.array([_draws(key, seed) for key, seed in pairs])
        loss = found.loss + self._between_seeds(found, draws)
        values = fitted.scale.from_scale(loss)
        seconds = self._seconds(features) * np.exp(fitted.spread * draws[:, 2])[:, None]
        out = []
        for i, at in enumerate(found.diverged.tolist()):
            n = at or levels
            curve = values[i, :n].copy()
            if at:
                curve[at - 1] = found.last[i]
            out.append(Curve({self._metric: curve}, seconds[i, :n], (_PREDICTED,) * n))
        return out

    def _between_seeds(self, found: Prediction, draws: Array) -> Array:
        """Return how trainings with these draws differ from their mean, shape ``(q, R)``."""
        fitted = self._fitted
        if not len(fitted.copies):
            return np.zeros_like(found.loss)
        unit = np.sqrt(fitted.shapes.variance)
        sq = np.zeros((len(found.weights), len(fitted.copies)))
        for a, b in zip((found.weights * unit).T, (fitted.copy_weights * unit).T, strict=True):
            sq += (a[:, None] - b[None, :]) ** 2
        # Copies of one config are equally near: the draw chooses among them.
        nearest = sq <= sq.min(axis=1, keepdims=True) * (1 + 1e-9)
        number = np.floor(draws[:, 0] * nearest.sum(axis=1)).astype(np.intp)
        chosen = np.argmax(nearest.cumsum(axis=1) > number[:, None], axis=1)
        out: Array = np.where(draws[:, 1] < 0.5, -1.0, 1.0)[:, None] * fitted.copies[chosen]
        return out

    def _seconds(self, features: Array) -> Array:
        """Return the expected cumulative seconds, shape ``(q, R)``."""
        fitted = self._fitted
        total = np.exp(fitted.seconds.mean(features, fitted.features[fitted.timed])[:, 0])
        return total[:, None] * fitted.share

    def _fill(self, curves: Curves, grouped: Grouped) -> None:
        """Make the answers for recorded configs, gaps and continuations predicted."""
        fitted, R = self._fitted, self._levels
        found = predict(fitted, fitted.features)
        seconds = self._seconds(fitted.features)
        raw = curves.values[self._metric]
        ended = curves.diverged()
        n_seen = curves.seen.sum(axis=1)
        most = np.zeros(len(grouped.configs))
        np.maximum.at(most, grouped.config, n_seen)
        for i in np.flatnonzero(n_seen == most[grouped.config]).tolist():
            c = grouped.config[i]
            n = min(int(curves.levels[i]), R)
            n = n if ended[i] else R
            width = min(n, raw.shape[1])
            seen = np.zeros(n, dtype=bool)
            seen[:width] = curves.seen[i, :width]
            values = np.zeros(n)
            values[:width] = raw[i, :width]
            if not seen.all():
                values = self._completed(values, seen, found.loss[c, :n])
            known = np.full(n, np.nan)
            known[:width] = curves.seconds[i, :width]
            label = f":{curves.source[i]}" if curves.source[i] else ""
            words = tuple(f"recorded{label}" if s else _PREDICTED for s in seen.tolist())
            key = config_key(self._space, grouped.configs[c])
            copies = self._known.setdefault(key, {})
            curve = Curve({self._metric: values}, _continued(known, seconds[c, :n]), words)
            copies.setdefault(int(curves.seed[i]), curve)

    def _completed(self, values: Array, seen: NDArray[np.bool_], expected: Array) -> Array:
        """Return values with what was not seen predicted, moved onto what was seen around it."""
        scale = self._fitted.scale
        usable = seen & np.isfinite(values)
        levels = np.arange(len(values))
        off = scale.to_scale(values) - expected
        shift = np.interp(levels, levels[usable], off[usable]) if usable.any() else 0.0
        return np.where(seen, values, scale.from_scale(expected + shift))


def _continued(known: Array, expected: Array) -> Array:
    """Return seconds with gaps filled and continued as expected, increasing throughout."""
    timed = np.flatnonzero(np.isfinite(known))
    if not len(timed):
        return expected
    last = timed[-1]
    out: Array = np.interp(expected, np.r_[0.0, expected[timed]], np.r_[0.0, known[timed]])
    out[last:] = known[last] / expected[last] * expected[last:]
    out[timed] = known[timed]
    return out


def _draws(key: Key, seed: int) -> tuple[float, float, float]:
    """Return two uniform numbers and a normal one that (config, seed) fixes.

    The normal number, which moves the seconds, depends on the config alone.
    """
    config = blake2b(repr(key).encode(), digest_size=16).digest()
    both = blake2b(f"{key!r};{seed}".encode(), digest_size=16).digest()
    a, b, c, d = (
        (int.from_bytes(part[i : i + 8], "little") + 0.5) / 2**64
        for part in (config, both)
        for i in (0, 8)
    )
    # Box and Muller (1958).
    return c, d, math.sqrt(-2 * math.log(a)) * math.cos(2 * math.pi * b)
