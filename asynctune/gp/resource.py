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
    one, one_alpha, one_lam = _kappa(levels, alpha, lam)
    two, two_alpha, two_lam = _kappa(levels[:, None] + levels[None, :], alpha, lam)
    left, right = one[:, None], one[None, :]
    start = gamma - delta * mu
    excess = two - left * right

    def of_decay(d_one: Vector, d_two: Matrix) -> tuple[Matrix, Matrix, Vector]:
        d_sum = d_one[:, None] + d_one[None, :]
        d_product = d_one[:, None] * right + left * d_one[None, :]
        return -delta * (d_sum - delta * d_two), start**2 * (d_two - d_product), start * d_one

    zero = np.zeros_like(two)
    d_alpha = of_decay(alpha * one_alpha, alpha * two_alpha)
    d_lam = of_decay(lam * one_lam, lam * two_lam)
    d_mu = zero, -2.0 * delta * start * excess, 1.0 - delta * one
    d_gamma = zero, 2.0 * gamma * start * excess, gamma * one
    d_delta = (
        -delta * (left + right - 2.0 * delta * two),
        -2.0 * delta * mu * start * excess,
        -delta * mu * one,
    )
    derivatives = (d_mu, d_alpha, d_lam, d_gamma, d_delta)
    return ResourceTerms(
        1.0 - delta * (left + right - delta * two),
        start**2 * excess,
        mu + one * start,
        np.array([d[0] for d in derivatives]),
        np.array([d[1] for d in derivatives]),
        np.array([d[2] for d in derivatives]),
    )


def _kappa(
    r: NDArray[np.float64], alpha: float, lam: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return kappa(r) and its derivatives with respect to alpha and lam."""
    ratio = r * (lam / alpha)
    log_growth = np.log1p(ratio)
    kappa = np.exp(-alpha * log_growth)
    return kappa, kappa * (ratio / (1.0 + ratio) - log_growth), kappa * (-r / (1.0 + ratio))
