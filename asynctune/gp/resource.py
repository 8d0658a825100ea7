"""How a learning curve moves with the resource: the exponential-decay kernels.

A curve is taken to decay from ``gamma`` (at resource 0) to an asymptote f(x) as a mixture of
exponentials whose rates follow a Gamma distribution with shape ``alpha`` and mean
``lam``: Swersky, Snoek, Adams, "Freeze-Thaw Bayesian Optimization", 2014, section 3.1,
and Tiao, Klein, Lienart, Archambeau, Seeger, "Model-based Asynchronous Hyperparameter
and Neural Architecture Search", 2020, appendix. The decay left at resource r is

    kappa(r) = (beta / (r + beta))^alpha,   beta = alpha / lam,

and with k the covariance and mu the mean of f,

    mean(r) = mu + kappa(r) (gamma - delta mu)
    cov((x, r), (x', r')) = k(x, x') A(r, r') + B(r, r')
    A = 1 - delta (kappa(r) + kappa(r') - delta kappa(r + r'))
    B = (gamma - delta mu)^2 (kappa(r + r') - kappa(r) kappa(r')).

With ``delta = 0`` all curves have the same shape ("exp-decay-sum"); with ``delta = 1``
all curves start at the same value and f(x) unfolds with the resource.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.gp.arrays import Matrix, Vector


class ResourceTerms(NamedTuple):
    """The terms above on a table of `L` resource levels, with their derivatives.

    The derivatives are with respect to `P` parameters: mu, log alpha, log lam, log gamma
    and log delta (the plain process without resource knows only the first).

    Attributes:
        amplitude: A, shape ``(L, L)``.
        offset: B, shape ``(L, L)``.
        mean: Shape ``(L,)``.
        d_amplitude: Shape ``(P, L, L)``.
        d_offset: Shape ``(P, L, L)``.
        d_mean: Shape ``(P, L)``.
    """

    amplitude: Matrix
    offset: Matrix
    mean: Vector
    d_amplitude: NDArray[np.float64]
    d_offset: NDArray[np.float64]
    d_mean: Matrix


def plain_terms(mu: float) -> ResourceTerms:
    """Return the terms of a process without resource: one level, A = 1, B = 0."""
    return ResourceTerms(
        np.ones((1, 1)),
        np.zeros((1, 1)),
        np.array([mu]),
        np.zeros((1, 1, 1)),
        np.zeros((1, 1, 1)),
        np.ones((1, 1)),
    )


def decay_terms(
    levels: Vector, mu: float, alpha: float, lam: float, gamma: float, delta: float
) -> ResourceTerms:
    """Return the terms of the exponential-decay kernel.

    Args:
        levels: Resource levels as fractions of the largest, shape ``(L,)``.
        mu: Mean of the asymptote f.
        alpha: Shape of the distribution of rates, positive.
        lam: Its mean, positive.
        gamma: Where the curves start, relative to the asymptote's mean if `delta` is 0.
        delta: Between 0 and 1: how much of f is still absent at resource 0.
    """
    n = len(levels)
    # All that kappa is needed at, at once: these arrays are so small that calls are what costs.
    at = np.concatenate([levels, np.add.outer(levels, levels).ravel()])
    ratio = at * (lam / alpha)
    log_growth = np.log1p(ratio)
    kappa = np.exp(-alpha * log_growth)
    slopes = np.empty((2, n + n * n))  # with respect to log alpha and log lam
    np.multiply(kappa, -alpha * ratio / (1.0 + ratio), out=slopes[1])
    np.multiply(kappa, -alpha * log_growth, out=slopes[0])
    slopes[0] -= slopes[1]
    one, two = kappa[:n], kappa[n:].reshape(n, n)
    d_one, d_two = slopes[:, :n], slopes[:, n:].reshape(2, n, n)
    left, right = one[:, None], one[None, :]
    both = left + right
    start = gamma - delta * mu
    excess = two - left * right

    d_amplitude, d_offset = np.zeros((2, 5, n, n))
    d_mean = np.empty((5, n))
    np.multiply(excess, -2.0 * delta * start, out=d_offset[0])
    d_mean[0] = 1.0 - delta * one
    d_left, d_right = d_one[:, :, None], d_one[:, None, :]
    d_amplitude[1:3] = delta * (delta * d_two - d_left - d_right)
    d_offset[1:3] = start**2 * (d_two - d_left * right - left * d_right)
    d_mean[1:3] = start * d_one
    np.multiply(excess, 2.0 * gamma * start, out=d_offset[3])
    d_mean[3] = gamma * one
    d_amplitude[4] = delta * (2.0 * delta * two - both)
    np.multiply(excess, -2.0 * delta * mu * start, out=d_offset[4])
    d_mean[4] = (-delta * mu) * one
    return ResourceTerms(
        1.0 + delta * (delta * two - both),
        start**2 * excess,
        mu + start * one,
        d_amplitude,
        d_offset,
        d_mean,
    )
