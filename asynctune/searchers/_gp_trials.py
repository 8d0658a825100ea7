"""Encodings of trials, kept so that each config is encoded once."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from asynctune.space import Config, ConfigSpace


class EncodedTrials:
    """The encoded configs of the trials of one experiment.

    A cache: what it returns depends on the given configs alone.

    Args:
        space: The config space.
    """

    def __init__(self, space: ConfigSpace) -> None:
        self._space = space
        self._configs: list[Config] = []
        self._keys: list[Hashable] = []
        self._rows = np.empty((0, space.dimension))

    def encode(self, configs: Sequence[Config]) -> tuple[NDArray[np.float64], list[Hashable]]:
        """Return the encodings, ``(n, dimension)``, and the keys of `configs`."""
        known = self._configs
        if len(known) > len(configs) or any(a is not b for a, b in zip(known, configs)):  # noqa: B905
            self._configs, self._keys = [], []
            self._rows = np.empty((0, self._space.dimension))
        new = list(configs[len(self._configs) :])
        if new:
            self._rows = np.concatenate([self._rows, self._space.encode(new)])
            self._keys = self._keys + [self._space.key(c) for c in new]
            self._configs = self._configs + new
        return self._rows, self._keys
