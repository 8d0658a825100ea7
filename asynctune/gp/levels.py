"""Independent processes, one for each resource level, that share lengthscales and noise.

With the kernel "independent" of `asynctune.gp.independent` the covariance matrix falls apart
into one block a level, so that a likelihood of n observations costs the sum of the cubes of the
blocks instead of n cubed, and a posterior at one level needs that block alone.
"""

import numpy as np

from asynctune.gp.arrays import Indices, Matrix, Vector
from asynctune.gp.data import Inputs, inputs
from asynctune.gp.likelihood import NegativeLogPosterior
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior


def level_parameters(model: Model, theta: Vector, rung: int) -> Vector:
    """Return the parameters of level number `rung` as those of a process without resource.

    Args:
        model: A model with the kernel "independent".
        theta: Its parameters, shape ``(p,)``.
        rung: Index into the model's rungs.

    Returns:
        Shape ``(d + 3,)``.
    """
    d, n = model.dimension, len(model.rungs)
    own: Vector = theta[: d + 3].copy()
    own[d + 2] += theta[d + 3 + rung]
    own[d] += theta[d + 3 + n + rung]
    return own


def level_posterior(
    model: Model, theta: Vector, data: Inputs, targets: Vector, rung: int
) -> Posterior:
    """Return the posterior at level number `rung`, with a variance only where nobody has been.

    Points of other levels, and pending ones, leave the mean as it is; see
    `asynctune.gp.posterior` on reinterpolation.

    Args:
        model: A model with the kernel "independent".
        theta: Its parameters, shape ``(p,)``.
        data: The observed points, `n`, then the pending ones.
        targets: Values at the first `n` points, shape ``(n,)``.
        rung: Index into the model's rungs.
    """
    here = rung_numbers(model, data)[: len(targets)] == rung
    elsewhere = np.ones(len(data.at), dtype=np.bool_)
    elsewhere[: len(targets)] = ~here
    X = np.concatenate([data.X[: len(targets)][here], data.X[elsewhere]])
    own = level_parameters(model, theta, rung)
    return Posterior(Model(model.dimension), own, inputs(X), targets[here], reinterpolate=True)


def rung_numbers(model: Model, data: Inputs) -> Indices:
    """Return for each point the number of its level among the model's rungs, shape ``(n,)``."""
    numbers: Indices = np.searchsorted(model.rungs, data.levels)[data.at]
    return numbers


class IndependentLogPosterior:
    """What `NegativeLogPosterior` is for other models, as a sum over the levels.

    Args:
        model: A model with the kernel "independent".
        data: Where it is observed, `n` points, all of them at the model's rungs.
        targets: Standardised values there, shape ``(n,)``.
    """

    def __init__(self, model: Model, data: Inputs, targets: Vector) -> None:
        self._model = model
        plain = Model(model.dimension)
        numbers = rung_numbers(model, data)
        self._parts = [
            (rung, NegativeLogPosterior(plain, inputs(X), targets[at], with_prior=False))
            for rung in range(len(model.rungs))
            if len(X := data.X[at := numbers == rung])
        ]

    def __call__(self, theta: Vector) -> tuple[float, Vector]:
        """Return the negative log density at `theta` and its gradient, shape ``(p,)``."""
        model = self._model
        d, n = model.dimension, len(model.rungs)
        z = (theta - model.centre) / model.sd
        value = 0.5 * float(z @ z)
        gradient: Vector = z / model.sd
        for rung, part in self._parts:
            part_value, slope = part(level_parameters(model, theta, rung))
            value += part_value
            gradient[: d + 3] += slope
            gradient[d + 3 + rung] += slope[d + 2]
            gradient[d + 3 + n + rung] += slope[d]
        return value, gradient

    def value(self, theta: Vector) -> float:
        """Return the negative log density at `theta` alone."""
        z = (theta - self._model.centre) / self._model.sd
        parts = (p.value(level_parameters(self._model, theta, r)) for r, p in self._parts)
        return 0.5 * float(z @ z) + sum(parts)

    def curvature(self, theta: Vector) -> Matrix:
        """Return the Hessian expected at `theta`, shape ``(p, p)``."""
        model = self._model
        d, n = model.dimension, len(model.rungs)
        information = np.diag(model.sd**-2.0)
        for rung, part in self._parts:
            own = part.curvature(level_parameters(model, theta, rung))
            # Parameters of the part, and the ones of this model that move them.
            into = [*range(d + 3), d + 3 + rung, d + 3 + n + rung]
            of = [*range(d + 3), d + 2, d]
            information[np.ix_(into, into)] += own[np.ix_(of, of)]
        return information
