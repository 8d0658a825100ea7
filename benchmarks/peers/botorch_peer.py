"""BoTorch as its tutorials use it: a process with its default priors, and batch log EI.

"qLogEI" improves on the best value seen, "qLogNEI" on what the process thinks of the points
seen, which suits noise. Configs under way are pending points of the acquisition. Whole numbers
are rounded and choices are one-hot coded; both are relaxed while the acquisition is optimised.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import botorch  # type: ignore[import-not-found]
import botorch.utils.sampling  # type: ignore[import-not-found]
import torch  # type: ignore[import-not-found,unused-ignore]
from botorch.acquisition.logei import (  # type: ignore[import-not-found]
    qLogExpectedImprovement,
    qLogNoisyExpectedImprovement,
)
from botorch.fit import fit_gpytorch_mll  # type: ignore[import-not-found]
from botorch.models import SingleTaskGP  # type: ignore[import-not-found]
from botorch.optim import optimize_acqf  # type: ignore[import-not-found]
from gpytorch.mlls import ExactMarginalLogLikelihood  # type: ignore[import-not-found]

from benchmarks.peers.space import Config, Parameter
from benchmarks.peers.wire import Asked, Opening, serve


class BoTorch:
    """Sobol points first, as many as there are parameters and at least 5, then the model."""

    version: str = botorch.__version__

    def __init__(self, opening: Opening) -> None:
        torch.manual_seed(opening.seed)
        self._parameters = opening.parameters
        self._dimension = sum(len(p.values) or 1 for p in opening.parameters)
        self._noisy = opening.method == "qLogNEI"
        self._points = [dict(point) for point in opening.points]
        n_sobol = max(0, max(5, len(opening.parameters)) - len(opening.points))
        if n_sobol:
            draw = botorch.utils.sampling.draw_sobol_samples
            unit = torch.tensor([[0.0] * self._dimension, [1.0] * self._dimension]).double()
            sobol = draw(unit, n=n_sobol, q=1, seed=opening.seed)[:, 0]
            self._points += [self._config(u.tolist()) for u in sobol]
        self._asked: list[list[float]] = []
        self._told: dict[int, float] = {}

    def ask(self) -> Asked:
        """Return a new trial."""
        number = len(self._asked)
        if number < len(self._points) or not self._told:
            config = self._points[number % len(self._points)]
        else:
            config = self._config(self._model_point())
        self._asked.append(self._encode(config))
        return Asked(number, config)

    def tell(self, number: int, resource: int, value: float) -> str:
        """Take a trial's value."""
        del resource
        self._told[number] = value
        return "complete"

    def _model_point(self) -> list[float]:
        told = list(self._told)
        X = torch.tensor([self._asked[i] for i in told], dtype=torch.double)
        Y = -torch.tensor([[self._told[i]] for i in told], dtype=torch.double)
        pending = [x for i, x in enumerate(self._asked) if i not in self._told]
        X_pending = torch.tensor(pending, dtype=torch.double) if pending else None
        model = SingleTaskGP(X, Y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        if self._noisy:
            acquisition = qLogNoisyExpectedImprovement(
                model, X, X_pending=X_pending, prune_baseline=True
            )
        else:
            acquisition = qLogExpectedImprovement(model, Y.max(), X_pending=X_pending)
        bounds = torch.tensor([[0.0] * self._dimension, [1.0] * self._dimension]).double()
        point, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=10, raw_samples=512)
        found: list[float] = point[0].tolist()
        return found

    def _config(self, unit: list[float]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        at = 0
        for p in self._parameters:
            width = len(p.values) or 1
            config[p.name] = _decode(p, unit[at : at + width])
            at += width
        return config

    def _encode(self, config: Config) -> list[float]:
        return [u for p in self._parameters for u in _encode(p, config)]


def _decode(p: Parameter, unit: list[float]) -> Any:  # noqa: ANN401 - a value of any kind
    if p.kind == "choice":
        return p.values[max(range(len(unit)), key=unit.__getitem__)]
    low, high = (math.log(p.low), math.log(p.high)) if p.log else (p.low, p.high)
    value = low + unit[0] * (high - low)
    value = min(max(math.exp(value) if p.log else value, p.low), p.high)
    return round(value) if p.kind == "int" else value


def _encode(p: Parameter, config: Mapping[str, Any]) -> list[float]:
    value = config[p.name]
    if p.kind == "choice":
        return [float(value == v) for v in p.values]
    if p.log:
        return [math.log(value / p.low) / math.log(p.high / p.low)]
    return [(value - p.low) / (p.high - p.low)]


main = partial(serve, BoTorch)
