"""Several processes as one: the levels' beliefs, each in units of its own, weighted.

Li et al., "Hyper-Tune: Towards Efficient Hyper-parameter Tuning at Scale", VLDB 2022, section 4.2:
mean and variance of a weighted sum of independent processes. A level's losses lie higher and
spread wider than those of the level above; so each is first taken relative to its own mean
and scale, and what is averaged says how good a config is among all, not what its loss would be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.posterior import Gradient, Posterior, Prediction


class Member(NamedTuple):
    """One process of an ensemble.

    Attributes:
        posterior: What it believes.
        weight: Its weight, at least 0.
        centre: Its prior mean.
        unit: Its prior standard deviation.
    """

    posterior: Posterior
    weight: float
    centre: float
    unit: float


class Ensemble:
    """The weighted sum of independent processes.

    Args:
        members: At least one.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = [m for m in members if m.weight > 0.0]

    @property
    def lengthscales(self) -> Vector:
        """Over which length the first member changes, in each coordinate, shape ``(d,)``."""
        return self._members[0].posterior.lengthscales

    def mean(self, X: Matrix) -> Vector:
        """Return the mean at points `X`, ``(m, d)``."""
        total = np.zeros(len(X))
        for member in self._members:
            total += (member.posterior.mean(X) - member.centre) * (member.weight / member.unit)
        return total

    def predict(self, X: Matrix) -> Prediction:
        """Return mean and standard deviation at points `X`, ``(m, d)``."""
        mean, variance = np.zeros((2, len(X)))
        for member in self._members:
            share = member.weight / member.unit
            prediction = member.posterior.predict(X)
            mean += (prediction.mean - member.centre) * share
            variance += (prediction.sd * share) ** 2
        return Prediction(mean, np.sqrt(variance))

    def predict_with_gradient(self, X: Matrix) -> tuple[Prediction, Gradient]:
        """Return mean and standard deviation at points `X`, ``(m, d)``, and their gradients."""
        mean, variance = np.zeros((2, len(X)))
        d_mean, half_d_variance = np.zeros((2, *X.shape))
        for member in self._members:
            share = member.weight / member.unit
            prediction, gradient = member.posterior.predict_with_gradient(X)
            mean += (prediction.mean - member.centre) * share
            variance += (prediction.sd * share) ** 2
            d_mean += gradient.mean * share
            half_d_variance += (share**2 * prediction.sd)[:, None] * gradient.sd
        sd = np.sqrt(variance)
        return Prediction(mean, sd), Gradient(d_mean, half_d_variance / sd[:, None])
