"""What BO and MOBSTER share: from a snapshot to a proposal."""

from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import final, get_args

import numpy as np
from numpy.typing import NDArray

from asynctune.exceptions import UsageError
from asynctune.gp.cost import Cost
from asynctune.gp.targets import TargetScale, target_scale
from asynctune.gp.threads import one_thread
from asynctune.searchers._gp_data import Data, acquisition_resource, capped
from asynctune.searchers._gp_proposal import PendingRule, Proposals
from asynctune.searchers._gp_start import InitialConfigs, initial_config
from asynctune.searchers._gp_surrogate import Evidence, Surrogate
from asynctune.searchers._gp_trials import EncodedTrials
from asynctune.searchers.base import Fit, Observation, Proposal, Snapshot
from asynctune.space import ConfigSpace


@final
class ModelSearch:
    """Proposes initial configs first, then what a Gaussian process finds most promising.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        initial: The configs that all methods of one seed start with.
        surrogate: What is made of the data.
        read: Makes of the first entries of a log the data that the model may see.
        max_resource: The resource that levels are fractions of; None if the model has none.
        num_init_random: How many proposals come from `initial`, its points at least.
        max_data: How many observations the model is fitted to at most.
        cost: What configs cost, if improvement is to be counted per cost.
        refit_growth: A fit serves until the data have grown by this share.
        pending: What pending configs are taken to be: "believer", equal to their posterior mean;
            "fantasies", drawn from the posterior, if the surrogate is one process; "auto", the
            first while they are few and the second when they are many.

    Raises:
        UsageError: If a number is out of range.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int,
        initial: InitialConfigs,
        *,
        surrogate: Surrogate,
        read: Callable[[Sequence[Observation], int], Data],
        max_resource: int | None,
        num_init_random: int,
        max_data: int,
        cost: Cost | None = None,
        refit_growth: float = 0.1,
        pending: PendingRule = "auto",
    ) -> None:
        if num_init_random < 1:
            raise UsageError(f"num_init_random must be at least 1; got {num_init_random}")
        if max_data < 3:
            raise UsageError(f"max_data must be at least 3; got {max_data}")
        if max_resource is not None and max_resource < 1:
            raise UsageError(f"max_resource must be at least 1; got {max_resource}")
        if not 0.0 <= refit_growth < inf:
            raise UsageError(f"refit_growth must be at least 0; got {refit_growth}")
        if pending not in get_args(PendingRule):
            rules = ", ".join(get_args(PendingRule))
            raise UsageError(f"pending must be one of {rules}; got {pending!r}")
        self._space = space
        self._initial = initial
        self._surrogate = surrogate
        self._read = read
        self._max_resource = max_resource
        self._first_modelled = max(num_init_random, initial.n_points)
        self._max_data = max_data
        self._growth = refit_growth
        self._trials = EncodedTrials(space)
        self._proposals = Proposals(space, seed, cost, pending)

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:
        """Return proposal number `k`, given `snapshot`."""
        rows, keys = self._trials.encode(snapshot.configs)
        taken = {*keys, *(self._space.key(p.config) for p in snapshot.pending)}
        if self._space.size is not None and len(taken) >= self._space.size:
            return Proposal(k, None)
        data = self._read(snapshot.observations, snapshot.length)
        if k < self._first_modelled or not len(data.trials):
            return self._unmodelled(k, taken)

        with one_thread():
            return self._modelled(snapshot, k, taken, rows, data)

    def _modelled(
        self,
        snapshot: Snapshot,
        k: int,
        taken: set[Hashable],
        rows: NDArray[np.float64],
        data: Data,
    ) -> Proposal:
        level = 1.0 if self._max_resource is None else acquisition_resource(data)
        fit = self._compatible(snapshot)
        fitted_on = None if fit is None else self._read(snapshot.observations, fit.observations)
        chosen = capped(data, self._max_data)
        if fit is None or fitted_on is None or self._outgrown(fitted_on, data):
            # Everything, not the chosen part, so that the scale does not hang on the cap.
            scale = target_scale(data.values)
            evidence = self._evidence(snapshot, rows, chosen, scale, level)
            previous = None if fit is None else np.array(fit.parameters)
            parameters = self._surrogate.fit(evidence, previous, k)
            fit = Fit(tuple(parameters.tolist()), snapshot.length)
        else:
            # Parameters mean what they meant only with the targets that they were fitted to.
            scale = target_scale(fitted_on.values)
            evidence = self._evidence(snapshot, rows, chosen, scale, level)
        surface = self._surrogate.surface(evidence, np.array(fit.parameters))
        config = self._proposals.config(surface, evidence.X, len(snapshot.pending), k, taken)
        if config is None:
            return self._unmodelled(k, taken)
        return Proposal(k, config, fit, "model")

    def _unmodelled(self, k: int, taken: set[Hashable]) -> Proposal:
        config = initial_config(self._initial, self._space, k, taken)
        return Proposal(k, config, None, "points" if k < self._initial.n_points else "random")

    def _compatible(self, snapshot: Snapshot) -> Fit | None:
        """Return the snapshot's fit if it is one of this model to a part of this log."""
        fit = snapshot.fit
        if fit is None or len(fit.parameters) != self._surrogate.n_parameters:
            return None
        return fit if 0 < fit.observations <= snapshot.length else None

    def _outgrown(self, fitted_on: Data, data: Data) -> bool:
        """Whether a model fitted on `fitted_on` must be fitted again for `data`."""
        before, now = len(fitted_on.trials), len(data.trials)
        if before == 0 or now - before >= max(1.0, self._growth * before):
            return True
        return self._max_resource is not None and (
            acquisition_resource(fitted_on) != acquisition_resource(data)
            or fitted_on.resources.max() != data.resources.max()
        )

    def _evidence(
        self,
        snapshot: Snapshot,
        rows: NDArray[np.float64],
        data: Data,
        scale: TargetScale,
        level: float,
    ) -> Evidence:
        X = np.concatenate([rows[data.trials], self._pending(snapshot, rows)])
        if self._max_resource is None:
            return Evidence(X, None, data.values, scale, level)
        resources = np.concatenate([data.resources, [p.resource for p in snapshot.pending]])
        top = float(self._max_resource)
        return Evidence(X, resources / top, data.values, scale, level / top)

    def _pending(self, snapshot: Snapshot, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the encodings of the pending configs, most of which are trials' and so known."""
        numbers = {id(config): trial for trial, config in enumerate(snapshot.configs)}
        trials = [numbers.get(id(p.config)) for p in snapshot.pending]
        if None in trials:
            return self._space.encode([p.config for p in snapshot.pending])
        return rows[np.array(trials, dtype=np.intp)]
