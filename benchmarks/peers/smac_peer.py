"""SMAC 3: its facade with a Gaussian process ("BB") and that with a random forest ("HPO")."""

import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ConfigSpace import (  # type: ignore[import-not-found]
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from smac import (  # type: ignore[import-not-found]
    BlackBoxFacade,
    HyperparameterOptimizationFacade,
    Scenario,
)
from smac.runhistory.dataclasses import TrialValue  # type: ignore[import-not-found]

from benchmarks.peers.space import Config, Parameter
from benchmarks.peers.wire import Asked, Opening, serve

_MANY = 1_000


class SMAC:
    """One of SMAC's facades, by ask and tell.

    Its initial design depends on the budget, which the option `n_trials` says; with points to
    begin with there is no other initial design.
    """

    version = version("smac")

    def __init__(self, opening: Opening) -> None:
        facade = BlackBoxFacade if opening.method == "BB" else HyperparameterOptimizationFacade
        space = ConfigurationSpace(seed=opening.seed)
        space.add([_hyperparameter(p) for p in opening.parameters])
        self._folder = tempfile.TemporaryDirectory(prefix="smac-")
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=opening.options.get("n_trials", _MANY),
            seed=opening.seed,
            output_directory=Path(self._folder.name),
        )
        design: dict[str, Any] = {}
        if opening.points:
            points = [Configuration(space, values=dict(point)) for point in opening.points]
            design = {"n_configs": 0, "additional_configs": points, "max_ratio": 1.0}
        self._smac = facade(
            scenario,
            _never_called,
            initial_design=facade.get_initial_design(scenario, **design),
            overwrite=True,
            logging_level=False,
        )
        self._asked: list[Any] = []

    def ask(self) -> Asked:
        """Return a new trial."""
        info = self._smac.ask()
        self._asked.append(info)
        return Asked(len(self._asked) - 1, dict(info.config))

    def tell(self, number: int, resource: int, value: float) -> str:
        """Take a trial's value."""
        del resource
        self._smac.tell(self._asked[number], TrialValue(cost=value))
        return "complete"


def _never_called(config: Config, seed: int = 0) -> float:
    raise RuntimeError(f"trials are told, not run; got {config}, seed {seed}")


def _hyperparameter(p: Parameter) -> Any:  # noqa: ANN401 - a hyperparameter of ConfigSpace
    if p.kind == "choice":
        return CategoricalHyperparameter(p.name, p.values)
    if p.kind == "int":
        return UniformIntegerHyperparameter(p.name, int(p.low), int(p.high), log=p.log)
    return UniformFloatHyperparameter(p.name, p.low, p.high, log=p.log)


main = partial(serve, SMAC)
