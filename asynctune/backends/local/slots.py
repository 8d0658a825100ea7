"""Which devices a worker has: here, whatever there is."""

from collections.abc import Mapping
from typing import Any, Protocol

from asynctune.exceptions import UsageError


class Placement(Protocol):
    """Gives workers their devices; they are numbered, and keep theirs."""

    def environment(self, slot: int) -> Mapping[str, str]:
        """Return the environment variables that give a worker its devices."""
        ...

    async def ready(self, slot: int) -> None:
        """Wait until the devices of a worker are free of what ran on them last."""
        ...


class Anywhere:
    """All workers have all devices."""

    def environment(self, slot: int) -> Mapping[str, str]:
        """Return nothing."""
        del slot
        return {}

    async def ready(self, slot: int) -> None:
        """Devices are always free."""


def make_placement(n_workers: int, options: Mapping[str, Any]) -> Placement:
    """Return the placement that the options ask for.

    Raises:
        UsageError: If there is an option, for none is known.
    """
    del n_workers
    for name in options:
        raise UsageError(f"the local backend has no option {name!r}")
    return Anywhere()
