"""The scale that curves are modelled on: as they are, but for a tail of bad values."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Scale(NamedTuple):
    """Losses as they are up to `knee`, and logarithmic with the unit `unit` beyond.

    A training that is about to diverge reports losses that are larger by orders than all others;
    they are not to outweigh these.

    Attributes:
        sign: 1 if small values of the metric are good, -1 if large ones are.
        knee: Loss up to which nothing is changed.
        unit: Losses that lie this far beyond are brought to log(2) of it.
        best: Least loss that was recorded.
        room: How much better than it a prediction can be, at the very most; better ones are
            brought nearer and nearer to that without changing their order.
        worst: Largest loss that a prediction can be.
    """

    sign: float
    knee: float
    unit: float
    best: float
    room: float
    worst: float

    @classmethod
    def of(cls, values: Array, mode: str) -> "Scale":
        """Return the scale for values of a metric; those that are not finite are left out."""
        sign = -1.0 if mode == "max" else 1.0
        finite = values[np.isfinite(values)]
        knee = float(np.quantile(sign * finite, 0.9))
        unit = max(knee - float((sign * finite).min()), 1e-9 * max(1.0, abs(knee)))
        best, worst = float((sign * finite).min()), float((sign * finite).max())
        # Better than all that was recorded is possible; across 0, or 1 for what looks like a
        # share, is not.
        positive, share = finite.min() >= 0, finite.min() >= 0 and finite.max() <= 1
        bound = (0.0 if positive else -np.inf) if sign > 0 else (-1.0 if share else -np.inf)
        room = max(min(0.05 * unit, best - bound), 1e-12 * unit)
        return cls(sign, knee, unit, best, room, worst + 0.05 * unit)

    def to_scale(self, values: Array) -> Array:
        """Return values of the metric on the scale, where less is better."""
        loss = self.sign * values
        beyond = np.maximum(loss - self.knee, 0.0)
        out: Array = np.minimum(loss, self.knee) + self.unit * np.log1p(beyond / self.unit)
        return out

    def from_scale(self, scaled: Array) -> Array:
        """Return values of the metric, kept within what makes sense."""
        beyond = np.maximum(scaled - self.knee, 0.0)
        loss = np.minimum(scaled, self.knee) + self.unit * np.expm1(
            np.minimum(beyond / self.unit, 700.0)
        )
        better = np.maximum(self.best - loss, 0.0)
        loss = np.clip(loss, self.best, self.worst) + self.room * np.expm1(-better / self.room)
        # Rounding keeps results the same where matrix products differ in the last bits.
        return np.round(self.sign * loss, 5 - int(np.floor(np.log10(self.unit))))
