"""The folder of all trials: one tuner at a time has it, and trials wake it by a pipe."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynctune.exceptions import UsageError

_BLOCK: Final = 1 << 16


def check_free(folder: Path) -> None:
    """Raise a UsageError if a tuner holds the folder of the trials, which need not exist."""
    if folder.is_dir():
        os.close(_hold(folder))


def _hold(folder: Path) -> int:
    """Return a descriptor that holds the folder as long as it is open."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UsageError(f"another tuner is at work in {folder}") from None
    return lock


class Channel:
    """Holds the folder of the trials for this tuner, and calls when a trial has to tell something.

    Args:
        folder: The folder; made if it does not exist.
        on_wake: What is called in the running event loop.

    Raises:
        UsageError: If another tuner holds it, or its file system has no named pipes.
    """

    def __init__(self, folder: Path, on_wake: Callable[[], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.pipe = folder / "wake"
        self._on_wake = on_wake
        self._lock = _hold(folder)
        try:
            os.mkfifo(self.pipe)
        except FileExistsError:
            pass
        except OSError as error:
            os.close(self._lock)
            raise UsageError(
                f"an experiment's folder must be where named pipes can be made; got {error}"
            ) from None
        # Open for writing as well: a pipe that nobody writes to would be at its end.
        self._descriptor = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._descriptor, _BLOCK)
        self._on_wake()

    def close(self, *, for_good: bool) -> None:
        """Let go of the folder; the pipe stays if trials are left that know it."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        if for_good:
            self.pipe.unlink(missing_ok=True)
        os.close(self._lock)
