"""Points of the unit cube that are encoded configs, had without making the configs."""

import numpy as np
from numpy.typing import NDArray

from asynctune.space import ConfigSpace, ListedSpace


class Coordinates:
    """Moves points of a space's unit cube to encoded configs of the space.

    Args:
        space: The config space.
    """

    def __init__(self, space: ConfigSpace) -> None:
        self._space = space
        self._listed = isinstance(space, ListedSpace)
        # A continuum's values have all coordinates, so only those of the others move.
        self._finite = [
            (j, domain, space.columns[name])
            for j, (name, domain) in enumerate(space.domains.items())
            if domain.size is not None
        ]
        self._continuous = [
            (j, space.columns[name].start)
            for j, (name, domain) in enumerate(space.domains.items())
            if domain.size is None
        ]

    def from_unit(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the encodings of what `ConfigSpace.from_unit` draws, shape ``(n, dimension)``.

        Args:
            u: Numbers in [0, 1), a column a tuned parameter, shape ``(n, n_params)``.
        """
        space = self._space
        if self._listed:
            return space.encode(space.from_unit(u))
        X = np.empty((len(u), space.dimension))
        for j, column in self._continuous:
            X[:, column] = u[:, j]
        for j, domain, columns in self._finite:
            X[:, columns] = domain.encode(domain.from_unit(u[:, j]))
        return X

    def nearest(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the encodings of the configs nearest to points `X` of the cube, same shape."""
        space = self._space
        if self._listed:
            return space.encode(space.decode(X))
        X = X.copy()
        for _, domain, columns in self._finite:
            X[:, columns] = domain.encode(domain.decode(X[:, columns]))
        return X
