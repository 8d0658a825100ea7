"""The reports of an attempt: read as they are appended, and checked."""

import os
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from asynctune.exceptions import UsageError
from asynctune.journal import decode_number

_BLOCK: Final = 1 << 16
_SHOWN: Final = 200  # bytes of a broken line that an error shows
_INFINITE: Final = ("nan", "inf", "-inf")


class Wanted(NamedTuple):
    """What a report must have: the metric that is optimised, and its resource level."""

    metric: str
    resource: str


class Values(NamedTuple):
    """A report: its resource level, its metrics, and how long its attempt had trained for."""

    level: int
    metrics: Mapping[str, float]
    seconds: float | None  # if it says so


class ReportFile:
    """A file of reports that grows; nothing is read twice, and a line only when it is whole.

    Attributes:
        size: Bytes of the lines returned so far.
        rest: What follows them: the beginning of a line.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        self.size = 0
        self.rest = b""

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that have been completed since."""
        while block := os.read(self._descriptor, _BLOCK):
            *lines, self.rest = (self.rest + block).split(b"\n")
            for line in lines:
                self.size += len(line) + 1
                yield line

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_report(line: bytes, wanted: Wanted) -> Values:
    """Return the report in a line.

    Metrics that are no numbers are left out, but for the one that is optimised.

    Raises:
        UsageError: If it is none, or lacks something, or what it has is no number.
    """
    try:
        said = orjson.loads(line)
        items = dict(said["values"].items())
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        shown = line[:_SHOWN].decode(errors="replace")
        raise UsageError(
            f"a line of reports must be what asynctune.report writes; got {shown!r}"
        ) from None
    metrics = {name: float(decode_number(x)) for name, x in items.items() if _is_number(x)}
    for name in wanted:
        if name not in items:
            raise UsageError(f"a report must have {name!r}; got {', '.join(items) or 'nothing'}")
        if name not in metrics:
            raise UsageError(f"{name!r} of a report must be a number; got {items[name]!r}")
    seconds = said.get("seconds")
    timed = isinstance(seconds, int | float) and 0.0 < seconds < inf
    return Values(_level(metrics.pop(wanted.resource)), metrics, seconds if timed else None)


def _level(number: float) -> int:
    if not (number >= 1 and number.is_integer()):
        raise UsageError(f"a resource level must be a whole number from 1; got {number:g}")
    return int(number)


def _is_number(x: object) -> bool:
    if isinstance(x, bool):
        return False
    return isinstance(x, int | float) or (isinstance(x, str) and x in _INFINITE)
