"""What a domain is: the set that one parameter is drawn from, and its coordinates."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from asynctune.exceptions import SpaceError
from asynctune.space._scale import FloatArray

#: A plain value: what a parameter can be.
Scalar: TypeAlias = str | int | float | bool | None


class Domain(ABC):
    """The set of values of one parameter, with a distribution over it.

    Domains are immutable and compare by value. Their own coordinates fill the unit
    cube: `width` columns, one except for a choice among more than two categories.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def size(self) -> int | None:
        """Number of values, or None if they are a continuum."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of columns in the encoding."""

    @abstractmethod
    def default(self) -> Scalar:
        """Return the midpoint."""

    @abstractmethod
    def from_unit(self, u: FloatArray) -> Sequence[Scalar]:
        """Map `n` numbers that are uniform in [0, 1] to values with the domain's distribution."""

    @abstractmethod
    def encode(self, values: Sequence[Any]) -> FloatArray:
        """Return the coordinates of `n` values, `n x width` in the unit cube."""

    @abstractmethod
    def decode(self, x: FloatArray) -> Sequence[Scalar]:
        """Return the values nearest to `n x width` coordinates; those outside are clipped."""

    @abstractmethod
    def value_at(self, index: int) -> Scalar:
        """Return value number `index` of a finite domain, in its natural order."""

    @abstractmethod
    def check(self, value: object) -> Scalar:
        """Return `value` as a plain Python value of the domain.

        Raises:
            SpaceError: If the value does not belong to the domain.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the domain as a dict of JSON values; `domain_from_json` is the inverse."""


def plain(value: object) -> object:
    """Return a numpy scalar as the Python scalar it stands for; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def is_category(value: object) -> TypeGuard[Scalar]:
    """Say whether a plain value can be a category: a string, a finite number or a bool."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def as_float(what: str, value: object) -> float:
    """Return a finite number as a float.

    Raises:
        SpaceError: If it is none; `what` begins the message.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpaceError(f"{what} must be a number; got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpaceError(f"{what} must be finite; got {value!r}")
    return number


def as_int(what: str, value: object) -> int:
    """Return a whole number as an int; a float is taken if it has no fraction.

    Raises:
        SpaceError: If it is none, or beyond 2**53; `what` begins the message.
    """
    number = as_float(what, value)
    if number != math.floor(number):
        raise SpaceError(f"{what} must be a whole number; got {plain(value)!r}")
    if abs(number) > 2**53:
        raise SpaceError(f"{what} must lie within 2**53 of zero; got {plain(value)!r}")
    return int(number)


def in_unit(x: FloatArray, rule: str) -> FloatArray:
    """Return coordinates clipped to [0, 1]; only rounding errors are clipped.

    Raises:
        SpaceError: If one lies outside by more than rounding; `rule` is the message.
    """
    if x.size and not bool(np.all((x >= -1e-9) & (x <= 1.0 + 1e-9))):
        raise SpaceError(rule)
    return np.clip(x, 0.0, 1.0)
