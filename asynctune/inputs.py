"""What an experiment was begun with, beside what is asked for now."""

from collections.abc import Iterator, Mapping
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
