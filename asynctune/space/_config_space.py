"""The config space: named domains and constants."""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import numpy as np

from asynctune.exceptions import SpaceError
from asynctune.space._domain import Domain, Scalar, is_category, plain
from asynctune.space._json import domain_from_json
from asynctune.space._scale import FloatArray

#: A config: a value for every key of its space, constants included, in the space's order.
Config: TypeAlias = Mapping[str, Any]


class ConfigSpace(Mapping[str, Any]):
    """An immutable config space: what a plain dict of domains and constants means.

    Columns of draws and encodings belong to the tuned parameters in alphabetical order,
    so that equal dicts mean the same whatever the order of their keys. Configs are
    complete (they hold the constants too) and keep the order of the dict.

    Attributes:
        names: Names of the tuned parameters, in alphabetical order.
        domains: Their domains, in the same order.
        constants: The constants.
        dimension: Number of columns of the encoding.
        columns: Which columns of the encoding are whose, by name.
        size: Number of distinct configs, or None if they are a continuum.

    Raises:
        SpaceError: If a key is no non-empty string, or a constant no JSON scalar.
    """

    __slots__ = (
        "_entries",
        "_items_of",
        "_keys",
        "columns",
        "constants",
        "dimension",
        "domains",
        "names",
        "size",
    )

    def __init__(self, space: Mapping[str, Any]) -> None:
        if not isinstance(space, Mapping):
            raise SpaceError(f"a config space must be a dict of domains; got {space!r}")
        self._entries = {name: _entry(name, value) for name, value in space.items()}
        self.names = tuple(sorted(n for n, e in self._entries.items() if isinstance(e, Domain)))
        self.domains: Mapping[str, Domain] = MappingProxyType(
            {n: e for n in self.names if isinstance(e := self._entries[n], Domain)}
        )
        self.constants: Mapping[str, Any] = MappingProxyType(
            {n: e for n, e in self._entries.items() if not isinstance(e, Domain)}
        )
        columns: dict[str, slice] = {}
        self.dimension = 0
        for name, domain in self.domains.items():
            columns[name] = slice(self.dimension, self.dimension + domain.width)
            self.dimension += domain.width
        self.columns: Mapping[str, slice] = MappingProxyType(columns)
        sizes = [d.size for d in self.domains.values()]
        self.size = None if None in sizes else math.prod(s for s in sizes if s is not None)
        self._keys = tuple(self._entries)
        self._items_of = _items_of(self.names)

    def __getitem__(self, name: str) -> Domain | Scalar:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self._entries,)

    def __repr__(self) -> str:
        return f"ConfigSpace({self._entries!r})"

    def default(self) -> Config:
        """Return the config of all midpoints.

        The midpoint is the arithmetic mean of the bounds, on a log scale the geometric
        one; the first category of a choice; the middle value of an ordinal.
        """
        return {n: e.default() if isinstance(e, Domain) else e for n, e in self._entries.items()}

    def from_unit(self, u: FloatArray) -> list[Config]:
        """Map uniform draws to configs with the space's distribution.

        Args:
            u: `n x n_params` numbers in [0, 1), a column a tuned parameter, as in `names`.

        Returns:
            `n` configs.
        """
        u = np.asarray(u, dtype=np.float64)
        if u.ndim != 2 or u.shape[1] != len(self.names):
            raise SpaceError(f"draws must be n x {len(self.names)}; got {u.shape}")
        return self._join(
            {n: d.from_unit(u[:, j]) for j, (n, d) in enumerate(self.domains.items())}, len(u)
        )

    def sample(self, n: int, rng: np.random.Generator) -> list[Config]:
        """Return `n` independent random configs; duplicates are possible."""
        return self.from_unit(rng.random((n, len(self.names))))

    def encode(self, configs: Sequence[Config]) -> FloatArray:
        """Return the coordinates of valid configs, `n x dimension` in the unit cube.

        Raises:
            SpaceError: If a config lacks a tuned parameter or has a value out of range.
        """
        x = np.empty((len(configs), self.dimension))
        if not configs:
            return x
        for name, domain in self.domains.items():
            try:
                values = [config[name] for config in configs]
            except KeyError:
                raise SpaceError(f"a config must have a value for {name!r}; got none") from None
            try:
                x[:, self.columns[name]] = domain.encode(values)
            except SpaceError as error:
                raise SpaceError(f"parameter {name!r}: {error}") from None
        return x

    def decode(self, x: FloatArray) -> list[Config]:
        """Return the configs nearest to `n x dimension` coordinates; those outside are clipped."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise SpaceError(f"coordinates must be n x {self.dimension}; got {x.shape}")
        return self._join(
            {n: d.decode(x[:, self.columns[n]]) for n, d in self.domains.items()}, len(x)
        )

    def nearest(self, configs: Sequence[Config]) -> list[Config]:
        """Return what can be had nearest to valid configs: in a whole space, each itself."""
        return list(configs)

    def config_at(self, index: int) -> Config:
        """Return config number `index` of a finite space, from 0 to `size` - 1."""
        if self.size is None or not 0 <= index < self.size:
            raise SpaceError(f"the index of a config must be below {self.size}; got {index}")
        values = dict(self.constants)
        for name, domain in reversed(tuple(self.domains.items())):
            index, digit = divmod(index, domain.size or 1)
            values[name] = domain.value_at(digit)
        return {n: values[n] for n in self._keys}

    def key(self, config: Config) -> Hashable:
        """Return what tells a valid config from others: its tuned values."""
        return self._items_of(config)

    def complete(self, config: Mapping[str, Any]) -> Config:
        """Return a valid config of plain Python values, missing ones set to the midpoint.

        Raises:
            SpaceError: If a key is unknown, or a value out of range or not the constant.
        """
        unknown = [k for k in config if k not in self._entries]
        if unknown:
            raise SpaceError(
                f"a config's keys must be among {', '.join(self._keys)}; got {unknown[0]!r}"
            )
        result: dict[str, Any] = {}
        for name, entry in self._entries.items():
            value = config.get(name, _MISSING)
            if not isinstance(entry, Domain):
                if value is not _MISSING and plain(value) != entry:
                    raise SpaceError(f"{name!r} must be the constant {entry!r}; got {value!r}")
                result[name] = entry
            elif value is _MISSING:
                result[name] = entry.default()
            else:
                try:
                    result[name] = entry.check(value)
                except SpaceError as error:
                    raise SpaceError(f"parameter {name!r}: {error}") from None
        return result

    def validate(self, config: Mapping[str, Any]) -> None:
        """Check that a config has a value in range for every key of the space.

        Raises:
            SpaceError: If it has not, or has other keys as well.
        """
        self.complete(config)
        missing = [name for name in self._keys if name not in config]
        if missing:
            raise SpaceError(f"a config must have a value for {missing[0]!r}; got none")

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values: a domain is a dict, a constant is itself."""
        return {n: e.to_json() if isinstance(e, Domain) else e for n, e in self._entries.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the space that `to_json` turned into `data`.

        Raises:
            SpaceError: If `data` holds something that is neither a domain nor a constant.
        """
        entries: dict[str, Any] = {}
        for name, value in data.items():
            try:
                entries[name] = domain_from_json(value) if isinstance(value, Mapping) else value
            except SpaceError as error:
                raise SpaceError(f"parameter {name!r}: {error}") from None
        return cls(entries)

    def _join(self, values: Mapping[str, Sequence[Scalar]], n: int) -> list[Config]:
        """Return `n` configs, given the tuned parameters' columns of values."""
        if not values:
            return [dict(self.constants) for _ in range(n)]
        columns = [values[k] if k in values else repeat(self.constants[k]) for k in self._keys]
        keys = self._keys
        # Not strict, which takes its time: there are as many columns as keys.
        return [dict(zip(keys, row)) for row in zip(*columns, strict=False)]  # noqa: B905


_MISSING = object()


def _entry(name: object, value: object) -> Domain | Scalar:
    """Return one checked entry of a space: a domain or a plain constant."""
    if not isinstance(name, str) or not name:
        raise SpaceError(f"a parameter's name must be a non-empty string; got {name!r}")
    if isinstance(value, Domain):
        return value
    value = plain(value)
    if value is not None and not is_category(value):
        raise SpaceError(
            f"parameter {name!r} must be a domain, or as a constant a string, finite number, "
            f"bool or None; got {value!r}"
        )
    return value


def _items_of(names: tuple[str, ...]) -> Callable[[Config], Hashable]:
    """Return a function that maps a config to the tuple of its values at `names`."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda config: tuple(config[name] for name in names)
