"""What a training script calls: report its metrics, and ask where its checkpoint belongs.

    from asynctune import checkpoint_dir, report

    for epoch in range(1, 41):
        ...  # train, write the checkpoint
        if report(epoch=epoch, val_loss=5.71):
            break

Started by a tuner, a script writes its reports to the channel that the environment variable
`ASYNCTUNE_REPORT` names: ``fd:N``, a file descriptor open for writing, or a path, to which
lines are appended. Started by hand, it prints them. A report is one JSON line, written at
once, so that lines of several writers do not mix. Importing this module costs next to nothing.

A tuner on the same machine names two pipes besides. One byte into `ASYNCTUNE_WAKE` says that
there is something to read. Out of `ASYNCTUNE_ANSWERS` come lines ``BYTES WORD``: what is to
become of the trial ("", "pause" or "stop") as decided on the first so many bytes of reports.
Nobody holds them open while there is no tuner, and a script then goes on by itself. A report
says itself how long was trained for, since it may be read much later.
"""

import json
import math
import os
import select
import sys
import time
from contextlib import suppress
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, Final

from asynctune.exceptions import UsageError

CHANNEL: Final = "ASYNCTUNE_REPORT"
CHECKPOINTS: Final = "ASYNCTUNE_CHECKPOINT_DIR"
WAKE: Final = "ASYNCTUNE_WAKE"
ANSWERS: Final = "ASYNCTUNE_ANSWERS"
RESOURCE: Final = "ASYNCTUNE_RESOURCE"
UNTIL: Final = "ASYNCTUNE_UNTIL"
BEGAN: Final = "ASYNCTUNE_BEGAN"  # by the monotonic clock, which is all processes' own
_PATIENCE: Final = 1.0  # seconds that a report waits for its answer, should the tuner hang


class Told(StrEnum):
    """What a script is told when it reports. It is false where training is to go on.

    PAUSE: have the checkpoint written, and end; the trial may go on from there later, or be
    complete. STOP: end, for nothing of the trial is wanted any more.
    """

    GO_ON = ""
    PAUSE = "pause"
    STOP = "stop"


_index = count()
_told = Told.GO_ON  # the last word: there is no way back from it
_waited = 0.0  # seconds, for answers


def report(**values: Any) -> Told:  # noqa: ANN401 - checked below
    """Report the metrics after a resource level, once the level's checkpoint is written.

    Under a tuner on the same machine this waits, some milliseconds, for what is decided on the
    report. Of several processes that train together, as torchrun starts them, the one of rank 0
    reports, and it alone is told: it is to share the answer with the others.

    Args:
        **values: The resource and the metrics: numbers, strings, booleans or None. Scalars of
            numpy and torch are taken for numbers. Non-finite numbers are legal.

    Returns:
        What the trial is told. It is true when training is to end, because the trial is to
        pause or to stop: ``if report(...): break``.

    Raises:
        UsageError: If there is no value, or one is not a scalar; or if `ASYNCTUNE_REPORT` is
            no channel.
    """
    global _told, _waited  # noqa: PLW0603 - a process has one trial
    if not values:
        raise UsageError("a report must have at least one value; got none")
    plain = {name: _plain(name, value) for name, value in values.items()}
    if os.environ.get("RANK", "0") != "0":
        return Told.GO_ON
    channel = os.environ.get(CHANNEL)
    if channel is None:
        sys.stdout.write(json.dumps(plain, allow_nan=False) + "\n")
        sys.stdout.flush()
        return Told.GO_ON
    now = time.monotonic()
    line = {"type": "report", "index": next(_index), "values": plain}
    if began := os.environ.get(BEGAN):
        line["seconds"] = round(now - float(began) - _waited, 6)
    end = _send(channel, (json.dumps(line, allow_nan=False) + "\n").encode())
    if _wake():
        # Nothing more is decided on a trial that was told to end: there is no answer to wait for.
        _told = _answer(end, 0.0 if _told else _PATIENCE) or _told
        _waited += time.monotonic() - now
    level, until = plain.get(os.environ.get(RESOURCE, "")), os.environ.get(UNTIL)
    if not _told and until and isinstance(level, int | float) and level >= int(until):
        _told = Told.PAUSE  # where the attempt was to end from the beginning
    return _told


def told() -> Told:
    """Return what the trial was told, without a report: for epochs that take long.

    As a rule the answer to a report is soon enough. A tuner that is interrupted, or a trial that
    is paused by hand, tells a script amid its epoch, and leaves it the grace period to end. It
    sends SIGUSR1 as well, which is ignored unless the script handles it.
    """
    global _told  # noqa: PLW0603 - a process has one trial
    _told = _answer(math.inf, 0.0) or _told
    return _told


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


def _send(channel: str, line: bytes) -> int:
    """Write a line to the channel, and return how long the file has become by it."""
    if not channel.startswith("fd:"):
        descriptor = os.open(channel, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _write(descriptor, line)
            return os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)
    try:
        descriptor = int(channel[3:])
    except ValueError:
        raise UsageError(f"{CHANNEL} must be fd:N or a path; got {channel!r}") from None
    _write(descriptor, line)
    return 0


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def _wake() -> bool:
    """Tell the tuner that there is something to read; False if there is no tuner."""
    path = os.environ.get(WAKE)
    if not path:
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False  # nobody reads
    try:
        with suppress(BlockingIOError):  # full: the tuner is about to be woken anyway
            os.write(descriptor, b"\n")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


_pipe: tuple[str, int] | None = None  # where answers come from, held open
_unread = b""


def _answer(end: float, patience: float) -> Told:
    """Wait so many seconds for what is decided on the first `end` bytes of reports.

    GO_ON if nobody says.
    """
    descriptor = _answers()
    if descriptor is None:
        return Told.GO_ON
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + patience
    answer = Told.GO_ON
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000.0):
        decided, word = _read_answers(descriptor)
        answer = word or answer
        if answer or decided is None or decided >= end:
            break
    return answer


def _read_answers(descriptor: int) -> tuple[int | None, Told]:
    """Return on how many bytes was decided, None at the pipe's end, and the last word."""
    global _unread
    try:
        got = os.read(descriptor, 1 << 16)
    except BlockingIOError:  # another process of the trial was faster
        return 0, Told.GO_ON
    *lines, _unread = (_unread + got).split(b"\n")
    decided, word = 0, Told.GO_ON
    for line in lines:
        number, text = line.decode().split(" ")
        decided, word = int(number), Told(text) or word
    return decided if got else None, word


def _answers() -> int | None:
    global _pipe  # noqa: PLW0603 - a process has one trial
    path = os.environ.get(ANSWERS)
    if not path:
        return None
    if _pipe is None or _pipe[0] != path:
        try:
            _pipe = path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
    return _pipe[1]
