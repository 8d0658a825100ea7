"""One model-based proposal: the config that promises most, given what is believed."""

from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.candidates import points_around, spread_points
from asynctune.gp.cost import Cost, PerCost
from asynctune.gp.fantasies import fantasy_improvement
from asynctune.gp.improvement import Acquisition, LogImprovement, Surface
from asynctune.gp.polish import polish
from asynctune.gp.posterior import Posterior
from asynctune.searchers._gp_coordinates import Coordinates
from asynctune.space import Config, ConfigSpace

# Role of the candidates' randomness in seed sequences ("GP").
_ROLE = 0x4750
_SPREAD = 256
_CENTRES = 4
_AROUND_EACH = 32
# Of the spread and of the local candidates, how many are climbed from.
_CLIMBS = 2
# A finite space up to this size is searched completely.
_ENUMERATED = 1024
# Draws of what pending configs may turn out to be; keyed by a role of their own ("GQ").
_FANTASIES = 16
_ROLE_OF_FANTASIES = 0x4751

# From so many pending configs on it pays to average over what they may turn out to be.
_FANTASIES_FROM = 6

PendingRule = Literal["auto", "believer", "fantasies"]
"""What pending configs are taken to be: equal to their mean, or drawn from the posterior; by
default the one that is as good for few of them and cheaper, and the other for many."""


class Proposals:
    """Proposes configs of a space.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        cost: What configs cost, if improvement is to be counted per cost.
        pending: What pending configs are taken to be.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int,
        cost: Cost | None = None,
        pending: PendingRule = "auto",
    ) -> None:
        self._space = space
        self._seed = seed
        self._cost = cost
        self._pending = pending
        self._coordinates = Coordinates(space)
        widths = [columns.stop - columns.start for columns in space.columns.values()]
        self._parameters = np.repeat(np.arange(len(widths)), widths)  # of each column

    def config(
        self,
        surface: Surface,
        X: NDArray[np.float64],
        n_pending: int,
        k: int,
        taken: AbstractSet[Hashable],
    ) -> Config | None:
        """Return the config most worth trying that is not taken, or None if none was found.

        Args:
            surface: What is believed of the metric.
            X: Encoded configs that were observed, then those pending, shape ``(n, d)``.
            n_pending: How many are pending.
            k: Number of the proposal.
            taken: Keys of the configs not to be proposed.
        """
        means = surface.mean(X)
        acquisition: Acquisition = LogImprovement(surface, float(means.min()))
        if self._fantasises(n_pending) and isinstance(surface, Posterior):
            rng = self._rng(_ROLE_OF_FANTASIES, k)
            acquisition = fantasy_improvement(surface, X, n_pending, rng, _FANTASIES)
        if self._cost is not None:
            acquisition = PerCost(acquisition, self._cost)
        if self._space.size is not None and self._space.size <= _ENUMERATED:
            found = self._space.encode([self._space.config_at(i) for i in range(self._space.size)])
            scores = acquisition.value(found)
        else:
            centres = X[np.argsort(means, kind="stable")]
            found, scores = self._search(
                acquisition, centres, surface.lengthscales, self._rng(_ROLE, k)
            )
        for i in map(int, np.argsort(-scores, kind="stable")):
            (config,) = self._space.decode(found[i : i + 1])
            if self._space.key(config) not in taken:
                return config
        return None

    def _fantasises(self, n_pending: int) -> bool:
        if self._pending == "auto":
            return n_pending >= _FANTASIES_FROM
        return self._pending == "fantasies" and n_pending > 0

    def _rng(self, role: int, k: int) -> np.random.Generator:
        key = np.random.SeedSequence(self._seed, spawn_key=(role, k))
        return np.random.Generator(np.random.PCG64(key))

    def _search(
        self,
        acquisition: Acquisition,
        observed: NDArray[np.float64],
        lengthscales: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return encoded configs worth proposing and their scores.

        Args:
            acquisition: How much a config is worth trying.
            observed: Encoded observed and pending configs, the best first.
            lengthscales: Over which length it changes, in each coordinate.
            rng: Source of the candidates.
        """
        coordinates = self._coordinates
        centres = _first_distinct(observed, _CENTRES)
        spread = coordinates.from_unit(spread_points(_SPREAD, len(self._space.names), rng))
        around = points_around(centres, _AROUND_EACH, self._parameters, rng)
        X = np.concatenate([spread, coordinates.nearest(around)])
        scores = acquisition.value(X)
        # Climb from both kinds: the local ones alone would often climb the same hill.
        order = np.argsort(-scores, kind="stable")
        starts = [*order[order < len(spread)][:_CLIMBS], *order[order >= len(spread)][:_CLIMBS]]
        climbed = coordinates.nearest(polish(acquisition, X[starts], lengthscales))
        return np.concatenate([X, climbed]), np.concatenate([scores, acquisition.value(climbed)])


def _first_distinct(X: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the first `n` distinct rows of `X`, fewer if there are not so many."""
    found: dict[bytes, int] = {}
    for i, x in enumerate(X):
        found.setdefault(x.tobytes(), i)
        if len(found) == n:
            break
    return X[list(found.values())]
