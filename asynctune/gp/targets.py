"""From metric values to the standardised targets of a process.

Losses of hyperparameters have a heavy upper tail: the bad half spreads over many times
the range of the good one, and some trials diverge. A stationary process fitted to
them spends its variance where nobody wants to look. So values above the median are
compressed by a logarithm whose unit is the spread of the good half, which stays linear:
expected improvement keeps its meaning, the order of values is kept, and no value is
dropped. (The bad half alone is warped in the same spirit in Song et al., "The Vizier Gaussian
Process Bandit Algorithm", 2024, section 3.1.)
"""

import math
from typing import NamedTuple

import numpy as np

from asynctune.gp.arrays import Vector


class TargetScale(NamedTuple):
    """A monotone map from values to targets.

    Attributes:
        knee: The median, above which values are compressed.
        unit: Spread of the values below it.
        mean: Mean of the compressed values, in units.
        sd: Their standard deviation, in units.
    """

    knee: float
    unit: float
    mean: float
    sd: float

    def targets(self, values: Vector) -> Vector:
        """Return the targets of `values`, shape ``(n,)``.

        A diverged trial (infinite value) gets the worst target among the finite values,
        or 0 where all are infinite.
        """
        finite = np.isfinite(values)
        if finite.all():
            return self._of_finite(values)
        targets = self._of_finite(np.where(finite, values, self.knee))
        targets[~finite] = targets[finite].max() if finite.any() else 0.0
        return targets

    def _of_finite(self, values: Vector) -> Vector:
        targets = (values - self.knee) / self.unit
        np.log1p(targets, out=targets, where=targets > 0.0)
        targets -= self.mean
        targets /= self.sd
        return targets


def target_scale(values: Vector) -> TargetScale:
    """Return the scale that `values`, shape ``(n,)``, small ones being good, ask for.

    Infinite values count as bad ones, whose number moves the median but not the rest.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return TargetScale(0.0, 1.0, 0.0, 1.0)
    # The lower median is a value that occurs; where most trials diverged, it is the worst.
    knee = float(min(np.sort(values)[(len(values) - 1) // 2], finite.max()))
    unit = _spread(knee - finite[finite <= knee]) or _spread(finite[finite > knee] - knee) or 1.0
    targets = TargetScale(knee, unit, 0.0, 1.0).targets(values)
    mean = float(targets.mean())
    targets -= mean
    sd = math.sqrt(float(targets @ targets) / len(targets))
    return TargetScale(knee, unit, mean, sd if sd > 0.0 else 1.0)


def _spread(deviations: Vector) -> float:
    """Return the root mean square of non-negative `deviations`, safe against overflow."""
    if not deviations.size or not (largest := deviations.max()) > 0.0:
        return 0.0
    shares = deviations / largest
    return float(largest) * math.sqrt(float(shares @ shares) / len(shares))
