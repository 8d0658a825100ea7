"""Replay of recorded curves as they are, without a model.

A searcher proposes configs of the whole space; a table has some of them. By default only those
are answered, which suits methods that choose among the table's configs (a benchmark's `configs`).
With `nearest`, any config is answered with the curve of the recorded config that is nearest, as
`ListedSpace` has it: a landscape of plateaus, on which a searcher's fine steps come to nothing,
but of which every number was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from asynctune.exceptions import UsageError
from asynctune.space import ConfigSpace, ListedSpace
from sims.blackbox import Curve
from sims.curvetable import Curves, CurveTable

Key = tuple[Any, ...]
_MOST_REMEMBERED: Final = 100_000


class TabularBlackbox:
    """The recorded curves of a table, looked up.

    Only curves that were followed to their end without a gap and were timed can be replayed;
    one that diverged ends where it did. Of several trainings of a config the one with the
    asked seed is taken, otherwise seeds take turns. A report's source is "recorded", or "nearest"
    for a neighbour's curve; behind a colon follows the table's own source, if it names one.

    Args:
        table: The curves.
        max_resource: Levels of a full training; by default the highest of the table.
        nearest: Whether a config that was not recorded is answered with its neighbour's curve.

    Attributes:
        configs: The recorded configs that can be replayed, without constants.

    Raises:
        UsageError: If no curve can be replayed.
    """

    def __init__(
        self, table: CurveTable, max_resource: int | None = None, *, nearest: bool = False
    ) -> None:
        self._space = table.format.space
        self._nearest = nearest
        curves = table.curves()
        end = table.max_resource() if max_resource is None else max_resource
        timed = np.isfinite(curves.seconds[:, 0])
        usable = np.flatnonzero(curves.whole(end) & timed & (curves.levels <= end))
        if not len(usable):
            raise UsageError(
                f"a table must have a timed curve of {end} levels, or one that diverged, to be "
                f"replayed; it has none among {len(curves.ids)}"
            )
        self._copies: dict[Key, dict[int, tuple[Curve, Curve]]] = {}
        for i in usable.tolist():
            copies = self._copies.setdefault(config_key(self._space, curves.configs[i]), {})
            copies.setdefault(int(curves.seed[i]), _curve_pair(curves, i))
        configs = {
            config_key(self._space, curves.configs[i]): curves.configs[i] for i in usable.tolist()
        }
        self.configs = list(configs.values())
        self._listed = ListedSpace(self._space.domains, self.configs)
        self._found: dict[Key, Key] = {}

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the learning curve of `config`.

        Args:
            config: A config of the space; constants are ignored.
            seed: Training seed.

        Raises:
            UsageError: If it was not recorded, and the nearest was not asked for.
        """
        return self.curves([config], [seed])[0]

    def curves(self, configs: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[Curve]:
        """Return the learning curves of many configs at once, faster than one by one.

        Args:
            configs: Configs of the space.
            seeds: Training seed of each.
        """
        keys = [config_key(self._space, config) for config in configs]
        new = {k: c for k, c in zip(keys, configs, strict=True) if k not in self._copies}
        new = {key: config for key, config in new.items() if key not in self._found}
        if new:
            self._find(list(new), list(new.values()))
        return [self._answer(key, seed) for key, seed in zip(keys, seeds, strict=True)]

    def _answer(self, key: Key, seed: int) -> Curve:
        copies = self._copies.get(key)
        exact = copies is not None
        if copies is None:
            copies = self._copies[self._found[key]]
        pair = copies.get(seed)
        if pair is None:
            pair = list(copies.values())[seed % len(copies)]
        return pair[0] if exact else pair[1]

    def _find(self, keys: list[Key], configs: list[Mapping[str, Any]]) -> None:
        """Look for the nearest recorded configs of new ones."""
        if not self._nearest:
            missing = dict(zip(self._space.names, keys[0], strict=True))
            raise UsageError(
                f"a config must be one of the {len(self.configs)} recorded ones, unless the "
                f"nearest is asked for (fit --replay nearest); got {missing}"
            )
        if len(self._found) + len(keys) > _MOST_REMEMBERED:
            self._found.clear()
        for key, nearest in zip(keys, self._listed.nearest(configs), strict=True):
            self._found[key] = config_key(self._space, nearest)


def config_key(space: ConfigSpace, config: Mapping[str, Any]) -> Key:
    """Return what recorded configs are found by: nine digits survive any way of writing."""
    try:
        values = [config[name] for name in space.names]
    except KeyError as error:
        raise UsageError(f"a config must have a value for {error}; got {dict(config)}") from None
    return tuple(float(f"{v:.9g}") if isinstance(v, float) else v for v in values)


def _curve_pair(curves: Curves, i: int) -> tuple[Curve, Curve]:
    """Return a curve as itself, and as a neighbour's."""
    n = int(curves.levels[i])
    label = f":{curves.source[i]}" if curves.source[i] else ""
    first = next(iter(curves.values))
    values = {
        name: matrix[i, :n]
        for name, matrix in curves.values.items()
        if name == first or not np.isnan(matrix[i, :n]).all()
    }
    own, other = (
        Curve(values, curves.seconds[i, :n], (f"{word}{label}",) * n)
        for word in ("recorded", "nearest")
    )
    return own, other
