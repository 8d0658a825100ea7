"""Improvement per second, for searches in which some configs cost far more than others.

Snoek, Larochelle, Adams, "Practical Bayesian Optimization of Machine Learning Algorithms",
NIPS 2012, section 3.2: expected improvement per second, with a Gaussian process on the logarithm of
the seconds. What a point is worth is then

    log EI(x) - power * E[log seconds(x)],

which counts seconds in ratios, so that their unit does not matter. With a power below 1 the cost
counts for less, down to 0, where this is the log expected improvement.
"""

from typing import NamedTuple, Protocol

import numpy as np

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.data import inputs
from asynctune.gp.fit import fit
from asynctune.gp.improvement import Acquisition
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior


class Cost(Protocol):
    """What it costs to try a point of the unit cube."""

    def log_seconds(self, X: Matrix) -> Vector:
        """Return log seconds, up to a constant, at points `X`, ``(m, d)``."""
        ...

    def log_seconds_with_gradient(self, X: Matrix) -> tuple[Vector, Matrix]:
        """Return log seconds at points `X`, ``(m, d)``, and their gradients, ``(m, d)``."""
        ...


class LearnedCost:
    """A Gaussian process on the log seconds that were measured.

    Args:
        X: Points in the unit cube, distinct or not, shape ``(n, d)``, n at least 1.
        seconds: What each took, a resource level or a whole trial, shape ``(n,)``.

    Raises:
        ValueError: If the shapes do not agree, or seconds are not positive and finite.
    """

    def __init__(self, X: Matrix, seconds: Vector) -> None:
        if X.ndim != 2 or seconds.shape != (len(X),) or not len(X):
            raise ValueError(
                f"seconds must be one number for each row of X; got shapes {seconds.shape} and "
                f"{X.shape}"
            )
        if not (np.isfinite(seconds).all() and (seconds > 0.0).all()):
            raise ValueError(f"seconds must be positive and finite; got {seconds.tolist()}")
        logs = np.log(seconds)
        self._centre = float(logs.mean())
        self._unit = float(logs.std()) or 1.0
        targets = (logs - self._centre) / self._unit
        model = Model(X.shape[1])
        data = inputs(X)
        self._posterior = Posterior(model, fit(model, data, targets, [model.centre]), data, targets)

    def log_seconds(self, X: Matrix) -> Vector:
        """Return the posterior means of log seconds at points `X`, ``(m, d)``."""
        return self._centre + self._unit * self._posterior.mean(X)

    def log_seconds_with_gradient(self, X: Matrix) -> tuple[Vector, Matrix]:
        """Return log seconds at points `X`, ``(m, d)``, and their gradients, ``(m, d)``."""
        prediction, gradient = self._posterior.predict_with_gradient(X)
        return self._centre + self._unit * prediction.mean, self._unit * gradient.mean


class PerCost(NamedTuple):
    """An acquisition, such as log expected improvement, per unit of cost.

    Attributes:
        acquisition: A logarithm.
        cost: What a point costs.
        power: How much that counts, from 0 to 1.
    """

    acquisition: Acquisition
    cost: Cost
    power: float = 1.0

    def value(self, X: Matrix) -> Vector:
        """Return the values at points `X`, ``(m, d)``."""
        return self.acquisition.value(X) - self.power * self.cost.log_seconds(X)

    def value_with_gradient(self, X: Matrix) -> tuple[Vector, Matrix]:
        """Return the values at points `X`, ``(m, d)``, and their gradients, ``(m, d)``."""
        value, slope = self.acquisition.value_with_gradient(X)
        log_seconds, cost_slope = self.cost.log_seconds_with_gradient(X)
        return value - self.power * log_seconds, slope - self.power * cost_slope
