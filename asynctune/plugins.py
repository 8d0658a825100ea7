"""Things that other packages register: benchmarks, backends, cluster profiles."""

from importlib.metadata import entry_points
from typing import Any

from asynctune.exceptions import UsageError


def plugin_names(group: str) -> list[str]:
    """Return the names registered under an entry-point group, sorted."""
    return sorted(entry_points(group=group).names)


def load_plugin(group: str, kind: str, name: str) -> Any:  # noqa: ANN401 - whatever was registered
    """Return what is registered as `name` under an entry-point group.

    Raises:
        UsageError: If no installed package registers it.
    """
    found = entry_points(group=group, name=name)
    if not found:
        known = ", ".join(plugin_names(group)) or "none installed"
        raise UsageError(f"{kind} must be one of {known}; got {name!r}")
    return next(iter(found)).load()
