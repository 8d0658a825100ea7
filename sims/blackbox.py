"""Blackboxes: functions from a config to its learning curve and the seconds it takes."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Curve(NamedTuple):
    """One config trained from scratch to the end.

    Attributes:
        values: For each metric, its value after each resource level 1..R, shape ``(R,)``.
        seconds: Cumulative training seconds after each level, shape ``(R,)``, strictly
            increasing, without start-up.
        source: Where each level's values come from ("recorded", "surrogate" ...), length R,
            or None if the question does not arise.
    """

    values: Mapping[str, Vector]
    seconds: Vector
    source: tuple[str, ...] | None = None


class Blackbox(Protocol):
    """Anything that can say how training a config would go."""

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the learning curve of `config`.

        Args:
            config: A config of the benchmark's space, constants included.
            seed: Training seed; the same (config, seed) gives the same curve.
        """
        ...
