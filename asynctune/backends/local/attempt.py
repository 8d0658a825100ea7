"""An attempt that runs, or is about to: its process, its reports, and what it was told."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from math import nan
from typing import Final

from asynctune import reporting
from asynctune.backends.local import run_function
from asynctune.backends.local.files import AttemptFiles, tail_of
from asynctune.backends.local.process import Process, adopt, begun
from asynctune.backends.local.reports import ReportFile
from asynctune.backends.local.store import holds_something
from asynctune.backends.local.verdict import Command, End
from asynctune.events import Cause
from asynctune.orders import Order

_TAIL_LINES: Final = 20
# How long one may take to write down which process it is: a second.
_LOOKS: Final = 20
_SECONDS_BETWEEN_LOOKS: Final = 0.05


class Attempt:
    """One attempt; the backend alone changes it.

    Attributes:
        order: What it was started with.
        files: Its files.
        reports: What it reports.
        known: How many of its reports an earlier tuner was told of.
        count: Number of its reports so far.
        level: Resource level of its last report, or the one that it goes on from.
        value: Metric of its last report, as reported.
        command: What it was told.
        killed: Whether it was killed, as it did not end by itself.
        fault: Why it had to be ended, if it had to.
        process: Its process, once there is one.
        task: What waits for its end, to be cancelled if nobody waits any more.
        timers: What is to happen to it later, to be cancelled when it is over.
        heard: Loop time of its last report, or of its start.
        decided: Bytes of its reports that were handed to the tuner.
        oom_kills: The kernel's count of processes killed for want of memory at its start.
    """

    __slots__ = (
        "_answers",
        "command",
        "count",
        "decided",
        "fault",
        "files",
        "heard",
        "killed",
        "known",
        "level",
        "oom_kills",
        "order",
        "process",
        "reports",
        "task",
        "timers",
        "value",
    )

    def __init__(self, order: Order, files: AttemptFiles) -> None:
        self.order = order
        self.files = files
        self.known = 0
        self.count = 0
        self.level = order.from_resource
        self.value = nan
        self.command: Command = ""
        self.killed = False
        self.fault: tuple[Cause, str] | None = None
        self.process: Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.heard = 0.0
        self.decided = 0
        self.oom_kills: int | None = None
        with suppress(FileExistsError):
            os.mkfifo(files.answers)
        # Open for reading as well, so that what is written waits for a script that reads it later.
        self._answers = os.open(files.answers, os.O_RDWR | os.O_NONBLOCK)
        try:
            self.reports = ReportFile(files.reports)
        except OSError:
            os.close(self._answers)
            raise

    def answer(self) -> None:
        """Tell the script what is decided on the reports that were handed to the tuner."""
        with suppress(BlockingIOError):  # full, as the script never reads
            os.write(self._answers, f"{self.decided} {self.command}\n".encode())

    def environment(self) -> dict[str, str]:
        """Return the environment variables that only this attempt has, which begins now."""
        return {
            reporting.CHANNEL: str(self.files.reports),
            reporting.ANSWERS: str(self.files.answers),
            reporting.CHECKPOINTS: str(self.files.checkpoint),
            reporting.UNTIL: str(self.order.until),
            reporting.BEGAN: str(time.monotonic()),
            run_function.FROM: str(self.order.from_resource),
        }

    def end(self, status: int | None, max_level: int, oom_kills: int | None) -> End:
        """Return what is known now that its process is over."""
        order, files = self.order, self.files
        before = self.oom_kills
        return End(
            trial=order.trial,
            attempt=order.attempt,
            status=status,
            command=self.command,
            killed=self.killed,
            fault=self.fault,
            reports=self.count,
            level=self.level,
            from_level=order.from_resource,
            until=order.until,
            max_level=max_level,
            checkpointed=holds_something(files.checkpoint),
            tail=tail_of(files.stderr, _TAIL_LINES) or tail_of(files.stdout, _TAIL_LINES),
            oom_kills=None if oom_kills is None or before is None else oom_kills - before,
        )

    def close(self, *, over: bool) -> None:
        """Give back what this process holds of it; `over` says that the attempt is no more."""
        if self.task is not None:
            self.task.cancel()
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        self.reports.close()
        os.close(self._answers)
        if over:
            self.files.answers.unlink(missing_ok=True)
        if self.process is not None:
            self.process.close()


async def was_started(files: AttemptFiles) -> bool:
    """Return whether an attempt was started, which it may not have written down yet."""
    if files.reports.exists():  # made just before
        for _ in range(_LOOKS):
            # The file is there a moment before its line: who looked then would take a process
            # that runs for one that is gone.
            if begun(files.process) is not None:
                return True
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        return files.process.exists()  # it may have died before it could write
    return False


def remove_leftovers(files: AttemptFiles) -> None:
    """Remove what an experiment that was begun anew had left of an attempt of the same number."""
    if not files.process.exists():
        return
    running = adopt(files.process)
    if running is not None:
        running.send(signal.SIGKILL)
        running.close()
    for path in (files.process, files.reports, files.stdout, files.stderr, files.interrupted):
        path.unlink(missing_ok=True)
