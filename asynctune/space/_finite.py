"""Domains given by a list or a grid of values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeAlias, final

import numpy as np

from asynctune.exceptions import SpaceError
from asynctune.space._domain import Domain, Scalar, as_float, as_int, is_category, plain
from asynctune.space._scale import FloatArray, Scale, position, values_at

OrdinalKind: TypeAlias = Literal["equal", "nn", "nn-log"]
_GRID_NAMES: dict[Scale, str] = {"linear": "finrange", "log": "logfinrange"}


def _cells(u: FloatArray, k: int) -> list[int]:
    """Return which of `k` equal cells of [0, 1] each number lies in."""
    cells: list[int] = np.clip(np.floor(u * k), 0, k - 1).astype(np.int64).tolist()
    return cells


def _indices(index: dict[Any, int], values: Sequence[Any], domain: Domain) -> list[int]:
    """Return the index of each value."""
    try:
        return [index[v] for v in values]
    except (KeyError, TypeError) as error:
        raise SpaceError(f"values must belong to {domain}; got {error.args[0]!r}") from None


def _checked_list(name: str, values: object) -> tuple[tuple[Scalar, ...], dict[Any, int]]:
    """Return plain, distinct values and their indices."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise SpaceError(f"{name}: the values must be a list or a tuple; got {values!r}")
    categories: list[Scalar] = []
    for v in map(plain, values):
        if not is_category(v):
            raise SpaceError(f"{name}: a value must be a string, number or bool; got {v!r}")
        categories.append(v)
    if not categories:
        raise SpaceError(f"{name}: there must be at least one value; got none")
    index = {v: i for i, v in enumerate(categories)}
    if len(index) < len(categories):
        raise SpaceError(f"{name}: the values must be distinct; got {categories!r}")
    return tuple(categories), index


