"""Random search, and the sequence of initial configs that all methods of a seed share."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from asynctune.exceptions import SpaceError, UsageError
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import Config, ConfigSpace

#: First part of the spawn keys of this module's draws; the second is the block's number.
ROLE_INITIAL_CONFIGS: Final = 1
#: Configs drawn at once; part of the sequence's definition.
BLOCK: Final = 256
#: Finite spaces up to this size are enumerated when random draws find little that is new.
ENUMERABLE: Final = 2**20
#: Other spaces count as exhausted after this many blocks in a row without a new config.
FRUITLESS_BLOCKS: Final = 100


class InitialConfigs:
    """A sequence of distinct configs: the points to evaluate, then random ones.

    Config k depends on (space, seed, points_to_evaluate, k) alone. Random configs are drawn
    from the space's distribution in blocks, each from a generator of its own; those that
    came before are left out. Once a block finds little that is new in a finite space, what
    is left of the space follows in random order. The configs returned are shared: they must
    not be changed. One thread at a time may use a sequence.

    Args:
        space: The config space.
        seed: Seed of the sequence, at least 0.
        points_to_evaluate: Configs to begin with. Missing values are set to the midpoint,
            and duplicates left out. None means a single config of all midpoints, an empty
            list none.

    Raises:
        UsageError: If the seed is negative.
        SpaceError: If one of the points does not belong to the space.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if seed < 0:
            raise UsageError(f"seed must be at least 0; got {seed}")
        self.space: Final = space
        self.seed: Final = int(seed)
        self._configs: list[Config] = []
        self._seen: set[Hashable] = set()
        self._block = 0
        self._fruitless = 0
        self._exhausted = False
        self._add(
            [space.default()] if points_to_evaluate is None else _points(space, points_to_evaluate)
        )
        self.n_points: Final = len(self._configs)
        self._exhausted = len(self._seen) == space.size

    def config(self, k: int) -> Config | None:
        """Return config number `k`, counted from 0, or None if the space has run out before."""
        if k < 0:
            raise UsageError(f"the number of a config must be at least 0; got {k}")
        while k >= len(self._configs):
            if self._exhausted:
                return None
            self._grow()
        return self._configs[k]

    def describe(self) -> dict[str, Any]:
        """Return seed and points to evaluate (completed, distinct) as JSON values."""
        points = [dict(c) for c in self._configs[: self.n_points]]
        return {"seed": self.seed, "points_to_evaluate": points}

    def _add(self, configs: Sequence[Config]) -> int:
        """Append the configs that are new, and return how many these are."""
        before = len(self._configs)
        seen = self._seen
        keys = list(map(self.space.key, configs))
        distinct = set(keys)
        if len(distinct) == len(keys) and seen.isdisjoint(distinct):  # as they nearly always are
            seen |= distinct
            self._configs += configs
            return len(keys)
        for config, k in zip(configs, keys, strict=True):
            if k not in seen:
                seen.add(k)
                self._configs.append(config)
        return len(self._configs) - before

    def _rng(self) -> np.random.Generator:
        """Return the next block's generator."""
        key = np.random.SeedSequence(self.seed, spawn_key=(ROLE_INITIAL_CONFIGS, self._block))
        self._block += 1
        return np.random.Generator(np.random.PCG64(key))

    def _grow(self) -> None:
        """Append the next block of random configs, or find the space exhausted."""
        size = self.space.size
        new = self._add(self.space.sample(BLOCK, self._rng()))
        if size is not None and size <= ENUMERABLE and 8 * new < BLOCK:
            self._add([self.space.config_at(i) for i in self._rng().permutation(size).tolist()])
        self._fruitless = 0 if new else self._fruitless + 1
        self._exhausted = len(self._seen) == size or self._fruitless >= FRUITLESS_BLOCKS


def _points(space: ConfigSpace, points: Sequence[Mapping[str, Any]]) -> list[Config]:
    """Return the completed points; an error names the point."""
    completed = []
    for i, point in enumerate(points):
        try:
            completed.append(space.complete(point))
        except SpaceError as error:
            raise SpaceError(f"points_to_evaluate[{i}]: {error}") from None
    return completed


class RandomSearcher:
    """Random search (Bergstra and Bengio, JMLR 2012): proposal k is initial config k.

    Args:
        initial: The sequence of configs.
    """

    def __init__(self, initial: InitialConfigs) -> None:
        self._initial = initial

    @property
    def needs_data(self) -> bool:
        """False: a proposal depends on its number alone."""
        return False

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:  # noqa: ARG002 - needs none
        """Return proposal number `k`; the snapshot is not looked at."""
        origin = "points" if k < self._initial.n_points else "random"
        return Proposal(k, self._initial.config(k), None, origin)

    def describe(self) -> Mapping[str, Any]:
        """Return the searcher's settings as JSON values."""
        return {"searcher": "random", **self._initial.describe()}
