import numpy as np
import pytest
from scipy.integrate import quad

from asynctune.gp.acquisition import log_ei, log_h


def quadrature(z):
    """Return log(h(z) / phi(z)), which is the log of the integral of t exp(z t - t^2 / 2).

    The integrand is rescaled by t = u / max(1, -z), on which scale it lives.
    """
    a = max(1.0, -z)
    integral, error = quad(
        lambda u: u * np.exp(z * u / a - 0.5 * (u / a) ** 2),
        0,
        80,
        epsabs=0,
        epsrel=1e-13,
        limit=500,
    )
    assert error < 1e-11 * integral
    return np.log(integral) - 2 * np.log(a)


@pytest.mark.parametrize(
    "z",
    [
        *(8.0, 5.001, 5.0, 4.999, 1.0, 0.0, -0.5, -0.999, -1.0, -1.001, -5.0, -20.0),
        *(-39.9, -40.1, -300.0, -1e4, -1e6),
    ],
)
def test_log_ei_agrees_with_quadrature(z):
    expected = quadrature(z)
    ours = log_h(np.array([z]))[0] + 0.5 * z * z + 0.5 * np.log(2 * np.pi)
    # The subtraction of z^2 / 2 alone costs the digits that the second term allows for.
    assert ours == pytest.approx(expected, rel=1e-11, abs=1e-11 + 1e-15 * z * z)
    # phi / h does without it, and so must be right in every digit, however far the tail.
    ratio = log_ei(np.array([-z]), np.array([1.0]), 0.0).d_sd[0]
    assert np.log(ratio) == pytest.approx(-expected, rel=1e-11, abs=1e-11)


def test_branches_meet_smoothly():
    for edge in (5.0, -40.0):
        z = np.array([np.nextafter(edge, -np.inf), edge, np.nextafter(edge, np.inf)])
        assert log_h(z) == pytest.approx(np.full(3, log_h(z)[1]), rel=1e-13)
        # Of a standard deviation of 1, z is the incumbent less the mean.
        ei = log_ei(-z, np.ones(3), 0.0)
        for gradient in (ei.d_mean, ei.d_sd):
            assert gradient == pytest.approx(np.full(3, gradient[1]), rel=1e-9)


@pytest.mark.parametrize("z", [3.0, 0.0, -0.9, -1.1, -10.0, -39.0, -41.0, -1e3])
def test_gradient_agrees_with_finite_differences(z):
    sd, incumbent = 0.7, 0.2
    mean = incumbent - z * sd
    ei = log_ei(np.array([mean]), np.array([sd]), incumbent)

    def value(mean, sd):
        return log_ei(np.array([mean]), np.array([sd]), incumbent).value[0]

    h = 1e-6
    by_mean = (value(mean + h, sd) - value(mean - h, sd)) / (2 * h)
    by_sd = (value(mean, sd + h) - value(mean, sd - h)) / (2 * h)
    assert ei.d_mean[0] == pytest.approx(by_mean, rel=1e-6)
    assert ei.d_sd[0] == pytest.approx(by_sd, rel=1e-6)


def test_hopeless_points_are_still_told_apart():
    ei = log_ei(np.array([1e3, 2e3]), np.array([1e-3, 1e-3]), 0.0)
    assert np.isfinite(ei.value).all()
    assert ei.value[0] > ei.value[1]
    assert (ei.d_mean < 0).all()
    assert (ei.d_sd > 0).all()