@final
@dataclass(frozen=True, slots=True, repr=False)
class Choice(Domain):
    """Categories without an order, all equally likely.

    Encoded one-hot; a choice between two takes a single column.

    Attributes:
        categories: The categories: strings, numbers or bools.
    """

    categories: tuple[Scalar, ...]
    _index: dict[Any, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        categories, index = _checked_list("choice", self.categories)
        object.__setattr__(self, "categories", categories)
        object.__setattr__(self, "_index", index)

    def __repr__(self) -> str:
        return f"choice({list(self.categories)!r})"

    @property
    def size(self) -> int:
        """Number of categories."""
        return len(self.categories)

    @property
    def width(self) -> int:
        """Number of categories if there are more than two, else one."""
        return self.size if self.size > 2 else 1

    def default(self) -> Scalar:
        """Return the first category."""
        return self.categories[0]

    def from_unit(self, u: FloatArray) -> list[Scalar]:
        """Map `n` uniform numbers to categories."""
        return [self.categories[i] for i in _cells(u, self.size)]

    def encode(self, values: Sequence[Any]) -> FloatArray:
        """Return the one-hot code of `n` categories, `n x width`."""
        rows = _indices(self._index, values, self)
        if self.width == 1:
            return (np.asarray(rows, dtype=np.float64)[:, None] + 0.5) / self.size
        code = np.zeros((len(rows), self.width))
        code[np.arange(len(rows)), rows] = 1.0
        return code

    def decode(self, x: FloatArray) -> list[Scalar]:
        """Return the category with the largest coordinate, the first one of equals."""
        if self.width == 1:
            return self.from_unit(x[:, 0])
        return [self.categories[i] for i in np.argmax(x, axis=1).tolist()]

    def value_at(self, index: int) -> Scalar:
        """Return category number `index`."""
        return self.categories[index]

    def check(self, value: object) -> Scalar:
        """Return the category that equals `value`."""
        return self.categories[_member(self._index, value, self)]

    def to_json(self) -> dict[str, Any]:
        """Return the domain as JSON values."""
        return {"domain": "choice", "categories": list(self.categories)}


@final
@dataclass(frozen=True, slots=True, repr=False)
class Ordinal(Domain):
    """Values with an order.

    Kind "equal" spaces them evenly, whatever they are. Kinds "nn" and "nn-log" place
    numbers where they lie on a linear or log axis that reaches half a mean spacing
    beyond them; each number owns the points that it is nearest to, in sampling too.

    Attributes:
        values: The values; increasing numbers for "nn", and positive for "nn-log".
        kind: How they are placed.
    """

    values: tuple[Scalar, ...]
    kind: OrdinalKind = "equal"
    _index: dict[Any, int] = field(init=False, compare=False)
    _centres: FloatArray = field(init=False, compare=False)
    _borders: FloatArray = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in ("equal", "nn", "nn-log"):
            raise SpaceError(f"ordinal: kind must be equal, nn or nn-log; got {self.kind!r}")
        values, index = _checked_list("ordinal", self.values)
        k = len(values)
        if self.kind == "equal" or k == 1:
            centres = (np.arange(k) + 0.5) / k
        else:
            numbers = [as_float(f"ordinal of kind {self.kind}: a value", v) for v in values]
            if any(a >= b for a, b in pairwise(numbers)):
                raise SpaceError(
                    f"ordinal of kind {self.kind}: values must increase; got {list(values)!r}"
                )
            if self.kind == "nn-log" and numbers[0] <= 0.0:
                raise SpaceError(f"ordinal: values must be above 0 for nn-log; got {numbers[0]!r}")
            scale: Scale = "log" if self.kind == "nn-log" else "linear"
            t = np.array([position(v, scale) for v in numbers])
            margin = 0.5 * (t[-1] - t[0]) / (k - 1)
            centres = (t - t[0] + margin) / (t[-1] - t[0] + 2.0 * margin)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_index", index)
        object.__setattr__(self, "_centres", centres)
        object.__setattr__(self, "_borders", 0.5 * (centres[1:] + centres[:-1]))

    def __repr__(self) -> str:
        return f"ordinal({list(self.values)!r}, kind={self.kind!r})"

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def width(self) -> int:
        """One."""
        return 1

    def default(self) -> Scalar:
        """Return the value in the middle: of the list, or of the axis for "nn" and "nn-log"."""
        return self.from_unit(np.array([0.5]))[0]

    def from_unit(self, u: FloatArray) -> list[Scalar]:
        """Map `n` uniform numbers to the values whose cells they lie in."""
        cells: list[int] = np.searchsorted(self._borders, u, side="right").tolist()
        return [self.values[i] for i in cells]

    def encode(self, values: Sequence[Any]) -> FloatArray:
        """Return the places of `n` values on the axis, `n x 1`."""
        return self._centres[_indices(self._index, values, self)][:, None]

    def decode(self, x: FloatArray) -> list[Scalar]:
        """Return the values nearest to `n x 1` coordinates."""
        return self.from_unit(x[:, 0])

    def value_at(self, index: int) -> Scalar:
        """Return value number `index`."""
        return self.values[index]

    def check(self, value: object) -> Scalar:
        """Return the listed value that equals `value`."""
        return self.values[_member(self._index, value, self)]

    def to_json(self) -> dict[str, Any]:
        """Return the domain as JSON values."""
        return {"domain": "ordinal", "values": list(self.values), "kind": self.kind}


@final
@dataclass(frozen=True, slots=True, repr=False)
class Grid(Domain):
    """An evenly spaced grid of numbers on a linear or log scale, all equally likely.

    Attributes:
        lower: First grid point.
        upper: Last grid point.
        num: Number of grid points.
        scale: "linear" or "log".
        cast_int: Round the grid points to integers.
    """

    lower: float
    upper: float
    num: int
    scale: Scale = "linear"
    cast_int: bool = False
    _values: tuple[float, ...] = field(init=False, compare=False)
    _index: dict[Any, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        name = _GRID_NAMES[self.scale]
        lower = as_float(f"{name}: lower", self.lower)
        upper = as_float(f"{name}: upper", self.upper)
        num = as_int(f"{name}: size", self.num)
        if lower >= upper:
            raise SpaceError(f"{name}: lower must be below upper; got {lower!r} and {upper!r}")
        if self.scale == "log" and lower <= 0.0:
            raise SpaceError(f"{name}: lower must be above 0 on a log scale; got {lower!r}")
        if num < 2:
            raise SpaceError(f"{name}: size must be at least 2; got {num}")
        start, stop = position(lower, self.scale), position(upper, self.scale)
        inner = values_at(start + (stop - start) * (np.arange(1, num - 1) / (num - 1)), self.scale)
        points: list[float] = [lower, *inner.tolist(), upper]
        if self.cast_int:
            points = [round(p) for p in points]
        if len(set(points)) < num:
            raise SpaceError(f"{name}: the grid points must be distinct; got {points!r}")
        for key, value in (
            ("lower", lower),
            ("upper", upper),
            ("num", num),
            ("_values", tuple(points)),
            ("_index", {p: i for i, p in enumerate(points)}),
        ):
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        cast = ", cast_int=True" if self.cast_int else ""
        return f"{_GRID_NAMES[self.scale]}({self.lower!r}, {self.upper!r}, {self.num}{cast})"

    @property
    def size(self) -> int:
        """Number of grid points."""
        return self.num

    @property
    def width(self) -> int:
        """One."""
        return 1

    def default(self) -> Scalar:
        """Return the grid point in the middle, the upper one of two."""
        return self._values[self.num // 2]

    def from_unit(self, u: FloatArray) -> list[Scalar]:
        """Map `n` uniform numbers to grid points."""
        return [self._values[i] for i in _cells(u, self.num)]

    def encode(self, values: Sequence[Any]) -> FloatArray:
        """Return the places of `n` grid points, evenly spaced, `n x 1`."""
        try:
            rows = [self._index[v] for v in values]
        except (KeyError, TypeError):
            rows = [self._index[self.check(v)] for v in values]
        return (np.asarray(rows, dtype=np.float64)[:, None] + 0.5) / self.num

    def decode(self, x: FloatArray) -> list[Scalar]:
        """Return the grid points nearest to `n x 1` coordinates."""
        return self.from_unit(x[:, 0])

    def value_at(self, index: int) -> Scalar:
        """Return grid point number `index`."""
        return self._values[index]

    def check(self, value: object) -> Scalar:
        """Return the grid point that equals `value` up to rounding."""
        number = as_float("value", value)
        nearest = min(self._values, key=lambda p: abs(p - number))
        if abs(nearest - number) > 1e-9 * max(abs(nearest), abs(number)):
            raise SpaceError(f"value must belong to {self}; got {number!r}")
        return nearest

    def to_json(self) -> dict[str, Any]:
        """Return the domain as JSON values."""
        return {
            "domain": _GRID_NAMES[self.scale],
            "lower": self.lower,
            "upper": self.upper,
            "size": self.num,
            "cast_int": self.cast_int,
        }


def _member(index: dict[Any, int], value: object, domain: Domain) -> int:
    """Return the index of a value that may be of any type."""
    value = plain(value)
    if not is_category(value) or value not in index:
        raise SpaceError(f"value must belong to {domain}; got {value!r}")
    return index[value]
