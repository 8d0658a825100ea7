"""A config space of which only some configs can be had, such as those that were recorded."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import SpaceError
from asynctune.space._config_space import Config, ConfigSpace
from asynctune.space._scale import FloatArray


@final
class ListedSpace(ConfigSpace):
    """The listed configs of a space: what is drawn, decoded or a midpoint is the nearest of them.

    Distances are Euclidean in the unit cube that configs are encoded in: ranges count by their
    scale, two categories are half a side apart, several are corners. Of equally near configs the
    first is taken. So draws follow the space's distribution as well as the list allows, and
    models work on the same coordinates as in the whole space.

    Args:
        space: The whole space.
        configs: The configs, at least one; those listed again are left out.

    Raises:
        SpaceError: If there is none, or one is not of the space.
    """

    __slots__ = ("_cube", "_listed")

    def __init__(self, space: Mapping[str, Any], configs: Sequence[Config]) -> None:
        super().__init__(space)
        distinct: dict[Hashable, Config] = {}
        for config in map(self.complete, configs):
            distinct.setdefault(self.key(config), config)
        if not distinct:
            raise SpaceError("a list of configs must have at least one; got none")
        self._listed = list(distinct.values())
        self._cube = self.encode(self._listed)
        self.size = len(self._listed)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self._entries, self._listed)

    def nearest(self, configs: Sequence[Config]) -> list[Config]:
        """Return the listed config that is nearest to each of these."""
        return self.decode(self.encode(configs))

    def default(self) -> Config:
        """Return the config that is nearest to all midpoints."""
        return self.nearest([super().default()])[0]

    def from_unit(self, u: FloatArray) -> list[Config]:
        """Map uniform draws to listed configs, as `ConfigSpace.from_unit` does to any."""
        return self.nearest(super().from_unit(u))

    def decode(self, x: FloatArray) -> list[Config]:
        """Return the listed configs nearest to `n x dimension` coordinates."""
        return [self._listed[at] for at in nearest_rows(x, self._cube).tolist()]

    def config_at(self, index: int) -> Config:
        """Return config number `index` of the list, from 0 to `size` - 1."""
        if not 0 <= index < len(self._listed):
            raise SpaceError(f"the index of a config must be below {self.size}; got {index}")
        return self._listed[index]


def nearest_rows(points: FloatArray, among: FloatArray) -> NDArray[np.intp]:
    """Return which row of `among` is nearest to each point; the first of equals.

    Args:
        points: Shape ``(q, d)``.
        among: Shape ``(n, d)``.
    """
    # Summed column by column: a matrix product would lose the digits that tell copies apart.
    distance = np.zeros((len(points), len(among)))
    for a, b in zip(points.T, among.T, strict=True):
        distance += (a[:, None] - b[None, :]) ** 2
    nearest: NDArray[np.intp] = distance.argmin(axis=1)
    return nearest
