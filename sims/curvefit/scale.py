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
        lowest: Least value of the metric that makes sense.
        highest: Largest value of the metric that makes sense.
    """

    sign: float
    knee: float
    unit: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Array, mode: str) -> "Scale":
        """Return the scale for values of a metric; those that are not finite are left out."""
        sign = -1.0 if mode == "max" else 1.0
        finite = values[np.isfinite(values)]
        knee = float(np.quantile(sign * finite, 0.9))
        unit = max(knee - float((sign * finite).min()), 1e-9 * max(1.0, abs(knee)))
        lowest, highest = float(finite.min()), float(finite.max())
        # A little better than all that was recorded is possible; across 0, or 1 for what looks
        # like a share, is not.
        floor = 0.0 if lowest >= 0 else -np.inf
        ceiling = 1.0 if lowest >= 0 and highest <= 1 else np.inf
        margin = 0.05 * unit
        return cls(sign, knee, unit, max(lowest - margin, floor), min(highest + margin, ceiling))

    def to_scale(self, values: Array) -> Array:
        """Return values of the metric on the scale, where less is better."""
        loss = self.sign * values
        beyond = np.maximum(loss - self.knee, 0.0)
        out: Array = np.minimum(loss, self.knee) + self.unit * np.log1p(beyond / self.unit)
        return out

    def from_scale(self, scaled: Array) -> Array:
        """Return values of the metric; what makes no sense is clipped."""
        beyond = np.maximum(scaled - self.knee, 0.0)
        loss = np.minimum(scaled, self.knee) + self.unit * np.expm1(
            np.minimum(beyond / self.unit, 700.0)
        )
        clipped = np.clip(self.sign * loss, self.lowest, self.highest)
        # Rounding keeps results the same where matrix products differ in the last bits.
        return np.round(clipped, 5 - int(np.floor(np.log10(self.unit))))
