"""One model-based proposal: fit or reuse a process, then maximise log EI over configs."""

from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.acquisition import log_ei
from asynctune.gp.candidates import points_around, spread_points
from asynctune.gp.data import inputs
from asynctune.gp.fit import fit
from asynctune.gp.model import Model
from asynctune.gp.polish import polish
from asynctune.gp.posterior import Posterior
from asynctune.gp.targets import TargetScale
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
# Up to this many observations a fit also starts from the prior, in case the last one got stuck.
_SECOND_START_UP_TO = 60


class Evidence(NamedTuple):
    """What one proposal knows.

    Attributes:
        X: Encoded configs of the observations, then of the pending ones, ``(n + p, d)``.
        resources: The resource level of each, as a fraction of the largest, ``(n + p,)``,
            or None if the model has no resource.
        values: Metric values of the observations, shape ``(n,)``.
        scale: How values become targets.
        level: The resource level to improve at, a fraction of the largest.
    """

    X: NDArray[np.float64]
    resources: NDArray[np.float64] | None
    values: NDArray[np.float64]
    scale: TargetScale
    level: float


class Proposals:
    """Proposes configs of a space by a Gaussian process.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        model: The process.
    """

    def __init__(self, space: ConfigSpace, seed: int, model: Model) -> None:
        self._space = space
        self._seed = seed
        self._model = model
        columns = [np.full(c.stop - c.start, i) for i, c in enumerate(space.columns.values())]
        self._parameters = np.concatenate(columns)

    def fit(self, evidence: Evidence, previous: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the model's parameters fitted to the evidence, pending configs left aside.

        Args:
            evidence: What is known.
            previous: Parameters of the last fit, from which the search starts.
        """
        n = len(evidence.values)
        model = self._model
        starts = [model.centre]
        if previous is not None:
            starts = [previous, *starts] if n <= _SECOND_START_UP_TO else [previous]
        resources = None if evidence.resources is None else evidence.resources[:n]
        data = inputs(evidence.X[:n], resources)
        return fit(model, data, evidence.scale.targets(evidence.values), starts)

    def config(
        self, evidence: Evidence, theta: NDArray[np.float64], k: int, taken: AbstractSet[Hashable]
    ) -> Config | None:
        """Return the config of highest log EI that is not taken, or None if none was found."""
        targets = evidence.scale.targets(evidence.values)
        posterior = Posterior(
            self._model,
            theta,
            inputs(evidence.X, evidence.resources),
            targets,
            evidence.level,
            reinterpolate=True,
        )
        means = posterior.mean(evidence.X)
        incumbent = float(means.min())
        if self._space.size is not None and self._space.size <= _ENUMERATED:
            configs: list[Config] = [self._space.config_at(i) for i in range(self._space.size)]
            scores = self._scores(posterior, self._space.encode(configs), incumbent)
        else:
            centres = evidence.X[np.argsort(means, kind="stable")]
            rng = np.random.Generator(
                np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=(_ROLE, k)))
            )
            configs, scores = self._search(posterior, incumbent, centres, rng)
        for i in map(int, np.argsort(-scores, kind="stable")):
            if self._space.key(configs[i]) not in taken:
                return configs[i]
        return None

    def _search(
        self,
        posterior: Posterior,
        incumbent: float,
        observed: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> tuple[list[Config], NDArray[np.float64]]:
        """Return configs worth proposing and their scores.

        Args:
            posterior: Of the metric.
            incumbent: The posterior mean to improve on.
            observed: Encoded observed and pending configs, the best first.
            rng: Source of the candidates.
        """
        space = self._space
        centres = _first_distinct(observed, _CENTRES)
        spread = space.from_unit(spread_points(_SPREAD, len(space.names), rng))
        around = space.decode(points_around(centres, _AROUND_EACH, self._parameters, rng))
        configs = spread + around
        X = space.encode(configs)
        scores = self._scores(posterior, X, incumbent)
        # Climb from both kinds: the local ones alone would often climb the same hill.
        order = np.argsort(-scores, kind="stable")
        starts = [*order[order < len(spread)][:_CLIMBS], *order[order >= len(spread)][:_CLIMBS]]
        climbed = space.decode(polish(posterior, X[starts], incumbent))
        climbed_scores = self._scores(posterior, space.encode(climbed), incumbent)
        return configs + climbed, np.concatenate([scores, climbed_scores])

    def _scores(
        self, posterior: Posterior, X: NDArray[np.float64], incumbent: float
    ) -> NDArray[np.float64]:
        prediction = posterior.predict(X)
        return log_ei(prediction.mean, prediction.sd, incumbent).value


def _first_distinct(X: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the first `n` distinct rows of `X`, fewer if there are not so many."""
    _, first = np.unique(X, axis=0, return_index=True)
    return X[np.sort(first)[:n]]
