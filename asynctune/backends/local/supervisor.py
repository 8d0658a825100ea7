"""The lives of attempts: from their start, or from where an earlier tuner has left them."""

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from asynctune.backends.base import Clock, Fate
from asynctune.backends.local import process
from asynctune.backends.local.attempt import Attempt, remove_leftovers, was_started
from asynctune.backends.local.files import AttemptFiles
from asynctune.backends.local.reports import read_report
from asynctune.backends.local.setup import Setup
from asynctune.backends.local.verdict import verdict
from asynctune.events import Cause, CheckpointRemoved, Ended, Event, Failed, Paused, Report, Started
from asynctune.exceptions import UsageError
from asynctune.files import is_full, tells_of_no_room
from asynctune.orders import Expected, Order

_TERM_GRACE: Final = 2.0  # seconds between SIGTERM and SIGKILL, or the grace period if that is less


class Supervisor:
    """Starts and ends attempts, and tells what happens to them.

    One object lives as long as a backend is open.

    Args:
        setup: What it works with.

    Attributes:
        attempts: Those that run, or are about to, by trial.
        environment: The environment variables of all attempts.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.attempts: dict[int, Attempt] = {}
        self.environment: Mapping[str, str] = {}
        self._loop: asyncio.AbstractEventLoop
        self._clock: Clock
        self._put: Callable[[Event], None]
        self._on_error: Callable[[BaseException], None]

    def open(
        self,
        clock: Clock,
        put: Callable[[Event], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Get ready: tell events to `put`, and what goes wrong in here to `on_error`."""
        self._loop = asyncio.get_running_loop()
        self._clock, self._put, self._on_error = clock, put, on_error

    def start(self, order: Order) -> None:
        """Start an attempt."""
        files = AttemptFiles(self._setup.folder, order.trial, order.attempt)
        try:
            files.folder.mkdir(exist_ok=True)
            remove_leftovers(files)
            self._setup.store.borrow(order.trial, scratch=order.from_resource == 0)
            attempt = self.attempts[order.trial] = Attempt(order, files)
        except OSError as error:
            self._tell_no_start(order, error)
            return
        self._live(attempt, self._begin(attempt))

    async def find(self, expected: Expected) -> Fate:
        """Adopt an attempt of an earlier tuner, or tell of its end."""
        order = expected.order
        files = AttemptFiles(self._setup.folder, order.trial, order.attempt)
        if not await was_started(files):
            return "unknown"
        self._setup.store.borrow(order.trial, scratch=False)
        attempt = self.attempts[order.trial] = Attempt(order, files)
        attempt.known = expected.reports
        attempt.process = process.adopt(files.process)
        if not expected.running:
            self._put(Started(self._clock(), order.trial, order.attempt))
        self.read(attempt)
        commands = [command for command, _ in expected.commands]
        if attempt.process is None:
            process.sweep(files.process)
            if "stop" in commands:
                attempt.command = "stop"
            elif commands or files.interrupted.exists():
                attempt.command = "pause"
            attempt.killed = bool(attempt.command)
            self._conclude(attempt, None)
            return "ended"
        self._live(attempt, self._follow(attempt, attempt.process))
        if "stop" in commands:
            self.stop(attempt)
        elif commands or files.interrupted.exists():
            self.pause(attempt)
        return "running"

    def pause(self, attempt: Attempt) -> None:
        """Ask an attempt to save a checkpoint and end."""
        if attempt.command:
            return
        attempt.command = "pause"
        if attempt.process is None:
            order = attempt.order
            self.forget(attempt)
            self._put(Paused(self._clock(), order.trial, order.attempt, order.from_resource))
            return
        attempt.answer()
        attempt.process.send(signal.SIGUSR1)
        self._kill_later(attempt, self._setup.settings.grace_period)

    def stop(self, attempt: Attempt) -> None:
        """End an attempt of which nothing is wanted any more."""
        if attempt.command == "stop":
            return
        attempt.command = "stop"
        if attempt.process is None:
            order = attempt.order
            self.forget(attempt)
            self._put(Ended(self._clock(), order.trial, order.attempt))
            return
        attempt.answer()
        self.terminate(attempt)

    def terminate(self, attempt: Attempt) -> None:
        """End an attempt that has a process."""
        assert attempt.process is not None  # noqa: S101 - the caller has looked
        attempt.killed = True
        attempt.process.send(signal.SIGTERM)
        self._kill_later(attempt, min(_TERM_GRACE, self._setup.settings.grace_period))

    def forget(self, attempt: Attempt) -> None:
        """Give back what an attempt holds that is over, or will never begin."""
        del self.attempts[attempt.order.trial]
        attempt.close(over=True)

    def read(self, attempt: Attempt) -> None:
        """Tell what an attempt has reported since."""
        now, order, top = self._clock(), attempt.order, self._setup.max_resource
        for line in attempt.reports.lines():
            try:
                level, metrics, seconds = read_report(line, self._setup.wanted)
            except UsageError as error:
                self._fail(attempt, Cause.USER_ERROR, str(error))
                continue
            attempt.heard = self._loop.time()
            attempt.level, attempt.value = level, metrics[self._setup.wanted.metric]
            self._setup.store.reported(order.trial, attempt.value)
            if attempt.count >= attempt.known:
                key = now, order.trial, order.attempt, attempt.count
                self._put(Report(*key, level, metrics, seconds=seconds))
            attempt.count += 1
            # The tuner tells most of them to end by itself; those that go on have to be asked.
            beyond = level >= order.until and (order.until < top or level > top)
            if beyond and attempt.process is not None:
                self.pause(attempt)

    def _live(self, attempt: Attempt, life: Coroutine[Any, Any, None]) -> None:
        attempt.task = self._loop.create_task(life)
        attempt.task.add_done_callback(self._look_back)

    def _look_back(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)

    async def _begin(self, attempt: Attempt) -> None:
        """Start the process when its devices are free, and see it to its end."""
        order, files = attempt.order, attempt.files
        try:
            await self._setup.placement.ready(order.slot)
            environment = {
                **self.environment,
                **self._setup.placement.environment(order.slot),
                **self._setup.command.environment,
                **attempt.environment(),
            }
            attempt.oom_kills = process.oom_kills()
            attempt.process = process.spawn(
                self._setup.command.of(order.config, files),
                environment,
                file=files.process,
                stdout=files.stdout,
                stderr=files.stderr,
            )
        except OSError as error:
            attempt.task = None
            self.forget(attempt)
            self._tell_no_start(order, error)
            return
        self._put(Started(self._clock(), order.trial, order.attempt))
        await self._follow(attempt, attempt.process)

    def _tell_no_start(self, order: Order, error: OSError) -> None:
        """Tell that the machine has no room for an attempt.

        Raises:
            OSError: If it is the disk that is full, so that none can be started.
        """
        if tells_of_no_room(error):
            raise error
        message = f"it cannot be started: {error}"
        key = self._clock(), order.trial, order.attempt
        self._put(Failed(*key, Cause.INFRASTRUCTURE, message, order.from_resource))

    async def _follow(self, attempt: Attempt, running: process.Process) -> None:
        """See an attempt that runs to its end."""
        self._watch(attempt)
        await running.ended()
        status = running.finish()
        attempt.task = None
        self._conclude(attempt, status)

    def _conclude(self, attempt: Attempt, status: int | None) -> None:
        """Tell of what an attempt reported last, and of its end.

        Raises:
            OSError: If it failed, and the disk is full.
        """
        if status is None:
            status = process.written_status(attempt.files.process)
        self.read(attempt)
        if not attempt.count and attempt.files.interrupted.exists():
            attempt.fault = Cause.PREEMPTION, "it was interrupted before its first report"
        end = attempt.end(status, self._setup.max_resource, process.oom_kills())
        self.forget(attempt)
        event = verdict(end, self._clock())
        if isinstance(event, Failed) and is_full(attempt.files.folder):
            # What is written of an end is lost as well: when there is room again, it goes on as
            # after an interruption.
            attempt.files.interrupted.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._setup.folder))
        self._put(event)
        if end.command != "stop":  # or the tuner will have its checkpoint discarded
            for trial, size in self._setup.store.keep(end.trial, end.level, attempt.value):
                self._put(CheckpointRemoved(self._clock(), trial, size))

    def _watch(self, attempt: Attempt) -> None:
        """Set the timers of an attempt that runs."""
        attempt.heard = self._loop.time()
        seconds = self._setup.settings.trial_timeout
        if seconds is not None:
            left = seconds - self._seconds_before(attempt.order)
            message = f"it has taken longer than trial_timeout, {seconds:g} s"
            expire = partial(self._fail, attempt, Cause.TIMEOUT, message)
            attempt.timers["end"] = self._loop.call_later(left, expire)
        if self._setup.settings.report_timeout is not None:
            self._listen(attempt, self._setup.settings.report_timeout)

    def _seconds_before(self, order: Order) -> float:
        """Return the wall clock that a trial has taken up to now, which others may have seen."""
        total = 0.0
        for number in range(order.attempt + 1):
            files = AttemptFiles(self._setup.folder, order.trial, number)
            begun = process.begun(files.process)
            if begun is not None:
                end = time.time() if number == order.attempt else files.last_change()
                total += max(end - begun, 0.0)
        return total

    def _listen(self, attempt: Attempt, seconds: float) -> None:
        """Fail an attempt that has not reported for so many seconds, or look again later."""
        self.read(attempt)  # in case that it has not said so
        due = attempt.heard + seconds
        if self._loop.time() >= due:
            message = f"it has not reported for longer than report_timeout, {seconds:g} s"
            self._fail(attempt, Cause.TIMEOUT, message)
        else:
            listen = partial(self._listen, attempt, seconds)
            attempt.timers["report"] = self._loop.call_at(due, listen)

    def _fail(self, attempt: Attempt, cause: Cause, message: str) -> None:
        """End an attempt that is at fault."""
        if attempt.fault is None and not attempt.command:
            attempt.fault = cause, message
            if attempt.process is not None:
                self.terminate(attempt)

    def _kill_later(self, attempt: Attempt, delay: float) -> None:
        # Whoever is told to stop has no more time left than it had before.
        due, earlier = self._loop.time() + delay, attempt.timers.get("kill")
        if earlier is None or due < earlier.when():
            if earlier is not None:
                earlier.cancel()
            attempt.timers["kill"] = self._loop.call_at(due, self._kill, attempt)

    def _kill(self, attempt: Attempt) -> None:
        attempt.killed = True
        if attempt.process is not None:
            attempt.process.send(signal.SIGKILL)
