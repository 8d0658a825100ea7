"""Ranges of floats and of integers, on any scale."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from asynctune.exceptions import SpaceError
from asynctune.space._domain import Domain, as_float, as_int, in_unit
from asynctune.space._scale import FloatArray, Scale, middle, position, positions, values_at

_FLOAT_NAMES: dict[Scale, str] = {
    "linear": "uniform",
    "log": "loguniform",
    "reverse-log": "reverseloguniform",
}
_INT_NAMES: dict[Scale, str] = {"linear": "randint", "log": "lograndint"}


@final
@dataclass(frozen=True, slots=True, repr=False)
class FloatRange(Domain):
    """Floats between two inclusive bounds, uniform on a scale.

    Attributes:
        lower: Smallest value.
        upper: Largest value.
        scale: Scale that the values are uniform on.
    """

    lower: float
    upper: float
    scale: Scale = "linear"
    _start: float = field(init=False, compare=False)
    _length: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        name = _FLOAT_NAMES[self.scale]
        lower = as_float(f"{name}: lower", self.lower)
        upper = as_float(f"{name}: upper", self.upper)
        if lower >= upper:
            raise SpaceError(f"{name}: lower must be below upper; got {lower!r} and {upper!r}")
        if self.scale == "log" and lower <= 0.0:
            raise SpaceError(f"{name}: lower must be above 0 on a log scale; got {lower!r}")
        if self.scale == "reverse-log" and not 0.0 <= lower < upper < 1.0:
            raise SpaceError(
                f"{name}: the bounds must lie in [0, 1) on a reverse log scale; "
                f"got {lower!r} and {upper!r}"
            )
        if self.scale == "reverse-log" and 1.0 - lower == 1.0 - upper:
            raise SpaceError(
                f"{name}: 1 - x must differ between the bounds; got {lower!r} and {upper!r}"
            )
        as_float(f"{name}: upper - lower", upper - lower)
        start = position(lower, self.scale)
        for key, value in (("lower", lower), ("upper", upper), ("_start", start)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "_length", position(upper, self.scale) - start)

    def __repr__(self) -> str:
        return f"{_FLOAT_NAMES[self.scale]}({self.lower!r}, {self.upper!r})"

    @property
    def size(self) -> None:
        """None: the values are a continuum."""
        return None

    @property
    def width(self) -> int:
        """One."""
        return 1

    def default(self) -> float:
        """Return the arithmetic midpoint, or the geometric one on a log scale."""
        return min(max(middle(self.lower, self.upper, self.scale), self.lower), self.upper)

    def from_unit(self, u: FloatArray) -> list[float]:
        """Map `n` uniform numbers to floats."""
        values = values_at(self._start + self._length * u, self.scale)
        clipped: list[float] = np.clip(values, self.lower, self.upper).tolist()
        return clipped

    def encode(self, values: Sequence[Any]) -> FloatArray:
        """Return the relative positions of `n` values on the scale, `n x 1`."""
        t = positions(np.asarray(values, dtype=np.float64), self.scale)
        return in_unit((t - self._start) / self._length, f"values must belong to {self}")[:, None]

    def decode(self, x: FloatArray) -> list[float]:
        """Return the values at `n x 1` coordinates."""
        return self.from_unit(np.clip(x[:, 0], 0.0, 1.0))

    def value_at(self, index: int) -> float:
        """Raise: a continuum cannot be counted."""
        raise SpaceError(f"only a finite domain has a value number {index}; got {self}")

    def check(self, value: object) -> float:
        """Return `value` as a float within the bounds."""
        number = as_float("value", value)
        if not self.lower <= number <= self.upper:
            raise SpaceError(f"value must belong to {self}; got {number!r}")
        return number

    def to_json(self) -> dict[str, Any]:
        """Return the domain as JSON values."""
        return {"domain": _FLOAT_NAMES[self.scale], "lower": self.lower, "upper": self.upper}


@final
@dataclass(frozen=True, slots=True, repr=False)
class IntRange(Domain):
    """Integers between two inclusive bounds, uniform on a linear or log scale.

    Integer v owns the positions between v - 1/2 and v + 1/2.

    Attributes:
        lower: Smallest value.
        upper: Largest value.
        scale: "linear" or "log".
    """

    lower: int
    upper: int
    scale: Scale = "linear"
    _start: float = field(init=False, compare=False)
    _length: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        name = _INT_NAMES[self.scale]
        lower = as_int(f"{name}: lower", self.lower)
        upper = as_int(f"{name}: upper", self.upper)
        if lower > upper:
            raise SpaceError(f"{name}: lower must not exceed upper; got {lower} and {upper}")
        if self.scale == "log" and lower < 1:
            raise SpaceError(f"{name}: lower must be at least 1 on a log scale; got {lower}")
        start = position(lower - 0.5, self.scale)
        for key, value in (("lower", lower), ("upper", upper), ("_start", start)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "_length", position(upper + 0.5, self.scale) - start)

    def __repr__(self) -> str:
        return f"{_INT_NAMES[self.scale]}({self.lower}, {self.upper})"

    @property
    def size(self) -> int:
        """Number of integers in the range."""
        return self.upper - self.lower + 1

    @property
    def width(self) -> int:
        """One."""
        return 1

    def default(self) -> int:
        """Return the midpoint of the bounds on the scale, rounded down or to the nearest."""
        if self.scale == "linear":
            return (self.lower + self.upper) // 2
        return round(middle(self.lower, self.upper, self.scale))

    def from_unit(self, u: FloatArray) -> list[int]:
        """Map `n` uniform numbers to integers."""
        t = values_at(self._start + self._length * u, self.scale)
        whole = np.floor(t + 0.5).astype(np.int64)
        clipped: list[int] = np.clip(whole, self.lower, self.upper).tolist()
        return clipped

    def encode(self, values: Sequence[Any]) -> FloatArray:
        """Return the relative positions of `n` integers on the scale, `n x 1`."""
        t = positions(np.asarray(values, dtype=np.float64), self.scale)
        return in_unit((t - self._start) / self._length, f"values must belong to {self}")[:, None]

    def decode(self, x: FloatArray) -> list[int]:
        """Return the integers nearest to `n x 1` coordinates."""
        return self.from_unit(np.clip(x[:, 0], 0.0, 1.0))

    def value_at(self, index: int) -> int:
        """Return `lower + index`."""
        return self.lower + index

    def check(self, value: object) -> int:
        """Return `value` as an int within the bounds."""
        number = as_int("value", value)
        if not self.lower <= number <= self.upper:
            raise SpaceError(f"value must belong to {self}; got {number!r}")
        return number

    def to_json(self) -> dict[str, Any]:
        """Return the domain as JSON values."""
        return {"domain": _INT_NAMES[self.scale], "lower": self.lower, "upper": self.upper}
