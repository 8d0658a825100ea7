"""How well each level's process ranks configs as the highest level does.

Li et al., "Hyper-Tune: Towards Efficient Hyper-parameter Tuning at Scale", VLDB 2022, section 4.2,
after Feurer, Letham, Hutter, Bakshy, "Practical Transfer Learning for Bayesian Optimization",
2018, section 4.2: functions are drawn from each posterior, and the pairs counted that a function
puts in another order than the values at the highest level that has enough of them. A level's
weight is the share of draws in which it errs least. The highest level itself is judged by
cross-validation, as it has seen the values that it is asked about.
"""

from typing import Final

import numpy as np

from asynctune.gp.arrays import Indices, Matrix, Vector
from asynctune.gp.cholesky import factorise, solve_lower, solve_lower_vector
from asynctune.gp.data import Inputs
from asynctune.gp.levels import level_parameters, rung_numbers
from asynctune.gp.matern import matern52, squared_distances, with_squares
from asynctune.gp.model import Model

#: A level takes part from this many observations on.
ENOUGH: Final = 6
_DRAWS = 50
_FOLDS = 5
# Where a process has been, nearly nothing is left of its variance, and rounding may take the rest.
_NUGGET = 1e-8
# As many of the latest pairs' points as are compared: the number of pairs grows with the square.
_COMPARED = 100


def level_weights(
    model: Model, theta: Vector, data: Inputs, targets: Vector, rng: np.random.Generator
) -> Vector:
    """Return the weights of the model's levels, which add up to 1, shape ``(R,)``.

    If no level has enough observations, or the lowest of those that have is the highest, all weight
    is on the highest level that has enough, else on the one that has most.

    Args:
        model: A model with the kernel "independent".
        theta: Its parameters, shape ``(p,)``.
        data: Where it is observed, `n` points.
        targets: Values there, shape ``(n,)``.
        rng: Source of the draws.
    """
    numbers = rung_numbers(model, data)
    counts = np.bincount(numbers, minlength=len(model.rungs))
    weights = np.zeros(len(model.rungs))
    taking_part = np.flatnonzero(counts >= ENOUGH)
    if len(taking_part) < 2:
        weights[taking_part[0] if len(taking_part) else int(np.argmax(counts))] = 1.0
        return weights
    top = int(taking_part[-1])
    judges = np.flatnonzero(numbers == top)[-_COMPARED:]
    values = targets[judges]
    losses = np.empty((len(taking_part), _DRAWS))
    for row, rung in enumerate(map(int, taking_part)):
        own = level_parameters(model, theta, rung)
        at = np.flatnonzero(numbers == rung)
        if rung == top:
            draws = _held_out_draws(model.dimension, own, data.X, targets, at, judges, rng)
        else:
            draws = _draws(model.dimension, own, data.X[at], targets[at], data.X[judges], rng)
        losses[row] = _misranked(draws, values)
    best = losses == losses.min(axis=0)
    # Draws in which several levels err least are shared among them.
    weights[taking_part] = (best / best.sum(axis=0)).mean(axis=1)
    return weights


def _held_out_draws(
    d: int,
    theta: Vector,
    X: Matrix,
    targets: Vector,
    at: Indices,
    judges: Indices,
    rng: np.random.Generator,
) -> Matrix:
    """Return draws at the points `judges`, each fold's given the other folds of `at` alone."""
    folds = np.arange(len(judges)) % min(_FOLDS, len(judges))
    draws = np.empty((_DRAWS, len(judges)))
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        seen = np.setdiff1d(at, judges[out])
        draws[:, out] = _draws(d, theta, X[seen], targets[seen], X[judges[out]], rng)
    return draws


def _draws(
    d: int, theta: Vector, X: Matrix, targets: Vector, points: Matrix, rng: np.random.Generator
) -> Matrix:
    """Return functions drawn from a process given `targets` at `X`, at `points`, ``(S, m)``.

    Args:
        d: Number of inputs.
        theta: The process's parameters: log lengthscales, log variance, log noise, mean.
        X: Shape ``(n, d)``.
        targets: Shape ``(n,)``.
        points: Shape ``(m, d)``.
        rng: Source of randomness.
    """
    inverse, scale = np.exp(-theta[:d]), float(np.exp(theta[d]))
    A, B = (X - 0.5) * inverse, (points - 0.5) * inverse
    to_B = with_squares(B)
    covariance = matern52(squared_distances(A, with_squares(A)), scale)
    covariance[np.diag_indices(len(A))] += np.exp(theta[d + 1])
    L = factorise(covariance)
    half = solve_lower(L, matern52(squared_distances(A, to_B), scale))
    mean = theta[d + 2] + solve_lower_vector(L, targets - theta[d + 2]) @ half
    left = matern52(squared_distances(B, to_B), scale) - half.T @ half
    left[np.diag_indices(len(B))] += _NUGGET * scale
    root = factorise(left)
    drawn: Matrix = mean + rng.standard_normal((_DRAWS, len(B))) @ root.T
    return drawn


def _misranked(draws: Matrix, values: Vector) -> Vector:
    """Return how many pairs of points each draw puts in another order than `values`, ``(S,)``."""
    i, j = np.triu_indices(len(values), 1)
    differ: Vector = np.count_nonzero(
        (draws[:, i] < draws[:, j]) != (values[i] < values[j]), axis=1
    ).astype(np.float64)
    return differ
