"""The functions that people write config spaces with."""

from collections.abc import Sequence
from typing import Any

from asynctune.space._finite import Choice, Grid, Ordinal, OrdinalKind
from asynctune.space._numeric import FloatRange, IntRange


def uniform(lower: float, upper: float) -> FloatRange:
    """Return floats that are uniform between two inclusive bounds."""
    return FloatRange(lower, upper, "linear")


def loguniform(lower: float, upper: float) -> FloatRange:
    """Return floats whose logarithm is uniform between two inclusive bounds above 0."""
    return FloatRange(lower, upper, "log")


def reverseloguniform(lower: float, upper: float) -> FloatRange:
    """Return floats x with -log(1 - x) uniform; both bounds lie in [0, 1).

    For parameters that matter close to 1, such as a momentum.
    """
    return FloatRange(lower, upper, "reverse-log")


def randint(lower: int, upper: int) -> IntRange:
    """Return integers that are uniform between two inclusive bounds."""
    return IntRange(lower, upper, "linear")


def lograndint(lower: int, upper: int) -> IntRange:
    """Return integers on a log scale, between two inclusive bounds of at least 1.

    Integer v has probability proportional to log((v + 1/2) / (v - 1/2)).
    """
    return IntRange(lower, upper, "log")


def choice(categories: Sequence[Any]) -> Choice:
    """Return categories without an order: strings, numbers or bools, equally likely."""
    return Choice(categories)  # type: ignore[arg-type]  # made a tuple there


def ordinal(values: Sequence[Any], kind: OrdinalKind = "equal") -> Ordinal:
    """Return values with an order.

    Args:
        values: The values, in their order.
        kind: "equal" spaces the values evenly; "nn" (and "nn-log") places numbers where
            they lie on a linear (log) axis, and a point means the nearest number.
    """
    return Ordinal(values, kind)  # type: ignore[arg-type]  # made a tuple there


def finrange(lower: float, upper: float, size: int, *, cast_int: bool = False) -> Grid:
    """Return `size` evenly spaced numbers from `lower` to `upper`, equally likely.

    Args:
        lower: First grid point.
        upper: Last grid point.
        size: Number of grid points, at least 2.
        cast_int: Round the grid points to integers.
    """
    return Grid(lower, upper, size, "linear", cast_int)


def logfinrange(lower: float, upper: float, size: int, *, cast_int: bool = False) -> Grid:
    """Return `size` numbers evenly spaced on a log scale, equally likely.

    Args:
        lower: First grid point, above 0.
        upper: Last grid point.
        size: Number of grid points, at least 2.
        cast_int: Round the grid points to integers.
    """
    return Grid(lower, upper, size, "log", cast_int)
