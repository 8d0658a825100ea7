import numpy as np
import pytest

from asynctune.gp.data import inputs
from asynctune.gp.model import Model
from asynctune.gp.posterior import Posterior

KERNELS = [None, "exp-decay-sum", "exp-decay-combined", "exp-decay-delta1"]


def problem(kernel, n=20, pending=0, seed=0):
    rng = np.random.default_rng(seed)
    model = Model(3, kernel)
    X = rng.random((n + pending, 3))
    r = None if kernel is None else rng.choice([1, 3, 9], n + pending) / 9
    theta = model.centre.copy()
    theta[:3] = np.log([0.3, 0.5, 0.9])
    return model, theta, inputs(X, r), rng.standard_normal(n)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pending", [0, 3])
def test_gradients_agree_with_finite_differences(kernel, pending):
    posterior = Posterior(*problem(kernel, pending=pending), 0.7)
    X = np.random.default_rng(1).random((6, 3))
    prediction, gradient = posterior.predict_with_gradient(X)
    again = posterior.predict(X)
    np.testing.assert_allclose(prediction.mean, again.mean, rtol=1e-12)
    np.testing.assert_allclose(posterior.mean(X), again.mean, rtol=1e-12)
    h = 1e-6
    for j in range(3):
        step = h * np.eye(3)[j]
        up, down = posterior.predict(X + step), posterior.predict(X - step)
        np.testing.assert_allclose(gradient.mean[:, j], (up.mean - down.mean) / (2 * h), rtol=1e-5)
        np.testing.assert_allclose(gradient.sd[:, j], (up.sd - down.sd) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_pending_points_are_as_if_known_to_equal_their_mean(kernel):
    model, theta, data, y = problem(kernel, n=12, pending=4)
    theta[4] = np.log(1e-8) + theta[3]  # so that observations are as exact as pending points
    posterior = Posterior(model, theta, data, y, 1.0)
    # Believe the pending points one after the other, each at its own level.
    believed = y
    for i in range(12, 16):
        seen = data._replace(X=data.X[:i], at=data.at[:i])
        at = Posterior(model, theta, seen, believed, data.levels[data.at[i]])
        believed = np.append(believed, at.mean(data.X[i : i + 1]))
    expected = Posterior(model, theta, data, believed, 1.0)
    X = np.random.default_rng(2).random((9, 3))
    ours, theirs = posterior.predict(X), expected.predict(X)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-5)
    np.testing.assert_allclose(ours.sd, theirs.sd, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_pending_points_leave_the_mean_and_take_the_variance_away(kernel):
    model, theta, data, y = problem(kernel, n=12, pending=4)
    theta[4] = np.log(0.1)
    data = data._replace(at=np.full_like(data.at, len(data.levels) - 1))
    without = data._replace(X=data.X[:12], at=data.at[:12])
    X = np.concatenate([data.X[12:], np.random.default_rng(2).random((9, 3))])
    before = Posterior(model, theta, without, y, 1.0).predict(X)
    after = Posterior(model, theta, data, y, 1.0).predict(X)
    np.testing.assert_allclose(after.mean, before.mean, rtol=1e-9)
    assert (after.sd[:4] < 1e-3).all()
    assert (after.sd < before.sd).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_reinterpolation_keeps_the_mean_and_knows_it_where_it_has_been(kernel):
    model, theta, data, y = problem(kernel, n=12, pending=3)
    theta[4] = np.log(0.1)
    data = data._replace(at=np.full_like(data.at, len(data.levels) - 1))
    X = np.concatenate([data.X, np.random.default_rng(2).random((9, 3))])
    noisy = Posterior(model, theta, data, y).predict(X)
    known = Posterior(model, theta, data, y, reinterpolate=True).predict(X)
    np.testing.assert_allclose(known.mean, noisy.mean, rtol=1e-9)
    assert (known.sd[:15] < 1e-3).all()
    assert (noisy.sd[:12] > 0.1).all()
    # Elsewhere it is what a posterior without noise would say.
    exact = theta.copy()
    exact[4] = np.log(1e-8) + theta[3]
    expected = Posterior(model, exact, data, y).predict(X[15:])
    np.testing.assert_allclose(known.sd[15:], expected.sd, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS[1:])
def test_reinterpolation_takes_points_of_lower_levels_for_known(kernel):
    model, theta, data, y = problem(kernel, n=12, pending=3)
    twice = data._replace(
        X=np.concatenate([data.X[:6], data.X[:6], data.X[12:]]),
        at=np.repeat([0, 1, 0], [6, 6, 3]),
    )
    X = np.concatenate([twice.X, np.random.default_rng(2).random((9, 3))])
    textbook = Posterior(model, theta, twice, y, 1.0).predict(X)
    known = Posterior(model, theta, twice, y, 1.0, reinterpolate=True)
    prediction, gradient = known.predict_with_gradient(X)
    np.testing.assert_allclose(prediction.mean, textbook.mean, rtol=1e-8)
    assert (prediction.sd[:15] < 1e-3).all()
    assert (prediction.sd[15:] > 0.01).all()
    h = 1e-6
    for j in range(3):
        up = known.predict(X[15:] + h * np.eye(3)[j])
        down = known.predict(X[15:] - h * np.eye(3)[j])
        for ours, a, b in zip(gradient, up, down, strict=True):
            np.testing.assert_allclose(ours[15:, j], (a - b) / (2 * h), rtol=1e-4, atol=1e-7)


def test_decay_interpolates_what_was_seen_at_its_own_level():
    model, theta, data, y = problem("exp-decay-combined")
    theta[4] = np.log(1e-9)
    for i in range(len(y)):
        posterior = Posterior(model, theta, data, y, data.levels[data.at[i]])
        prediction = posterior.predict(data.X[i : i + 1])
        assert prediction.mean[0] == pytest.approx(y[i], abs=1e-4)
        assert prediction.sd[0] < 1e-3


@pytest.mark.parametrize("kernel", KERNELS)
def test_survives_noise_of_1e_12_on_duplicates(kernel):
    model, theta, data, y = problem(kernel)
    theta[4] = np.log(1e-12)
    data = data._replace(X=np.repeat(data.X[:10], 2, axis=0), at=data.at * 0)
    prediction, gradient = Posterior(model, theta, data, y).predict_with_gradient(data.X)
    for numbers in (*prediction, *gradient):
        assert np.isfinite(numbers).all()
    assert (prediction.sd > 0).all()
