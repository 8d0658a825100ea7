"""The process over learning curves, against closed forms and slow computations."""

import numpy as np
import pytest

from sims.surrogate import (
    CurveGP,
    Readings,
    Theta,
    covariance,
    fit,
    level_kernel,
    matern52,
    negative_log_likelihood,
    squared_distances,
    thinned,
)

THETA = Theta(
    shared=np.log(0.8),
    own=np.log(0.3),
    noise=np.log(0.05),
    shared_level=np.log(1.1),
    own_level=np.log(0.7),
    features=(np.log(0.5), np.log(1.4)),
)
LEVELS = 9


@pytest.fixture(scope="module")
def readings():
    rng = np.random.default_rng(3)
    features = rng.uniform(size=(6, 2))
    config = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5])
    level = np.array([1.0, 3, 9, 1, 3, 1, 1, 2, 3, 9, 1, 9])
    return Readings(
        features=features,
        config=config,
        level=level,
        value=rng.standard_normal(12),
        noise=rng.uniform(0.01, 0.1, size=12),
    )


def kernel(one, level_one, two, level_two, *, same):
    """The covariance in the module's docstring, number by number."""
    a, b = np.exp(THETA.shared), np.exp(THETA.own)
    r = np.sqrt(5 * sum(((one - two) / np.exp(THETA.features)) ** 2))
    gap = np.log(level_one) - np.log(level_two)
    like = (1 + r + r**2 / 3) * np.exp(-r)
    value = a**2 * like * np.exp(-(gap**2) / 2 / np.exp(2 * THETA.shared_level))
    return value + same * b**2 * np.exp(-(gap**2) / 2 / np.exp(2 * THETA.own_level))


def test_covariance_is_the_stated_one(readings) -> None:
    K = covariance(readings, THETA)
    for i in range(12):
        for j in range(12):
            c, d = readings.config[i], readings.config[j]
            expected = kernel(
                readings.features[c],
                readings.level[i],
                readings.features[d],
                readings.level[j],
                same=c == d,
            )
            if i == j:
                expected += readings.noise[i] ** 2 + np.exp(2 * THETA.noise)
            assert K[i, j] == pytest.approx(expected, rel=1e-12)


def test_likelihood_is_that_of_a_normal(readings) -> None:
    from scipy.stats import multivariate_normal

    density = multivariate_normal(np.zeros(12), covariance(readings, THETA))
    value, _ = negative_log_likelihood(THETA.vector(), readings)
    assert value == pytest.approx(
        -density.logpdf(readings.value) - 6 * np.log(2 * np.pi), rel=1e-10
    )


def test_gradient_agrees_with_finite_differences(readings) -> None:
    vector, step = THETA.vector(), 1e-6
    _, gradient = negative_log_likelihood(vector, readings)
    for i in range(len(vector)):
        ahead, behind = vector.copy(), vector.copy()
        ahead[i] += step
        behind[i] -= step
        slope = (
            negative_log_likelihood(ahead, readings)[0]
            - negative_log_likelihood(behind, readings)[0]
        ) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_new_config_is_predicted_as_by_the_textbook(readings) -> None:
    gp = CurveGP(readings, THETA, LEVELS)
    new = np.array([0.3, 0.6])
    K = covariance(readings, THETA)
    for level in (1, 2, 9):
        k = np.array(
            [
                kernel(new, level, readings.features[c], at, same=False)
                for c, at in zip(readings.config, readings.level, strict=True)
            ]
        )
        variance = kernel(new, level, new, level, same=True) + np.exp(2 * THETA.noise)
        variance -= k @ np.linalg.solve(K, k)
        mean = k @ np.linalg.solve(K, readings.value)
        assert gp.mean(new[None])[0, level - 1] == pytest.approx(mean, rel=1e-9)
        assert gp.deviation(new[None])[0, level - 1] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_a_continuation_is_conditioned_on_what_the_curve_showed(readings) -> None:
    gp = CurveGP(readings, THETA, LEVELS)
    K = covariance(readings, THETA)
    for config in range(6):
        own = readings.features[config]
        k = np.array(
            [
                kernel(own, 5, readings.features[c], at, same=c == config)
                for c, at in zip(readings.config, readings.level, strict=True)
            ]
        )
        assert gp.mean_of(config)[4] == pytest.approx(k @ np.linalg.solve(K, readings.value))


def test_leaving_a_config_out_is_forgetting_its_readings(readings) -> None:
    gp = CurveGP(readings, THETA, LEVELS)
    for config in range(6):
        others = readings.config != config
        without = CurveGP(
            readings._replace(
                config=readings.config[others],
                level=readings.level[others],
                value=readings.value[others],
                noise=readings.noise[others],
            ),
            THETA,
            LEVELS,
        )
        mean, deviation = gp.leave_out(config)
        features = readings.features[config : config + 1]
        assert mean == pytest.approx(without.mean(features)[0], abs=1e-10)
        assert deviation == pytest.approx(without.deviation(features)[0], abs=1e-10)


def test_several_configs_are_left_out_together(readings) -> None:
    gp = CurveGP(readings, THETA, LEVELS)
    others = ~np.isin(readings.config, (1, 3))
    without = CurveGP(
        Readings(
            readings.features,
            readings.config[others],
            readings.level[others],
            readings.value[others],
            readings.noise[others],
        ),
        THETA,
        LEVELS,
    )
    mean, deviation = gp.leave_out(3, 1, 3)
    features = readings.features[3:4]
    assert mean == pytest.approx(without.mean(features)[0], abs=1e-10)
    assert deviation == pytest.approx(without.deviation(features)[0], abs=1e-10)


def test_thinning_keeps_whole_curves(readings) -> None:
    assert thinned(readings, 12) is readings
    few = thinned(readings, 6)
    assert len(few.features) == 3
    for number, features in enumerate(few.features):
        (config,) = np.flatnonzero((readings.features == features).all(axis=1))
        of, there = readings.config == config, few.config == number
        assert np.array_equal(few.level[there], readings.level[of])
        assert np.array_equal(few.value[there], readings.value[of])
        assert np.array_equal(few.noise[there], readings.noise[of])


def test_fit_finds_the_top_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    config = np.repeat(np.arange(60), 3)
    level = np.tile([1.0, 3.0, 9.0], 60)
    data = Readings(rng.uniform(size=(60, 2)), config, level, np.zeros(180), np.full(180, 0.01))
    value = np.linalg.cholesky(covariance(data, THETA)) @ rng.standard_normal(180)
    data = data._replace(value=value)
    away = Theta.of(THETA.vector() + 0.7)
    found = fit(data, away, spread=Theta.of(np.full(7, 100.0)))
    best, gradient = negative_log_likelihood(found.vector(), data)
    assert best < negative_log_likelihood(THETA.vector(), data)[0]
    assert best < negative_log_likelihood(away.vector(), data)[0] - 5
    assert np.abs(gradient).max() < 0.1


def test_the_prior_holds_parameters_near_where_the_fit_starts(readings) -> None:
    spread = Theta.of(np.full(7, 1e-4))
    assert fit(readings, THETA, spread).vector() == pytest.approx(THETA.vector(), abs=1e-3)


def test_kernels_are_one_at_no_distance() -> None:
    A = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert np.diag(matern52(squared_distances(A, A))) == pytest.approx(1)
    assert np.diag(level_kernel(np.array([1.0, 5.0]), np.array([1.0, 5.0]), 0.4)) == pytest.approx(
        1
    )
