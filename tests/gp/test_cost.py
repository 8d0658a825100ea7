import numpy as np
import pytest

from asynctune.gp.cost import LearnedCost, PerCost
from asynctune.gp.data import inputs
from asynctune.gp.improvement import LogImprovement
from asynctune.gp.model import Model
from asynctune.gp.polish import polish
from asynctune.gp.posterior import Posterior


def improvement(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((12, 2))
    model = Model(2)
    posterior = Posterior(model, model.centre, inputs(X), np.sin(4 * X[:, 0]) + X[:, 1])
    return LogImprovement(posterior, -0.2)


def learned(n=40):
    """Seconds that grow with the first coordinate, by a factor of e^3."""
    X = np.random.default_rng(1).random((n, 2))
    noise = 0.05 * np.random.default_rng(2).standard_normal(n)
    return LearnedCost(X, 20 * np.exp(3 * X[:, 0] + noise))


def test_seconds_are_learned_on_their_logarithm():
    X = np.random.default_rng(3).random((30, 2))
    truth = np.log(20) + 3 * X[:, 0]
    np.testing.assert_allclose(learned().log_seconds(X), truth, atol=0.15)


def test_constant_or_single_seconds_make_no_difference():
    X = np.random.default_rng(3).random((5, 2))
    for n in (1, 2, 10):
        cost = LearnedCost(np.random.default_rng(1).random((n, 2)), np.full(n, 60.0))
        np.testing.assert_allclose(cost.log_seconds(X), np.log(60.0), rtol=1e-9)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_value_is_improvement_less_log_seconds(power):
    X = np.random.default_rng(4).random((9, 2))
    plain, cost = improvement(), learned()
    acquisition = PerCost(plain, cost, power)
    expected = plain.value(X) - power * cost.log_seconds(X)
    np.testing.assert_allclose(acquisition.value(X), expected, rtol=1e-12)
    value, slope = acquisition.value_with_gradient(X)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    for k, step in enumerate(1e-6 * np.eye(2)):
        numeric = (acquisition.value(X + step) - acquisition.value(X - step)) / 2e-6
        np.testing.assert_allclose(slope[:, k], numeric, rtol=1e-4, atol=1e-5)


def test_the_dearer_of_two_alike_is_left_alone():
    class Flat:
        def value(self, X):
            return np.zeros(len(X))

        def value_with_gradient(self, X):
            return np.zeros(len(X)), np.zeros_like(X)

    start = np.full((1, 2), 0.8)
    assert polish(PerCost(Flat(), learned()), start, np.ones(2))[0, 0] < 0.05
    np.testing.assert_array_equal(polish(Flat(), start, np.ones(2)), [*start, *start])


@pytest.mark.parametrize(
    ("X", "seconds", "message"),
    [
        (np.zeros((2, 1)), np.ones(3), r"one number for each row of X; got shapes \(3,\) and"),
        (np.zeros((0, 1)), np.ones(0), "one number for each row"),
        (np.zeros((2, 1)), np.array([1.0, 0.0]), r"positive and finite; got \[1.0, 0.0\]"),
        (np.zeros((1, 1)), np.array([np.inf]), "positive and finite"),
    ],
)
def test_seconds_are_checked(X, seconds, message):
    with pytest.raises(ValueError, match=message):
        LearnedCost(X, seconds)
