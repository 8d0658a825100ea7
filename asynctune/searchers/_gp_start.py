"""The start of a model-based search: configs that no model proposes."""

from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from typing import Protocol

from asynctune.space import Config, ConfigSpace


class InitialConfigs(Protocol):
    """The sequence of configs that all methods of one seed start with."""

    @property
    def n_points(self) -> int:
        """How many of the first configs are points that the user wants evaluated."""
        ...

    def config(self, k: int) -> Config | None:
        """Return config number `k`, from 0, or None if the space has no more."""
        ...


def initial_config(
    initial: InitialConfigs, space: ConfigSpace, k: int, taken: AbstractSet[Hashable]
) -> Config | None:
    """Return config number `k` of `initial`, or the next one that is not taken.

    Where the sequence ends, the search goes on at its beginning; None means that all its
    configs are taken.
    """
    number = k
    while (config := initial.config(number)) is not None:
        if space.key(config) not in taken:
            return config
        number += 1
    for number in range(k):
        config = initial.config(number)
        if config is not None and space.key(config) not in taken:
            return config
    return None
