"""Hyper-Tune: an ensemble of one Gaussian process a rung, weighted by how well each ranks."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from asynctune.gp.ensemble import Ensemble, Member
from asynctune.gp.levels import level_parameters, level_posterior
from asynctune.gp.model import Model
from asynctune.gp.ranking import level_weights
from asynctune.searchers._gp_data import values_by_level
from asynctune.searchers._gp_search import ModelSearch
from asynctune.searchers._gp_start import InitialConfigs
from asynctune.searchers._gp_surrogate import Evidence, fit_process
from asynctune.searchers.base import Fit, Proposal, Snapshot
from asynctune.space import ConfigSpace

# First part of the spawn keys of the draws that levels are compared by ("HT"); then comes k.
_ROLE = 0x4854


@final
class HyperTuneSearcher:
    """Proposes the config of highest expected improvement under an ensemble of rungs.

    Li et al., "Hyper-Tune: Towards Efficient Hyper-parameter Tuning at Scale", VLDB 2022. Each
    resource level has a Gaussian process of its own; they share lengthscales. What they believe is
    added up with weights: the probability that of all levels this one ranks configs most like
    the highest level that has 6 observations. The weights are computed with the fit, and are
    journalled with it.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        initial: The configs that all methods of one seed start with.
        levels: The resource levels that values come from, ascending, the largest resource at
            the end.
        num_init_random: How many proposals come from `initial`; more do while
            there is no observation.
        max_data: How many observations the processes are fitted to at most; beyond, those at the
            highest levels, the best, and an even sample of the rest are kept.
        refit_growth: A fit serves until the data have grown by this share, or a new level has come
            to count.

    Raises:
        UsageError: If an argument is out of range.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int,
        initial: InitialConfigs,
        *,
        levels: Sequence[int],
        num_init_random: int = 6,
        max_data: int = 300,
        refit_growth: float = 0.1,
    ) -> None:
        if not levels or list(levels) != sorted(set(levels)) or levels[0] < 1:
            raise UsageError(f"levels must be at least 1 and ascend; got {list(levels)}")
        self._levels = tuple(levels)
        self._settings = {
            "num_init_random": num_init_random,
            "max_data": max_data,
            "refit_growth": refit_growth,
        }
        self._search = ModelSearch(
            space,
            seed,
            initial,
            surrogate=_Rungs(space.dimension, seed, self._levels),
            read=values_by_level,
            max_resource=levels[-1],
            num_init_random=num_init_random,
            max_data=max_data,
            refit_growth=refit_growth,
        )

    @property
    def needs_data(self) -> bool:
        """True: proposals depend on what was observed."""
        return True

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:
        """Return proposal number `k`, given `snapshot`."""
        return self._search.propose(snapshot, k)

    def bracket_weights(self, fit: Fit) -> tuple[float, ...]:
        """Return how much a bracket that begins at each level promises, for `Hyperband`.

        What a level says of the ranking at the top, by what it costs to hear it: its weight in the
        ensemble divided by the level (section 4.3 of the paper).
        """
        weights = fit.parameters[-len(self._levels) :]
        return tuple(weight / level for weight, level in zip(weights, self._levels, strict=True))

    def describe(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        return {"searcher": "hypertune", **self._settings}


class _Rungs:
    """The processes of all levels, whose parameters are followed by the levels' weights.

    Args:
        dimension: Number of inputs.
        seed: Seed of the experiment.
        levels: Resource levels.
    """

    def __init__(self, dimension: int, seed: int, levels: Sequence[int]) -> None:
        self._model = Model(dimension, "independent", [level / levels[-1] for level in levels])
        self._seed = seed

    @property
    def n_parameters(self) -> int:
        """How many parameters and weights there are."""
        return len(self._model.centre) + len(self._model.rungs)

    def fit(
        self, evidence: Evidence, previous: NDArray[np.float64] | None, k: int
    ) -> NDArray[np.float64]:
        """Return the parameters fitted to the evidence, and the weights that follow from them."""
        model = self._model
        before = None if previous is None else previous[: len(model.centre)]
        theta = fit_process(model, evidence, before)
        key = np.random.SeedSequence(self._seed, spawn_key=(_ROLE, k))
        rng = np.random.Generator(np.random.PCG64(key))
        weights = level_weights(model, theta, evidence.observed(), evidence.targets(), rng)
        return np.concatenate([theta, weights])

    def surface(self, evidence: Evidence, parameters: NDArray[np.float64]) -> Ensemble:
        """Return the ensemble with these parameters and weights, given the evidence."""
        model = self._model
        theta, weights = np.split(parameters, [len(model.centre)])
        data, targets = evidence.inputs(), evidence.targets()
        members = []
        for rung in map(int, np.flatnonzero(weights)):
            own = level_parameters(model, theta, rung)
            posterior = level_posterior(model, theta, data, targets, rung)
            unit = float(np.exp(0.5 * own[model.dimension]))
            centre = float(own[model.dimension + 2])
            members.append(Member(posterior, float(weights[rung]), centre, unit))
        return Ensemble(members)
