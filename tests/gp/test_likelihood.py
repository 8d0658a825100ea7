import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from asynctune.gp.data import inputs
from asynctune.gp.likelihood import NegativeLogPosterior
from asynctune.gp.matern import matern52, squared_distances, with_squares
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior

KERNELS = [None, "exp-decay-sum", "exp-decay-combined", "exp-decay-delta1"]


def problem(model, n=25, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, model.dimension))
    r = None if model.resource_kernel is None else rng.choice([1, 3, 9, 27], n) / 27
    theta = model.centre + 0.5 * rng.standard_normal(len(model.centre))
    return inputs(X, r), rng.standard_normal(n), np.clip(theta, model.lower, model.upper)


def oracle(theta, d):
    kernel = ConstantKernel(np.exp(theta[d])) * Matern(np.exp(theta[:d]), nu=2.5) + WhiteKernel(
        np.exp(theta[d + 1])
    )
    return GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_likelihood_and_posterior_agree_with_scikit_learn(d):
    model = Model(d)
    data, y, theta = problem(model)
    reference = oracle(theta, d).fit(data.X, y - theta[-1])
    value, gradient = NegativeLogPosterior(model, data, y, with_prior=False)(theta)
    expected, slope = reference.log_marginal_likelihood(reference.kernel_.theta, eval_gradient=True)
    assert value == pytest.approx(-expected, rel=1e-8)
    # scikit-learn orders: scale, lengthscales, noise.
    ours = np.concatenate([gradient[d : d + 1], gradient[:d], gradient[d + 1 : d + 2]])
    np.testing.assert_allclose(ours, -slope, rtol=1e-8, atol=1e-8)

    X = np.random.default_rng(1).random((40, d))
    mean, sd = reference.predict(X, return_std=True)
    prediction = Posterior(model, theta, data, y).predict(X)
    np.testing.assert_allclose(prediction.mean, mean + theta[-1], rtol=1e-8, atol=1e-8)
    # Theirs is the variance of a noisy observation.
    noisy = prediction.sd**2 + np.exp(theta[d + 1])
    np.testing.assert_allclose(noisy, sd**2, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_agrees_with_finite_differences_in_every_parameter(kernel):
    model = Model(3, kernel)
    data, y, theta = problem(model)
    objective = NegativeLogPosterior(model, data, y)
    numeric = [
        (objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5
        for step in 1e-5 * np.eye(len(theta))
    ]
    _, gradient = objective(theta)
    assert np.abs(gradient).min() > 1e-4, "a parameter without influence tests nothing"
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kernel", [*KERNELS, "markov"])
def test_curvature_is_the_mean_hessian_over_data_that_the_process_would_bring(kernel):
    model = Model(2, kernel, (1 / 27, 3 / 27, 9 / 27, 1.0))
    n = 30
    data, y, theta = problem(model, n)
    Z, terms, at = data.X / np.exp(theta[:2]), model.terms(theta, data.levels), data.at
    K = (
        matern52(squared_distances(Z, with_squares(Z)), np.exp(theta[2]))
        * terms.amplitude[at][:, at]
    )
    K += terms.offset[at][:, at] + np.exp(theta[3]) * np.eye(n)
    # Points with that mean and covariance: the mean of a quadratic over them is exact.
    roots = np.sqrt(n) * np.linalg.cholesky(K).T
    densities = [
        NegativeLogPosterior(model, data, terms.mean[at] + sign * root)
        for root in roots
        for sign in (1, -1)
    ]

    def mean_slope(theta):
        return np.mean([density(theta)[1] for density in densities], axis=0)

    step = 1e-4 * np.eye(len(theta))
    hessian = [(mean_slope(theta + s) - mean_slope(theta - s)) / 2e-4 for s in step]
    ours = NegativeLogPosterior(model, data, y).curvature(theta)
    np.testing.assert_allclose(ours, hessian, rtol=1e-4, atol=1e-5 * np.abs(hessian).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_curvature_of_many_observations_comes_from_an_even_sample(kernel):
    model = Model(2, kernel)
    data, y, theta = problem(model, 80)
    half = data._replace(X=data.X[::2], at=data.at[::2])
    of_all, of_half = (
        NegativeLogPosterior(model, d, y[: len(d.at)], with_prior=False).curvature(theta)
        for d in (data, half)
    )
    np.testing.assert_allclose(of_all, 2 * of_half, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_value_alone_is_the_same(kernel):
    model = Model(3, kernel)
    data, y, theta = problem(model)
    objective = NegativeLogPosterior(model, data, y)
    assert objective.value(theta) == objective(theta)[0]


def kappa(r, alpha, lam):
    return (1 + r * lam / alpha) ** -alpha


@pytest.mark.parametrize(
    ("kernel", "delta"), [(KERNELS[1], 0.0), (KERNELS[2], 0.3), (KERNELS[3], 1.0)]
)
def test_resource_kernel_agrees_with_its_formula_written_out(kernel, delta):
    model = Model(2, kernel)
    x = np.array([[0.1, 0.9], [0.4, 0.2], [0.4, 0.2]])
    r = np.array([0.1, 0.1, 1.0])
    alpha, lam, gamma, mu, scale, noise = 1.3, 4.0, 0.7, -0.4, 1.7, 0.01
    theta = np.array([*np.log([0.5, 0.8, scale, noise]), mu, *np.log([alpha, lam, gamma])])
    if kernel == "exp-decay-combined":
        theta = np.append(theta, np.log(delta))
    K, mean = np.empty((3, 3)), np.empty(3)
    for i in range(3):
        mean[i] = mu + kappa(r[i], alpha, lam) * (gamma - delta * mu)
        for j in range(3):
            t = np.sqrt(5 * sum(((x[i] - x[j]) / [0.5, 0.8]) ** 2))
            k = scale * (1 + t + t**2 / 3) * np.exp(-t)
            k1, k2 = kappa(r[i], alpha, lam), kappa(r[j], alpha, lam)
            k12 = kappa(r[i] + r[j], alpha, lam)
            K[i, j] = k * (1 - delta * (k1 + k2 - delta * k12))
            K[i, j] += (gamma - delta * mu) ** 2 * (k12 - k1 * k2) + noise * (i == j)
    y = np.array([0.3, -0.2, 0.1])
    value, _ = NegativeLogPosterior(model, inputs(x, r), y, with_prior=False)(theta)
    assert value == pytest.approx(-multivariate_normal(mean, K).logpdf(y), rel=1e-9)


def test_one_observation_has_the_closed_form():
    model = Model(1)
    theta = np.array([np.log(0.3), np.log(2.0), np.log(0.5), 0.25])
    data, y = inputs(np.array([[0.5]])), np.array([1.0])
    value, _ = NegativeLogPosterior(model, data, y, with_prior=False)(theta)
    assert value == pytest.approx(0.5 * 0.75**2 / 2.5 + 0.5 * np.log(2 * np.pi * 2.5), rel=1e-12)
    prediction = Posterior(model, theta, data, y).predict(np.array([[0.5]]))
    assert prediction.mean[0] == pytest.approx(0.25 + 2.0 / 2.5 * 0.75, rel=1e-12)
    assert prediction.sd[0] ** 2 == pytest.approx(2.0 - 4.0 / 2.5, rel=1e-12)


def test_two_observations_have_the_closed_form():
    model = Model(1)
    scale, noise = 1.5, 0.1
    theta = np.array([np.log(0.4), np.log(scale), np.log(noise), 0.0])
    t = np.sqrt(5) * 0.5 / 0.4
    rho = (1 + t + t * t / 3) * np.exp(-t)
    a, b = scale + noise, scale * rho
    y = np.array([0.8, -0.6])
    data = inputs(np.array([[0.2], [0.7]]))
    value, _ = NegativeLogPosterior(model, data, y, with_prior=False)(theta)
    det = a * a - b * b
    quadratic = (a * (y @ y) - 2 * b * y[0] * y[1]) / det
    assert value == pytest.approx(0.5 * (quadratic + np.log(det)) + np.log(2 * np.pi), rel=1e-12)
    prediction = Posterior(model, theta, data, y).predict(np.array([[0.2]]))
    expected = (scale * (a * y[0] - b * y[1]) + b * (a * y[1] - b * y[0])) / det
    assert prediction.mean[0] == pytest.approx(expected, rel=1e-12)


def test_prior_alone_is_normal_in_each_parameter():
    model = Model(2, "exp-decay-combined")
    data, y, theta = problem(model)
    with_prior = NegativeLogPosterior(model, data, y)
    without = NegativeLogPosterior(model, data, y, with_prior=False)
    penalty = with_prior(theta)[0] - without(theta)[0]
    assert penalty == pytest.approx(0.5 * np.sum(((theta - model.centre) / model.sd) ** 2))
