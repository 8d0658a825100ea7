"""Which parameters a process has, where they start, and what is believed of them beforehand.

A model's parameters are one vector: for each of `d` inputs the log lengthscale, then the log
variance of the process, the log variance of the noise, the mean (the only one that
is not a logarithm), and for a process over a resource the log parameters of its decay.
Inputs lie in the unit cube and targets are standardised, which is what the priors
refer to. Every prior is normal in the vector's own coordinates.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from asynctune.gp.arrays import Vector
from asynctune.gp.independent import independent_terms, markov_terms
from asynctune.gp.resource import ResourceTerms, decay_terms, plain_terms

DecayKernel = Literal["exp-decay-sum", "exp-decay-combined", "exp-decay-delta1"]
LevelKernel = Literal["independent", "markov"]
ResourceKernel = DecayKernel | LevelKernel


class _Parameter(NamedTuple):
    """Prior centre (also the start of a fit), its standard deviation, and the bounds."""

    centre: float
    sd: float
    lower: float
    upper: float


# About the width of the cube, give or take a factor of e: a metric that is roughly monotone in a
# hyperparameter, or has one optimum in it, is what is expected of most of them.
_LENGTHSCALE = _Parameter(0.0, 1.0, np.log(1e-2), np.log(1e3))
_VARIANCE = _Parameter(0.0, 1.0, np.log(1e-3), np.log(1e3))
# Validation losses repeat to a few percent of their spread, but the data may say otherwise.
_NOISE = _Parameter(np.log(1e-3), 2.0, np.log(1e-9), np.log(10.0))
_MEAN = _Parameter(0.0, 1.0, -10.0, 10.0)
# lam: the decay takes between a hundredth of the largest resource and all of it.
_DECAY = (
    _Parameter(0.0, 1.0, np.log(1e-2), np.log(1e2)),
    _Parameter(np.log(5.0), 1.5, np.log(1e-2), np.log(1e3)),
    _Parameter(0.0, 1.0, np.log(1e-3), np.log(1e2)),
)
_DELTA = _Parameter(np.log(0.5), 1.0, np.log(1e-3), 0.0)
# Of a level, around what all levels share: targets are standardised over all of them.
_LEVEL_MEAN = _Parameter(0.0, 1.0, -10.0, 10.0)
_LEVEL_VARIANCE = _Parameter(0.0, 1.0, np.log(1e-3), np.log(1e3))
# A level at the next rung, three times the resource, is expected to be alike: e^(-1/10) or so.
_TAU = _Parameter(np.log(10.0), 1.5, np.log(1e-1), np.log(1e4))


class Model:
    """A Gaussian process, its parameters left open.

    Attributes:
        dimension: Number of inputs `d`.
        resource_kernel: How the resource enters; None for a process without one.
        rungs: All levels that can occur, as fractions of the largest, ascending, shape
            ``(R,)``; of use to "independent" and "markov" only.
        centre: Prior means of the parameters, where a fit starts, shape ``(p,)``.
        sd: Prior standard deviations, shape ``(p,)``.
        lower: Lower bounds, shape ``(p,)``.
        upper: Upper bounds, shape ``(p,)``.
    """

    def __init__(
        self,
        dimension: int,
        resource_kernel: ResourceKernel | None = None,
        rungs: Sequence[float] = (),
    ) -> None:
        parameters = [_LENGTHSCALE] * dimension + [_VARIANCE, _NOISE, _MEAN]
        if resource_kernel in ("independent", "markov"):
            parameters += [_LEVEL_MEAN] * len(rungs) + [_LEVEL_VARIANCE] * len(rungs)
            parameters += [_TAU] if resource_kernel == "markov" else []
        elif resource_kernel is not None:
            parameters += _DECAY
        if resource_kernel == "exp-decay-combined":
            parameters.append(_DELTA)
        self.dimension = dimension
        self.resource_kernel = resource_kernel
        self.rungs = np.array(rungs)
        self.centre, self.sd, self.lower, self.upper = (
            np.array(column) for column in zip(*parameters, strict=True)
        )

    def inverse_lengthscales(self, theta: Vector) -> Vector:
        """Return what inputs are multiplied by, shape ``(d,)``."""
        return np.exp(-theta[: self.dimension])

    def variance(self, theta: Vector) -> float:
        """Return the variance of the process."""
        return float(np.exp(theta[self.dimension]))

    def noise(self, theta: Vector) -> float:
        """Return the variance of the noise."""
        return float(np.exp(theta[self.dimension + 1]))

    def terms(self, theta: Vector, levels: Vector) -> ResourceTerms:
        """Return what the resource adds at `levels`, fractions of the largest, shape ``(L,)``."""
        mu, *decay = theta[self.dimension + 2 :].tolist()
        if self.resource_kernel is None:
            return plain_terms(mu)
        n = len(self.rungs)
        own = theta[self.dimension + 3 :]
        if self.resource_kernel == "independent":
            return independent_terms(levels, self.rungs, mu, own[:n], own[n:])
        if self.resource_kernel == "markov":
            tau = float(np.exp(own[-1]))
            return markov_terms(levels, self.rungs, mu, own[:n], own[n : 2 * n], tau)
        fixed = 0.0 if self.resource_kernel == "exp-decay-sum" else 1.0
        alpha, lam, gamma, *free = np.exp(decay).tolist()
        terms = decay_terms(levels, mu, alpha, lam, gamma, free[0] if free else fixed)
        if free:
            return terms
        return terms._replace(
            d_amplitude=terms.d_amplitude[:4], d_offset=terms.d_offset[:4], d_mean=terms.d_mean[:4]
        )
