"""Levels with parameters of their own: against dense matrices, and against finite differences."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from asynctune.gp.data import inputs
from asynctune.gp.ensemble import Ensemble, Member
from asynctune.gp.fit import fit
from asynctune.gp.independent import independent_terms, markov_terms
from asynctune.gp.levels import IndependentLogPosterior, level_parameters, level_posterior
from asynctune.gp.likelihood import NegativeLogPosterior
from asynctune.gp.matern import matern52, squared_distances, with_squares
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior
from asynctune.gp.ranking import ENOUGH, level_weights

RUNGS = [1 / 27, 3 / 27, 9 / 27, 1.0]
KERNELS = ["independent", "markov"]


def problem(kernel, n=30, seed=0, levels=RUNGS):
    rng = np.random.default_rng(seed)
    model = Model(2, kernel, RUNGS)
    theta = model.centre + 0.5 * rng.standard_normal(len(model.centre))
    data = inputs(rng.random((n, 2)), rng.choice(levels, n))
    return model, np.clip(theta, model.lower, model.upper), data, rng.standard_normal(n)


def dense(model, theta, data):
    """Mean and covariance written out from the formulas."""
    d, n = model.dimension, len(RUNGS)
    mu, means, logs = theta[d + 2], theta[d + 3 : d + 3 + n], theta[d + 3 + n : d + 3 + 2 * n]
    at = [RUNGS.index(data.levels[i]) for i in data.at]
    scaled = data.X / np.exp(theta[:d])
    K = matern52(squared_distances(scaled, with_squares(scaled)), np.exp(theta[d]))
    for i, r in enumerate(at):
        for j, s in enumerate(at):
            apart = abs(np.log(RUNGS[r] / RUNGS[s]))
            alike = float(r == s)
            if model.resource_kernel == "markov":
                alike = np.exp(-apart / np.exp(theta[-1]))
            K[i, j] *= alike * np.exp(0.5 * (logs[r] + logs[s]))
    return mu + means[at], K + np.exp(theta[d + 1]) * np.eye(len(at))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("levels", [RUNGS, RUNGS[:2], RUNGS[2:3]])
def test_likelihood_is_that_of_the_formulas(kernel, levels):
    model, theta, data, y = problem(kernel, levels=levels)
    mean, covariance = dense(model, theta, data)
    value, _ = NegativeLogPosterior(model, data, y, with_prior=False)(theta)
    assert value == pytest.approx(-multivariate_normal(mean, covariance).logpdf(y), rel=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_agrees_with_finite_differences(kernel):
    model, theta, data, y = problem(kernel)
    objective = NegativeLogPosterior(model, data, y)
    numeric = [
        (objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5
        for step in 1e-5 * np.eye(len(theta))
    ]
    np.testing.assert_allclose(objective(theta)[1], numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("levels", [RUNGS, RUNGS[1:3]])
def test_the_sum_over_levels_is_the_whole(levels):
    model, theta, data, y = problem("independent", levels=levels)
    whole = NegativeLogPosterior(model, data, y)(theta)
    value, gradient = IndependentLogPosterior(model, data, y)(theta)
    assert value == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(gradient, whole[1], rtol=1e-9, atol=1e-9)
    assert IndependentLogPosterior(model, data, y).value(theta) == pytest.approx(value, rel=1e-12)
    curvature = IndependentLogPosterior(model, data, y).curvature(theta)
    expected = NegativeLogPosterior(model, data, y).curvature(theta)
    np.testing.assert_allclose(curvature, expected, rtol=1e-9, atol=1e-9)


def test_the_posterior_of_a_level_is_that_of_the_whole():
    model, theta, data, y = problem("independent", n=34)
    y = y[:30]  # four points are pending
    X = np.random.default_rng(1).random((20, 2))
    for rung, level in enumerate(RUNGS):
        ours = level_posterior(model, theta, data, y, rung).predict(X)
        whole = Posterior(model, theta, data, y, level, reinterpolate=True).predict(X)
        np.testing.assert_allclose(ours.mean, whole.mean, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(ours.sd, whole.sd, atol=1e-5)  # the nuggets differ
        own = level_parameters(model, theta, rung)
        at = data.at[:30] == list(data.levels).index(level)
        alone = Posterior(Model(2), own, inputs(data.X[:30][at]), y[at])
        np.testing.assert_allclose(ours.mean, alone.mean(X), rtol=1e-9)


def test_with_slow_fading_a_level_learns_from_another_and_with_fast_it_does_not():
    model = Model(1, "markov", RUNGS)
    X = np.linspace(0, 1, 12)[:, None]
    data = inputs(X, np.full(12, RUNGS[0]))
    y = np.cos(5 * X[:, 0])
    theta = model.centre.copy()
    theta[0], theta[1] = np.log(0.3), 0.0
    means = []
    for tau in (1e-1, 1e4):
        theta[-1] = np.log(tau)
        means.append(Posterior(model, theta, data, y, 1.0).mean(X))
    assert np.abs(means[0]).max() < 1e-8
    np.testing.assert_allclose(means[1], y, atol=0.02)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_fit_predicts_levels_of_different_mean_and_scale(kernel):
    def truth(X, level):
        shape = np.sin(6 * X[:, 0]) + X[:, 1]
        return 3 * shape + 5 if level == RUNGS[0] else shape - 1

    rng = np.random.default_rng(0)
    X, held_out = rng.random((60, 2)), rng.random((50, 2))
    levels = [RUNGS[0], RUNGS[3]]
    y = np.concatenate([truth(X, level) for level in levels])
    centre, unit = y.mean(), y.std()
    data = inputs(np.tile(X, (2, 1)), np.repeat(levels, 60))
    model = Model(2, kernel, RUNGS)
    y = (y - centre) / unit
    theta = fit(model, data, y, [model.centre])
    for level in levels:
        predicted = Posterior(model, theta, data, y, level).mean(held_out) * unit + centre
        np.testing.assert_allclose(predicted, truth(held_out, level), atol=0.15)
    log_scales = theta[9:13] / 2
    assert log_scales[0] - log_scales[3] > 0.5
    # Levels that were never seen stay where they were expected.
    np.testing.assert_allclose(theta[[6, 7, 10, 11]], 0.0, atol=1e-12)


def test_levels_must_be_rungs():
    rungs, none = np.array(RUNGS), np.zeros(4)
    with pytest.raises(ValueError, match=r"must be among \[.*\]; got \[0\.5\]"):
        independent_terms(np.array([1.0, 0.5]), rungs, 0.0, none, none)
    with pytest.raises(ValueError, match=r"got \[0\.5\]"):
        markov_terms(np.array([0.5]), rungs, 0.0, none, none, 1.0)


def ensemble(seed=0):
    model, theta, data, y = problem("independent", seed=seed, n=60)
    members = [
        Member(level_posterior(model, theta, data, y, rung), weight, centre, unit)
        for rung, weight, centre, unit in (
            (0, 0.2, 0.5, 2.0),
            (1, 0.0, 9.0, 1.0),
            (3, 0.8, -1, 0.5),
        )
    ]
    return Ensemble(members), members


def test_an_ensemble_adds_up_what_its_members_believe():
    whole, members = ensemble()
    X = np.random.default_rng(3).random((15, 2))
    draws = np.zeros((40_000, 15))
    rng = np.random.default_rng(4)
    for member in members:
        mean, sd = member.posterior.predict(X)
        drawn = mean + sd * rng.standard_normal(draws.shape)
        draws += member.weight * (drawn - member.centre) / member.unit
    prediction = whole.predict(X)
    np.testing.assert_allclose(prediction.mean, draws.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(prediction.sd, draws.std(axis=0), rtol=0.03)
    np.testing.assert_allclose(whole.mean(X), prediction.mean, rtol=1e-12)


def test_gradient_of_an_ensemble_agrees_with_finite_differences():
    whole, _ = ensemble()
    X = np.random.default_rng(3).random((6, 2))
    prediction, gradient = whole.predict_with_gradient(X)
    np.testing.assert_allclose(prediction.mean, whole.mean(X), rtol=1e-12)
    for k, step in enumerate(1e-6 * np.eye(2)):
        above, below = whole.predict(X + step), whole.predict(X - step)
        d_mean, d_sd = (above.mean - below.mean) / 2e-6, (above.sd - below.sd) / 2e-6
        np.testing.assert_allclose(gradient.mean[:, k], d_mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(gradient.sd[:, k], d_sd, rtol=1e-4, atol=1e-6)


def weights(values_of, counts, seed=0):
    """Weights of levels with so many observations, each of the first so many configs."""
    X = np.random.default_rng(seed).random((max(counts), 2))
    model = Model(2, "independent", RUNGS)
    levels = np.concatenate([np.full(n, r) for n, r in zip(counts, RUNGS, strict=True)])
    y = np.concatenate([values_of(r, X[:n]) for r, n in enumerate(counts)])
    theta = model.centre.copy()
    theta[:2] = np.log(0.5)
    data = inputs(np.concatenate([X[:n] for n in counts]), levels)
    return level_weights(model, theta, data, y, np.random.default_rng(1))


def test_the_level_that_ranks_like_the_top_has_the_weight():
    def misleading_first(rung, X):
        return -X[:, 0] if rung == 0 else X[:, 0] + 0.5 * X[:, 1] ** 2

    found = weights(misleading_first, (40, 20, 8, 0))
    assert found.sum() == pytest.approx(1)
    assert found[1] > 0.9 > 0.05 > found[0]
    alike = weights(lambda _, X: X[:, 0] + 0.5 * X[:, 1] ** 2, (40, 20, 8, 0))
    # More observations tell more about the very same function.
    assert alike[0] + alike[1] > alike[2]


def test_the_top_is_judged_by_what_it_has_not_seen():
    chance = np.random.default_rng(5)
    found = weights(lambda r, X: chance.standard_normal(len(X)) if r else X[:, 0], (30, 20, 0, 0))
    # The top is noise: having seen the very values it would make no error at all.
    assert found[0] > 0.1


@pytest.mark.parametrize(
    ("counts", "alone"),
    [((5, 0, 0, 0), 0), ((4, 5, 2, 0), 1), ((ENOUGH, 5, 5, 5), 0), ((5, ENOUGH, 2, 0), 1)],
)
def test_without_two_levels_of_enough_observations_one_decides(counts, alone):
    found = weights(lambda _, X: X[:, 0], counts)
    assert found.tolist() == [float(r == alone) for r in range(4)]
