import numpy as np
import pytest

from asynctune.gp.cholesky import factorise
from asynctune.gp.data import inputs
from asynctune.gp.fit import fit
from asynctune.gp.levels import IndependentLogPosterior
from asynctune.gp.likelihood import NegativeLogPosterior
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior
from asynctune.gp.targets import target_scale

KERNELS = [None, "exp-decay-sum", "exp-decay-combined", "exp-decay-delta1"]


def test_finds_the_irrelevant_input_and_the_noise():
    rng = np.random.default_rng(0)
    X = rng.random((120, 2))
    y = np.sin(6 * X[:, 0]) + 0.1 * rng.standard_normal(120)
    model = Model(2)
    theta = fit(model, inputs(X), (y - y.mean()) / y.std(), [model.centre])
    assert np.exp(theta[1] - theta[0]) > 3
    assert np.sqrt(model.noise(theta)) * y.std() == pytest.approx(0.1, rel=0.25)


@pytest.mark.parametrize("kernel", KERNELS)
def test_ends_where_the_gradient_vanishes_or_points_out_of_the_bounds(kernel):
    rng = np.random.default_rng(1)
    X, r = rng.random((40, 2)), rng.choice([1, 3, 9, 27], 40) / 27
    y = X[:, 0] ** 2 + 1.5 / (1 + 9 * r) + 0.05 * rng.standard_normal(40)
    data = inputs(X, None if kernel is None else r)
    model = Model(2, kernel)
    y = (y - y.mean()) / y.std()
    theta = fit(model, data, y, [model.centre])
    value, gradient = NegativeLogPosterior(model, data, y)(theta)
    inward = np.where(theta <= model.lower, np.minimum(gradient, 0), gradient)
    inward = np.where(theta >= model.upper, np.maximum(inward, 0), inward)
    assert np.abs(inward).max() < 0.1
    assert value < NegativeLogPosterior(model, data, y)(model.centre)[0]
    assert ((theta >= model.lower) & (theta <= model.upper)).all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", ["one", "constant", "duplicates", "outlier", "infinite"])
def test_survives(kernel, case):
    rng = np.random.default_rng(2)
    n = 1 if case == "one" else 12
    X = rng.random((n, 2))
    values = rng.random(n)
    if case == "constant":
        values[:] = 3.0
    if case == "duplicates":
        X[:] = X[0]
    if case == "outlier":
        values[3] = 1e300
    if case == "infinite":
        values[2:] = np.inf
    model = Model(2, kernel)
    data = inputs(X, None if kernel is None else rng.choice([1.0, 0.5], n))
    y = target_scale(values).targets(values)
    theta = fit(model, data, y, [model.centre])
    assert np.isfinite(theta).all()
    prediction = Posterior(model, theta, data, y).predict(rng.random((5, 2)))
    assert np.isfinite(prediction.mean).all()
    assert (prediction.sd > 0).all()


def test_thousand_observations():
    rng = np.random.default_rng(3)
    X = rng.random((1000, 3))
    y = np.cos(5 * X[:, 0]) * X[:, 1]
    model = Model(3)
    objective = NegativeLogPosterior(model, inputs(X), y)
    value, gradient = objective(model.centre)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    prediction = Posterior(model, model.centre, inputs(X), y).predict(X[:50] + 1e-3)
    np.testing.assert_allclose(prediction.mean, y[:50], atol=0.05)


def test_refuses_what_is_not_finite():
    model = Model(1)
    with pytest.raises(ValueError, match="finite"):
        fit(model, inputs(np.array([[0.5]])), np.array([np.nan]), [model.centre])
    with pytest.raises(ValueError, match="must be finite"):
        factorise(np.array([[np.nan]]))


def test_factor_adds_jitter_only_if_needed():
    K = np.array([[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(factorise(K), np.linalg.cholesky(K))
    L = factorise(np.ones((5, 5)))
    np.testing.assert_allclose(L @ L.T, np.ones((5, 5)), atol=1e-5)
    with pytest.raises(ValueError, match="positive semi-definite"):
        factorise(np.array([[1.0, 9.0], [9.0, 1.0]]))


@pytest.mark.parametrize("kernel", [*KERNELS, "independent"])
def test_a_bounded_fit_gets_nearly_there_from_a_warm_start(kernel, monkeypatch):
    rng = np.random.default_rng(1)
    X, r = rng.random((90, 3)), rng.choice([1, 3, 9, 27], 90) / 27
    y = X[:, 0] ** 2 + 1.5 / (1 + 9 * r) + 0.05 * rng.standard_normal(90)
    y = (y - y.mean()) / y.std()
    model = Model(3, kernel, (1 / 27, 3 / 27, 9 / 27, 1.0) if kernel == "independent" else ())
    density = IndependentLogPosterior if kernel == "independent" else NegativeLogPosterior
    some, data = (inputs(X[:n], None if kernel is None else r[:n]) for n in (80, 90))
    before = fit(model, some, y[:80], [model.centre])
    whole = fit(model, data, y, [before])

    calls = []
    evaluate = density.__call__
    monkeypatch.setattr(density, "__call__", lambda *a: (calls.append(1), evaluate(*a))[1])
    found = fit(model, data, y, [before], 4)
    assert len(calls) == 4
    objective = density(model, data, y)
    assert objective.value(found) < objective.value(whole) + 0.5
    assert objective.value(found) <= objective.value(before)
