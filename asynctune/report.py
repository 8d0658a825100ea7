"""What a training script calls: report its metrics, and ask where its checkpoint belongs.

    from asynctune.report import checkpoint_dir, report

    report(epoch=3, val_loss=5.71)

Started by a tuner, a script writes its reports to the channel that the environment variable
`ASYNCTUNE_REPORT` names: ``fd:N``, a file descriptor open for writing, or a path, to which
lines are appended. Started by hand, it prints them. A report is one JSON line, written at
once, so that lines of several writers do not mix. Importing this module costs next to nothing.
"""

import json
import math
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any, Final

from asynctune.exceptions import UsageError

CHANNEL: Final = "ASYNCTUNE_REPORT"
CHECKPOINTS: Final = "ASYNCTUNE_CHECKPOINT_DIR"

_index = count()


def report(**values: Any) -> None:  # noqa: ANN401 - checked below
    """Report the metrics after a resource level, once the level's checkpoint is written.

    Args:
        **values: The resource and the metrics: numbers, strings, booleans or None. Scalars of
            numpy and torch are taken for numbers. Non-finite numbers are legal.

    Raises:
        UsageError: If there is no value, or one is not a scalar; or if `ASYNCTUNE_REPORT` is
            no channel.
    """
    if not values:
        raise UsageError("a report must have at least one value; got none")
    plain = {name: _plain(name, value) for name, value in values.items()}
    channel = os.environ.get(CHANNEL)
    if channel is None:
        sys.stdout.write(json.dumps(plain, allow_nan=False) + "\n")
        sys.stdout.flush()
        return
    line = {"type": "report", "index": next(_index), "values": plain}
    _send(channel, (json.dumps(line, allow_nan=False) + "\n").encode())


def checkpoint_dir() -> Path | None:
    """Return the folder for the trial's checkpoint, or None outside a tuner.

    The folder is the trial's own and outlives its attempts; it is made if it does not exist.
    """
    folder = os.environ.get(CHECKPOINTS)
    if not folder:
        return None
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - this is where it is checked
    item = getattr(value, "item", None)
    if callable(item):
        try:
            value = item()
        except (RuntimeError, ValueError) as error:  # more than one element
            raise UsageError(f"a reported value must be a scalar; got {name}={value!r}") from error
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers; "nan", "inf", "-inf" as in the journal
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise UsageError(f"a reported value must be a scalar; got {name}={value!r}")


def _send(channel: str, line: bytes) -> None:
    if not channel.startswith("fd:"):
        descriptor = os.open(channel, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _write(descriptor, line)
        finally:
            os.close(descriptor)
        return
    try:
        descriptor = int(channel[3:])
    except ValueError:
        raise UsageError(f"{CHANNEL} must be fd:N or a path; got {channel!r}") from None
    _write(descriptor, line)


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]
