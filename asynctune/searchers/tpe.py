"""TPE: Optuna's tree-structured Parzen estimator as a searcher.

Bergstra, Bardenet, Bengio, Kégl, "Algorithms for Hyper-Parameter Optimization", NIPS 2011;
Watanabe, "Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their
Roles", 2023.
Optuna is an optional dependency.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple, final

import numpy as np

from asynctune.exceptions import UsageError
from asynctune.searchers._gp_data import final_values
from asynctune.searchers._gp_start import InitialConfigs, initial_config
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import Choice, Config, ConfigSpace, Domain, FloatRange, IntRange

#: First part of the spawn keys of the sampler's seeds ("TP"); then comes k.
ROLE_TPE: Final = 0x5450
# How often Optuna is asked for a config that is not taken.
_ATTEMPTS = 20


@final
class TPESearcher:
    """Proposes what Optuna's TPESampler suggests, given all trials so far.

    Optuna's study is made afresh for each proposal, from the snapshot, and its sampler is seeded by
    the proposal's number; so nothing depends on the calls before. Running trials are
    told to it as such ("constant liar"). A trial's latest value counts.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        initial: The configs that all methods of one seed start with.
        num_init_random: How many proposals come from `initial`; more do while there is no
            observation.
        multivariate: Whether parameters are modelled jointly.

    Raises:
        UsageError: If Optuna is not installed, or a number is out of range.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int,
        initial: InitialConfigs,
        *,
        num_init_random: int = 10,
        multivariate: bool = False,
    ) -> None:
        if num_init_random < 1:
            raise UsageError(f"num_init_random must be at least 1; got {num_init_random}")
        self._optuna = _load()
        self._space = space
        self._seed = seed
        self._initial = initial
        self._first_modelled = max(num_init_random, initial.n_points)
        self._multivariate = multivariate
        self._settings = {"num_init_random": num_init_random, "multivariate": multivariate}
        distributions = self._optuna.distributions
        self._axes = {name: _axis(distributions, d) for name, d in space.domains.items()}

    @property
    def needs_data(self) -> bool:
        """True: proposals depend on what was observed."""
        return True

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:
        """Return proposal number `k`, given `snapshot`."""
        key = self._space.key
        taken = {*map(key, snapshot.configs), *(key(p.config) for p in snapshot.pending)}
        if self._space.size is not None and len(taken) >= self._space.size:
            return Proposal(k, None)
        if k >= self._first_modelled and snapshot.length:
            study = self._study(snapshot, k)
            for _ in range(_ATTEMPTS):
                config = self._ask(study)
                if key(config) not in taken:
                    return Proposal(k, config, None, "model")
        config_or_none = initial_config(self._initial, self._space, k, taken)
        origin = "points" if k < self._initial.n_points else "random"
        return Proposal(k, config_or_none, None, origin)

    def describe(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        return {"searcher": "tpe", **self._settings}

    def _study(self, snapshot: Snapshot, k: int) -> Any:  # noqa: ANN401 - Optuna may not be there
        """Return a study of the snapshot's trials, with a sampler for proposal `k`."""
        optuna = self._optuna
        key = np.random.SeedSequence(self._seed, spawn_key=(ROLE_TPE, k))
        with warnings.catch_warnings():
            # Options that have been experimental for years.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=0,
                constant_liar=True,
                multivariate=self._multivariate,
                seed=int(key.generate_state(1)[0]),
            )
        study = optuna.create_study(sampler=sampler)
        data = final_values(snapshot.observations, snapshot.length)
        states = optuna.trial.TrialState
        trials = [
            self._trial(snapshot.configs[trial], value=value, state=states.COMPLETE)
            for trial, value in zip(data.trials.tolist(), data.values.tolist(), strict=True)
        ]
        trials += [self._trial(p.config, state=states.RUNNING) for p in snapshot.pending]
        study.add_trials(trials)
        return study

    def _trial(self, config: Config, **result: Any) -> Any:  # noqa: ANN401 - Optuna's own
        return self._optuna.trial.create_trial(
            params={name: axis.to_optuna(config[name]) for name, axis in self._axes.items()},
            distributions={name: axis.distribution for name, axis in self._axes.items()},
            **result,
        )

    def _ask(self, study: Any) -> Config:  # noqa: ANN401 - Optuna's own
        asked = study.ask({name: axis.distribution for name, axis in self._axes.items()})
        found = {name: axis.from_optuna(asked.params[name]) for name, axis in self._axes.items()}
        return self._space.nearest([self._space.complete(found)])[0]


class _Axis(NamedTuple):
    """A domain as Optuna sees it.

    Attributes:
        distribution: Optuna's distribution.
        values: If values go by their number, all values in order; else None.
    """

    distribution: Any
    values: tuple[Any, ...] | None = None

    def to_optuna(self, value: Any) -> Any:  # noqa: ANN401 - any parameter's value
        """Return what stands for `value`."""
        return value if self.values is None else self.values.index(value)

    def from_optuna(self, value: Any) -> Any:  # noqa: ANN401 - any parameter's value
        """Return the value that `value` stands for."""
        return value if self.values is None else self.values[value]


def _axis(distributions: Any, domain: Domain) -> _Axis:  # noqa: ANN401 - Optuna's own
    if isinstance(domain, FloatRange) and domain.scale != "reverse-log":
        log = domain.scale == "log"
        return _Axis(distributions.FloatDistribution(domain.lower, domain.upper, log=log))
    if isinstance(domain, IntRange):
        log = domain.scale == "log"
        return _Axis(distributions.IntDistribution(domain.lower, domain.upper, log=log))
    size = domain.size
    if size is None:
        raise UsageError(f"TPE knows floats on a linear or log scale only; got {domain}")
    values = tuple(domain.value_at(i) for i in range(size))
    if isinstance(domain, Choice):
        return _Axis(distributions.CategoricalDistribution(range(size)), values)
    return _Axis(distributions.IntDistribution(0, size - 1), values)


def _load() -> Any:  # noqa: ANN401 - Optuna may not be there
    try:
        optuna: Any = import_module("optuna")
    except ImportError:
        raise UsageError(
            "TPE needs the package optuna; install it with pip install 'asynctune[tpe]'"
        ) from None
    # It would announce every study, of which there is one a proposal.
    if optuna.logging.get_verbosity() < optuna.logging.WARNING:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
