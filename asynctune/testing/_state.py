"""Whether two objects know the same: how the kit sees that a call has changed nothing."""

from collections.abc import Mapping, Sequence
from typing import Any


def state_of(thing: object) -> object:
    """Return all that an object knows, as nested tuples that compare equal if it knows the same.

    Enums, numbers, strings and functions stand for themselves; NaN equals itself here.
    """
    return _state_of(thing, set())


def _state_of(thing: Any, above: set[int]) -> object:  # noqa: ANN401 - anything at all
    if thing != thing:  # noqa: PLR0124 - the test for NaN
        return "nan"
    if thing is None or isinstance(thing, int | float | str | bytes | type) or callable(thing):
        return thing
    if id(thing) in above:
        return "..."
    above = above | {id(thing)}
    if isinstance(thing, Mapping):
        return ("mapping", *((_state_of(k, above), _state_of(v, above)) for k, v in thing.items()))
    if isinstance(thing, Sequence):
        return ("sequence", *(_state_of(item, above) for item in thing))
    if isinstance(thing, set | frozenset):
        return ("set", frozenset(_state_of(item, above) for item in thing))
    names = [n for c in type(thing).__mro__ for n in getattr(c, "__slots__", ())]
    found = {n: getattr(thing, n) for n in names if hasattr(thing, n)} | getattr(
        thing, "__dict__", {}
    )
    return (type(thing).__name__, *((n, _state_of(v, above)) for n, v in sorted(found.items())))
