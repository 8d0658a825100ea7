"""What a search maximises: the log expected improvement as a function of points."""

from typing import NamedTuple, Protocol

from asynctune.gp.acquisition import log_ei
from asynctune.gp.arrays import Matrix, Vector
from asynctune.gp.posterior import Gradient, Prediction


class Surface(Protocol):
    """What is believed of the metric at each point of the unit cube: a posterior, or several."""

    @property
    def lengthscales(self) -> Vector:
        """Over which length it changes, in each coordinate, shape ``(d,)``."""
        ...

    def mean(self, X: Matrix) -> Vector:
        """Return the mean at points `X`, ``(m, d)``."""
        ...

    def predict(self, X: Matrix) -> Prediction:
        """Return mean and standard deviation at points `X`, ``(m, d)``."""
        ...

    def predict_with_gradient(self, X: Matrix) -> tuple[Prediction, Gradient]:
        """Return mean and standard deviation at points `X`, ``(m, d)``, and their gradients."""
        ...


class Acquisition(Protocol):
    """How much a point is worth trying; the larger the better."""

    def value(self, X: Matrix) -> Vector:
        """Return the values at points `X`, ``(m, d)``."""
        ...

    def value_with_gradient(self, X: Matrix) -> tuple[Vector, Matrix]:
        """Return the values at points `X`, ``(m, d)``, and their gradients, ``(m, d)``."""
        ...


class LogImprovement(NamedTuple):
    """Log expected improvement, for minimisation.

    Attributes:
        surface: What is believed of the metric.
        incumbent: The value to improve on.
    """

    surface: Surface
    incumbent: float

    def value(self, X: Matrix) -> Vector:
        """Return the values at points `X`, ``(m, d)``."""
        prediction = self.surface.predict(X)
        return log_ei(prediction.mean, prediction.sd, self.incumbent).value

    def value_with_gradient(self, X: Matrix) -> tuple[Vector, Matrix]:
        """Return the values at points `X`, ``(m, d)``, and their gradients, ``(m, d)``."""
        prediction, gradient = self.surface.predict_with_gradient(X)
        ei = log_ei(prediction.mean, prediction.sd, self.incumbent)
        slope: Matrix = ei.d_mean[:, None] * gradient.mean + ei.d_sd[:, None] * gradient.sd
        return ei.value, slope
