"""Improvement on what pending configs may turn out to be, averaged over joint draws of that.

Snoek, Larochelle, Adams, "Practical Bayesian Optimization of Machine Learning Algorithms",
NIPS 2012, section 3.2. As a fantasy's best value counts what was drawn for the pending configs,
the mean over fantasies is the improvement that one more config adds to the batch of those
pending: batch expected improvement, built up one config after the other, on a log scale
(Ament et al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023, section 4.2).
"""

from typing import NamedTuple

import numpy as np

from asynctune.gp.acquisition import log_ei
from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.posterior import Posterior


class FantasyImprovement(NamedTuple):
    """Logarithm of the expected improvement in the mean over fantasies, for minimisation.

    Attributes:
        posterior: The posterior with all pending points among its inputs.
        weights: The fantasies, as `Posterior.fantasies` makes them, shape ``(n, S)``.
        incumbents: The value to improve on in each, shape ``(S,)``.
    """

    posterior: Posterior
    weights: Matrix
    incumbents: Vector

    def value(self, X: Matrix) -> Vector:
        """Return the values at points `X`, ``(m, d)``."""
        means, sd = self.posterior.predict_many(X, self.weights)
        return self._log_mean(log_ei(means, sd[:, None], self.incumbents).value)

    def value_with_gradient(self, X: Matrix) -> tuple[Vector, Matrix]:
        """Return the values at points `X`, ``(m, d)``, and their gradients, ``(m, d)``."""
        here = self.posterior.linearise(X)
        means = self.posterior.means_of(here, self.weights)
        ei = log_ei(means, here.sd[:, None], self.incumbents)
        value = self._log_mean(ei.value)
        shares = np.exp(ei.value - value[:, None]) / len(self.incumbents)
        slope = self.posterior.slope_of_mean(here, (shares * ei.d_mean) @ self.weights.T)
        slope += (shares * ei.d_sd).sum(axis=1)[:, None] * here.d_sd
        return value, slope

    def _log_mean(self, logs: Matrix) -> Vector:
        highest = logs.max(axis=1)
        mean: Vector = highest + np.log(np.exp(logs - highest[:, None]).mean(axis=1))
        return mean


def fantasy_improvement(
    posterior: Posterior, X: Matrix, n_pending: int, rng: np.random.Generator, n: int
) -> FantasyImprovement:
    """Return the improvement over `n` fantasies of the pending points.

    Args:
        posterior: The posterior with all pending points among its inputs, at their end.
        X: Its inputs, shape ``(n, d)``.
        n_pending: How many of them are pending.
        rng: Source of the draws, which are antithetic: each comes with its opposite.
        n: Number of fantasies, even.
    """
    half = rng.standard_normal((n_pending, n // 2))
    weights = posterior.fantasies(np.concatenate([half, -half], axis=1))
    return FantasyImprovement(posterior, weights, posterior.means(X, weights).min(axis=0))
