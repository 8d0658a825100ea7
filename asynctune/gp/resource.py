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

# For each parameter whether kappa itself or which of its slopes its derivatives are made of.
_OF_EACH = np.array([0, 1, 2, 0, 0])


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
    at = np.concatenate([levels, (levels[:, None] + levels).ravel()])
    ratio = at * (lam / alpha)
    log_growth = np.log1p(ratio)
    # kappa, and its slopes with respect to log alpha and log lam.
    kappas = np.empty((3, n + n * n))
    kappa = np.exp(-alpha * log_growth, out=kappas[0])
    ratio /= 1.0 + ratio
    ratio *= -alpha
    np.multiply(kappa, ratio, out=kappas[2])
    log_growth *= -alpha
    log_growth -= ratio
    np.multiply(kappa, log_growth, out=kappas[1])
    ones, twos = kappas[:, :n], kappas[:, n:].reshape(3, n, n)
    left, right = ones[:, :, None], ones[:, None, :]
    start = gamma - delta * mu

    # The part of A that hangs on delta, over delta, and its slopes.
    shares = delta * twos
    shares -= left
    shares -= right
    # The part of B that hangs on kappa, and its slopes: of the product by the rule for products.
    products = left * right[0]
    products[1:] += left[0] * right[1:]
    excesses = twos - products
    d_amplitude = np.zeros((5, n, n))
    np.multiply(shares[1:], delta, out=d_amplitude[1:3])
    np.multiply(shares[0] + delta * twos[0], delta, out=d_amplitude[4])
    by_start = 2.0 * start
    factors = np.array(
        [-delta * by_start, start**2, start**2, gamma * by_start, -delta * mu * by_start]
    )
    d_offset = excesses[_OF_EACH] * factors[:, None, None]
    factors = np.array([-delta, start, start, gamma, -delta * mu])
    d_mean = ones[_OF_EACH] * factors[:, None]
    d_mean[0] += 1.0
    return ResourceTerms(
        1.0 + delta * shares[0],
        start**2 * excesses[0],
        mu + start * ones[0],
        d_amplitude,
        d_offset,
        d_mean,
    )
