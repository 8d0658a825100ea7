"""What model-based searchers believe of the metric: fitted to the evidence, then asked."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.data import Inputs, inputs
from asynctune.gp.fit import fit
from asynctune.gp.improvement import Surface
from asynctune.gp.levels import level_posterior
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior
from asynctune.gp.targets import TargetScale

# Up to this many observations fits are whole, and also start from the prior, in case the last one
# got stuck: evaluations are cheap then, and new observations change much.
_WHOLE_UP_TO = 40
# Beyond, a refit is bounded, so that no proposal costs much more than the others. As it knows what
# curvature to begin with, that is mostly enough; where it is not, the next one goes on.
_EVALUATIONS = 3


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

    def inputs(self) -> Inputs:
        """Return the points of the observations and of the pending configs."""
        return inputs(self.X, self.resources)

    def observed(self) -> Inputs:
        """Return the points of the observations."""
        n = len(self.values)
        return inputs(self.X[:n], None if self.resources is None else self.resources[:n])

    def targets(self) -> NDArray[np.float64]:
        """Return the targets of the observations, shape ``(n,)``."""
        return self.scale.targets(self.values)


class Surrogate(Protocol):
    """A model of the metric whose parameters are journalled."""

    @property
    def n_parameters(self) -> int:
        """How many parameters it has."""
        ...

    def fit(
        self, evidence: Evidence, previous: NDArray[np.float64] | None, k: int
    ) -> NDArray[np.float64]:
        """Return the parameters fitted to the evidence, pending configs left aside.

        Args:
            evidence: What is known.
            previous: Parameters of the last fit, from which the search starts.
            k: Number of the proposal, which all randomness is keyed by.
        """
        ...

    def surface(self, evidence: Evidence, parameters: NDArray[np.float64]) -> Surface:
        """Return what is believed with these parameters, given the evidence."""
        ...


def fit_process(
    model: Model, evidence: Evidence, previous: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the parameters of a process fitted to the evidence."""
    data, targets = evidence.observed(), evidence.targets()
    if previous is None:
        return fit(model, data, targets, [model.centre])
    if len(targets) <= _WHOLE_UP_TO:
        return fit(model, data, targets, [previous, model.centre])
    return fit(model, data, targets, [previous], _EVALUATIONS)


class SingleProcess:
    """One Gaussian process, over configs or over configs and resource.

    Args:
        model: The process.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def n_parameters(self) -> int:
        """How many parameters it has."""
        return len(self._model.centre)

    def fit(
        self,
        evidence: Evidence,
        previous: NDArray[np.float64] | None,
        k: int,  # noqa: ARG002 - nothing is random
    ) -> NDArray[np.float64]:
        """Return the parameters fitted to the evidence, pending configs left aside."""
        return fit_process(self._model, evidence, previous)

    def surface(self, evidence: Evidence, parameters: NDArray[np.float64]) -> Surface:
        """Return the posterior at the evidence's level."""
        model, data, targets = self._model, evidence.inputs(), evidence.targets()
        if model.resource_kernel == "independent":
            rung = int(np.searchsorted(model.rungs, evidence.level))
            return level_posterior(model, parameters, data, targets, rung)
        return Posterior(model, parameters, data, targets, evidence.level, reinterpolate=True)
