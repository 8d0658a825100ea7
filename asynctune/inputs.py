"""What an experiment was begun with, beside what is asked for now."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Final

_MOST: Final = 6  # differences that are told; more of them are of another problem altogether


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return in words what differs: "its space.lr.lower is 0.1, not 0.2"; "" if nothing does.

    Args:
        found: What there is, of JSON values; dicts may be nested.
        wanted: What is asked for.
    """
    different = list(_different(found, wanted, ""))
    told = [f"its {name} is {was}, not {now}" for name, was, now in different[:_MOST]]
    if len(different) > _MOST:
        told.append(f"and {len(different) - _MOST} more differ")
    return ", ".join(told)


def _different(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted name, value found and value wanted of all that differs."""
    for name in dict.fromkeys((*wanted, *found)):
        was, now = found.get(name), wanted.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _different(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name}", was, now


def extends(stopped_by: str, before: Mapping[str, Any], now: Mapping[str, Any], mode: str) -> bool:
    """Return whether an experiment that has ended goes on within other bounds.

    Args:
        stopped_by: What has ended it.
        before: The bounds that it has ended within, by name.
        now: Those asked for.
        mode: "min" or "max": which values of the metric are better.
    """
    return _room(now, stopped_by, mode) > _room(before, stopped_by, mode)


def cuts(before: Mapping[str, Any], now: Mapping[str, Any], mode: str) -> bool:
    """Return whether one of the bounds asked for is smaller than before."""
    return any(_room(now, name, mode) < _room(before, name, mode) for name in now)


def _room(bounds: Mapping[str, Any], name: str, mode: str) -> float:
    """Return a bound so that more lets an experiment run longer."""
    bound = bounds.get(name)
    if bound is None:
        return inf
    return -bound if name == "metric_value" and mode == "min" else float(bound)
