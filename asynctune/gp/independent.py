"""Resource kernels with a mean and a variance of each level's own.

Where the levels are few and known beforehand, as the rungs of successive halving are, nothing need
be assumed about the shape of learning curves: level r has the mean ``mu + m_r`` and the variance
``v exp(e_r)``, and

    cov((x, r), (x', r')) = k(x, x') A(r, r'),
    A(r, r') = exp((e_r + e_r') / 2) c(r, r').

*Independent*: c is 1 at equal levels and 0 otherwise, so that the levels share lengthscales and
noise alone (Li et al., "Hyper-Tune: Towards Efficient Hyper-parameter Tuning at Scale",
VLDB 2022, section 4.1, has a process for each level; Salinas et al., "Syne Tune", AutoML 2022,
let them share lengthscales). *Markov*: ``c = exp(-|log r - log r'| / tau)``. What a level says of
another fades with the ratio of their resources, and given a level the ones below say nothing about
those above; with ``tau`` towards 0 the levels are independent, with a large one they differ by mean
and scale only. It is the intrinsic coregionalisation of Bonilla, Chai, Williams, "Multi-task
Gaussian Process Prediction", NIPS 2007, with one parameter for the tasks' correlations.

The levels' own parameters have a prior around 0, that is, around what all levels share.
"""

import numpy as np

from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.resource import ResourceTerms


def independent_terms(
    levels: Vector, rungs: Vector, mu: float, means: Vector, log_variances: Vector
) -> ResourceTerms:
    """Return the terms of independent levels.

    The derivatives are with respect to mu, `means` and `log_variances`.

    Args:
        levels: Resource levels to return the terms for, each one of `rungs`; ``(L,)``.
        rungs: All levels there are, ascending, shape ``(R,)``.
        mu: The mean that all levels share.
        means: The levels' deviations from it, shape ``(R,)``.
        log_variances: Logarithms of the levels' variances in units of the shared one, ``(R,)``.

    Raises:
        ValueError: If one of `levels` is none of `rungs`.
    """
    member = _membership(levels, rungs)
    same = member @ member.T
    return _terms(member, same, mu, means, log_variances, np.empty((0, *same.shape)))


def markov_terms(
    levels: Vector, rungs: Vector, mu: float, means: Vector, log_variances: Vector, tau: float
) -> ResourceTerms:
    """Return the terms of levels whose correlation fades with the ratio of their resources.

    The derivatives are with respect to mu, `means`, `log_variances` and log tau.

    Args:
        levels: Resource levels to return the terms for, each one of `rungs`; ``(L,)``.
        rungs: All levels there are, ascending, shape ``(R,)``.
        mu: The mean that all levels share.
        means: The levels' deviations from it, shape ``(R,)``.
        log_variances: Logarithms of the levels' variances in units of the shared one, ``(R,)``.
        tau: Over which log ratio the correlation falls by a factor of e, positive.

    Raises:
        ValueError: If one of `levels` is none of `rungs`.
    """
    member = _membership(levels, rungs)
    apart = np.abs(np.log(levels)[:, None] - np.log(levels)[None, :]) / tau
    correlation = np.exp(-apart)
    return _terms(member, correlation, mu, means, log_variances, (correlation * apart)[None])


def _membership(levels: Vector, rungs: Vector) -> Matrix:
    """Return which level is which rung, as a matrix of zeros and ones, ``(L, R)``."""
    member = np.equal.outer(levels, rungs).astype(np.float64)
    unknown = levels[member.sum(axis=1) == 0.0]
    if unknown.size:
        raise ValueError(
            f"levels of independent processes must be among {rungs.tolist()}; "
            f"got {unknown.tolist()}"
        )
    return member


def _terms(
    member: Matrix,
    correlation: Matrix,
    mu: float,
    means: Vector,
    log_variances: Vector,
    d_correlation: Matrix,
) -> ResourceTerms:
    """Return the terms for levels that are correlated like this.

    Args:
        member: Which level is which rung, ``(L, R)``.
        correlation: Between the levels, ``(L, L)``.
        mu: The mean that all levels share.
        means: Of the rungs, ``(R,)``.
        log_variances: Of the rungs, ``(R,)``.
        d_correlation: Derivatives of `correlation` with respect to `P` parameters, ``(P, L, L)``.
    """
    n_levels, n_rungs = member.shape
    scale = np.exp(0.5 * (member @ log_variances))
    product = scale[:, None] * scale[None, :]
    amplitude = product * correlation
    one = member.T
    d_variances = 0.5 * (one[:, :, None] + one[:, None, :]) * amplitude
    flat = np.zeros((1 + n_rungs, n_levels, n_levels))
    d_amplitude = np.concatenate([flat, d_variances, product * d_correlation])
    return ResourceTerms(
        amplitude,
        np.zeros_like(amplitude),
        mu + member @ means,
        d_amplitude,
        np.zeros_like(d_amplitude),
        np.concatenate(
            [np.ones((1, n_levels)), one, np.zeros((n_rungs + len(d_correlation), n_levels))]
        ),
    )
