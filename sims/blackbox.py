"""Blackboxes: functions from a config to its learning curve and the seconds it takes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asynctune.exceptions import UsageError

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


class FunctionBlackbox:
    """A plain function as a blackbox.

    Args:
        function: Maps a config to (values, cumulative seconds), one of each a resource level.
        metric: What the values are of.
    """

    def __init__(
        self, function: Callable[[Mapping[str, Any]], tuple[ArrayLike, ArrayLike]], metric: str
    ) -> None:
        self._function = function
        self._metric = metric

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the function's answer; `seed` has no effect on it."""
        del seed
        values, seconds = self._function(config)
        return Curve(
            {self._metric: np.asarray(values, dtype=np.float64)},
            np.asarray(seconds, dtype=np.float64),
        )


class DeferredBlackbox:
    """A blackbox that is made when its first curve is asked for.

    Args:
        make: Makes the blackbox: an object with `curve`, or a plain function.
        metric: What a plain function's values are of.
    """

    def __init__(self, make: Callable[[], Any], metric: str) -> None:
        self._make = make
        self._metric = metric
        self._made: Blackbox | None = None

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return the learning curve of `config`."""
        if self._made is None:
            self._made = as_blackbox(self._make(), self._metric)
        return self._made.curve(config, seed)


def as_blackbox(thing: Any, metric: str) -> Blackbox:  # noqa: ANN401 - this is where it is checked
    """Return `thing` as a blackbox: an object with `curve`, or a plain function.

    Raises:
        UsageError: If it is neither.
    """
    if hasattr(thing, "curve"):
        blackbox: Blackbox = thing
        return blackbox
    if callable(thing):
        return FunctionBlackbox(thing, metric)
    raise UsageError(f"a blackbox must be a function or have a method curve; got {thing!r}")
