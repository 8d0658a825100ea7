import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from asynctune.gp.data import inputs
from asynctune.gp.fantasies import FantasyImprovement, fantasy_improvement
from asynctune.gp.improvement import LogImprovement
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior

N, P = 12, 4


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    model = Model(3)
    theta = model.centre.copy()
    theta[:3] = np.log([0.3, 0.5, 0.9])
    theta[4] = np.log(1e-8) + theta[3]
    X, y = rng.random((N + P, 3)), rng.standard_normal(N)
    return model, theta, X, y


def posterior_of(problem, X=None):
    model, theta, own, y = problem
    X = own if X is None else X
    return Posterior(model, theta, inputs(X), y, reinterpolate=True)


def oracle(problem):
    """The same process in scikit-learn, without anything pending."""
    model, theta, X, y = problem
    kernel = ConstantKernel(model.variance(theta)) * Matern(np.exp(theta[:3]), nu=2.5)
    process = GaussianProcessRegressor(kernel, alpha=model.noise(theta), optimizer=None)
    mean = float(posterior_of(problem).mean(np.full((1, 3), 1e6))[0])
    return process.fit(X[:N], y - mean), mean


def test_fantasies_have_the_joint_distribution_of_the_pending_values(problem):
    X = problem[2]
    posterior = posterior_of(problem)
    weights = posterior.fantasies(np.eye(P))
    moves = posterior.means(X, weights) - posterior.mean(X)[:, None]
    process, mean = oracle(problem)
    expected, covariance = process.predict(X[N:], return_cov=True)
    np.testing.assert_allclose(posterior.mean(X[N:]), expected + mean, atol=1e-6)
    np.testing.assert_allclose(moves[N:] @ moves[N:].T, covariance, atol=1e-6)
    np.testing.assert_allclose(moves[:N], 0.0, atol=1e-6)  # what was observed stays


def test_fantasies_of_a_point_seen_before_change_nothing(problem):
    X = problem[2].copy()
    X[N] = X[3]
    posterior = posterior_of(problem, X)
    draws = np.zeros((P, 2))
    draws[0] = 5.0
    weights = posterior.fantasies(draws)
    np.testing.assert_allclose(
        posterior.means(X, weights), np.column_stack([posterior.mean(X)] * 2), rtol=1e-9
    )


def test_the_improvement_is_what_one_more_config_adds_to_the_batch(problem):
    X, y = problem[2:]
    posterior = posterior_of(problem)
    rng = np.random.default_rng(1)
    ours = np.exp(
        fantasy_improvement(posterior, X, P, rng, 20_000).value(points := rng.random((3, 3)))
    )
    process, mean = oracle(problem)
    for x, value in zip(points, ours, strict=True):
        m, C = process.predict(np.vstack([X[N:], x]), return_cov=True)
        draws = np.random.default_rng(2).multivariate_normal(m + mean, C, 400_000)
        without = np.maximum(y.min() - draws[:, :P].min(axis=1), 0.0)
        added = np.maximum(y.min() - draws.min(axis=1), 0.0) - without
        assert value == pytest.approx(
            added.mean(), abs=5 * added.std() / np.sqrt(len(added)) + 2e-3
        )


def test_gradients_agree_with_finite_differences(problem):
    X = problem[2]
    improvement = fantasy_improvement(posterior_of(problem), X, P, np.random.default_rng(3), 16)
    points = np.random.default_rng(4).random((6, 3))
    value, gradient = improvement.value_with_gradient(points)
    np.testing.assert_allclose(value, improvement.value(points), rtol=1e-12)
    h = 1e-6
    for j in range(3):
        step = h * np.eye(3)[j]
        slope = (improvement.value(points + step) - improvement.value(points - step)) / (2 * h)
        np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-4, atol=1e-6)


def test_a_certain_fantasy_is_the_believer(problem):
    X = problem[2]
    posterior = posterior_of(problem)
    certain = posterior.fantasies(np.zeros((P, 2)))
    incumbent = posterior.mean(X).min()
    points = np.random.default_rng(5).random((5, 3))
    improvement = FantasyImprovement(posterior, certain, np.full(2, incumbent))
    believed = LogImprovement(posterior, float(incumbent)).value(points)
    np.testing.assert_allclose(improvement.value(points), believed, rtol=1e-9)
