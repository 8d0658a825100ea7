"""The local backend: attempts are processes of this machine.

What a trial reports goes into a file, and one byte into a pipe says that there is something to
read: so it is known at once, and nothing is lost while no tuner runs. All that a later tuner
needs in order to go on is in the trials' folders.
"""

import asyncio
import fcntl
import os
import signal
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from asynctune import reporting
from asynctune.backends.base import Clock, Fate
from asynctune.backends.local import process, run_function
from asynctune.backends.local.attempt import Attempt
from asynctune.backends.local.command import Command
from asynctune.backends.local.files import TRIALS, AttemptFiles, trial_folder
from asynctune.backends.local.reports import Wanted, read_report
from asynctune.backends.local.settings import LocalSettings
from asynctune.backends.local.slots import Placement
from asynctune.backends.local.store import CheckpointStore, holds_something
from asynctune.backends.local.verdict import verdict
from asynctune.events import Cause, CheckpointRemoved, Ended, Event, Failed, Paused, Report, Started
from asynctune.exceptions import UsageError
from asynctune.orders import Expected, Order

_WAKE: Final = "wake"
_TERM_GRACE: Final = 5.0  # seconds between SIGTERM and SIGKILL, or the grace period if that is less
_BLOCK: Final = 1 << 16
# How long one may take to write down which process it is: a second.
_LOOKS: Final = 20
_SECONDS_BETWEEN_LOOKS: Final = 0.05


class LocalBackend:
    """Runs attempts as processes.

    Args:
        folder: The experiment's folder.
        command: Makes the command of a trial.
        wanted: What a report must have.
        max_resource: Resource level at which a trial is complete.
        settings: How patient it is.
        placement: Which devices a worker has.
        store: Keeps the checkpoints.
    """

    virtual_time: Final = False

    def __init__(
        self,
        folder: Path,
        command: Command,
        wanted: Wanted,
        max_resource: int,
        settings: LocalSettings,
        placement: Placement,
        store: CheckpointStore,
    ) -> None:
        self._folder = folder.absolute()
        self._command = command
        self._wanted = wanted
        self._max = max_resource
        self._settings = settings
        self._placement = placement
        self._store = store
        self._attempts: dict[int, Attempt] = {}
        self._queue: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._reported: list[Attempt] = []  # with reports in the queue
        self._deciding: list[Attempt] = []  # with reports that were handed to the tuner
        self._error: BaseException | None = None
        self._environment: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop
        self._clock: Clock
        self._lock = self._wake = -1

    def describe(self) -> Mapping[str, Any]:
        """Return the settings that the experiment's course depends on."""
        settings = self._settings
        return {
            **self._command.describe(),
            "report_timeout": settings.report_timeout,
            "trial_timeout": settings.trial_timeout,
        }

    async def open(self, clock: Clock) -> None:
        """Get ready.

        Raises:
            UsageError: If another tuner is at work in the experiment's folder.
        """
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        trials = self._folder / TRIALS
        trials.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(trials, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise UsageError(f"another tuner is at work in {self._folder}") from None
        self._command.prepare(trials)
        self._store.open()
        wake = trials / _WAKE
        with suppress(FileExistsError):
            os.mkfifo(wake)
        # Open for writing as well: a pipe that nobody writes to would be at its end.
        self._wake = os.open(wake, os.O_RDWR | os.O_NONBLOCK)
        self._loop.add_reader(self._wake, self._on_wake)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ASYNCTUNE_")}
        self._environment = {
            "PYTHONUNBUFFERED": "1",  # what a killed script printed last is worth having
            **inherited,
            reporting.WAKE: str(wake),
            reporting.RESOURCE: self._wanted.resource,
            run_function.MAX: str(self._max),
        }

    async def start(self, order: Order) -> None:
        """Start an attempt."""
        running = self._attempts.get(order.trial)
        if running is not None and running.order.attempt == order.attempt:
            return
        files = AttemptFiles(self._folder, order.trial, order.attempt)
        files.folder.mkdir(exist_ok=True)
        _remove_leftovers(files)
        self._store.borrow(order.trial, scratch=order.from_resource == 0)
        attempt = self._attempts[order.trial] = Attempt(order, files)
        self._run(attempt, self._begin(attempt))

    async def pause(self, trial: int, attempt: int) -> None:
        """Ask an attempt to save a checkpoint and end."""
        found = self._attempts.get(trial)
        if found is not None and found.order.attempt == attempt:
            self._tell_to_pause(found)

    async def stop(self, trial: int, attempt: int) -> None:
        """Ask an attempt to end."""
        found = self._attempts.get(trial)
        if found is not None and found.order.attempt == attempt and found.command != "stop":
            found.command = "stop"
            found.answer()
            self._terminate(found)

    async def discard(self, trial: int) -> None:
        """Remove a trial's checkpoint."""
        self._store.discard(trial)

    def settle(self, wanted: Collection[int]) -> None:
        """Remove all checkpoints but those of the trials named; the experiment is over."""
        self._store.discard_others(wanted)
        self._store.close()

    def checkpoint_of(self, trial: int) -> Path | None:
        """Return where a trial's checkpoint is; None if it has none."""
        path = trial_folder(self._folder, trial) / "checkpoint"
        return path if holds_something(path) else None

    async def recover(self, expected: Sequence[Expected]) -> Mapping[tuple[int, int], Fate]:
        """Adopt the attempts of an earlier tuner, or tell how they have ended."""
        return {(e.order.trial, e.order.attempt): await self._find(e) for e in expected}

    def poll(self, until: float) -> Sequence[Event]:
        """Return the events that have come in since."""
        del until
        if self._error is not None:
            raise self._error
        # Whatever the tuner was given before is decided on when it asks again.
        for attempt in self._deciding:
            if not attempt.command and self._attempts.get(attempt.order.trial) is attempt:
                attempt.answer()
        self._deciding.clear()
        if not self._queue:
            return ()
        batch = list(self._queue)
        self._queue.clear()
        for attempt in self._reported:
            attempt.decided = attempt.reports.size
        self._deciding, self._reported = self._reported, self._deciding
        return batch

    async def events(self, until: float) -> Sequence[Event]:
        """Wait for events, at most until `until`, and return them in order."""
        while not (batch := self.poll(until)) and (left := until - self._clock()) > 0:
            self._arrived.clear()
            with anyio.move_on_after(left):
                await self._arrived.wait()
        return batch

    async def aclose(self, *, leave_running: bool) -> None:
        """End what runs: at once if the experiment is over, else as it was wanted for that case.

        Cancelling this kills whatever is left.
        """
        policy = self._settings.on_interrupt if leave_running else "end"
        try:
            for attempt in list(self._attempts.values()):
                self._wind_up(attempt, policy)
            tasks = [attempt.task for attempt in self._attempts.values()]
            if tasks and policy != "detach":
                await asyncio.wait(tasks)
        finally:
            self._leave(kill=policy != "detach")

    def _wind_up(self, attempt: Attempt, policy: str) -> None:
        if attempt.process is None:
            attempt.task.cancel()
            self._forget(attempt)
        elif policy == "pause":
            attempt.files.interrupted.touch()
            self._tell_to_pause(attempt)
        elif policy != "detach":
            attempt.files.interrupted.touch()
            self._terminate(attempt)

    def _leave(self, *, kill: bool) -> None:
        """Give everything back, at once."""
        for attempt in list(self._attempts.values()):
            attempt.task.cancel()
            if kill and attempt.process is not None:
                attempt.process.finish()
            attempt.close(over=kill)
        if self._lock < 0:
            return
        self._loop.remove_reader(self._wake)
        os.close(self._wake)
        if kill or not self._attempts:
            (self._folder / TRIALS / _WAKE).unlink(missing_ok=True)
        self._attempts.clear()
        self._store.close()
        os.close(self._lock)  # which others may now take
        self._lock = -1

    # From here on: the life of one attempt.

    def _run(self, attempt: Attempt, life: Any) -> None:  # noqa: ANN401 - a coroutine
        attempt.task = self._loop.create_task(life)
        attempt.task.add_done_callback(self._on_done)

    async def _begin(self, attempt: Attempt) -> None:
        """Start the process when its devices are free, and see it to its end."""
        order, files = attempt.order, attempt.files
        try:
            await self._placement.ready(order.slot)
            environment = {
                **self._environment,
                **self._placement.environment(order.slot),
                **self._command.environment,
                **attempt.environment(),
            }
            attempt.oom_kills = _oom_kills()
            attempt.process = process.spawn(
                self._command.of(order.config, files),
                environment,
                file=files.process,
                stdout=files.stdout,
                stderr=files.stderr,
            )
        except OSError as error:
            message = f"it cannot be started: {error}"
            self._forget(attempt)
            key = self._clock(), order.trial, order.attempt
            self._put(Failed(*key, Cause.INFRASTRUCTURE, message, order.from_resource))
            return
        self._put(Started(self._clock(), order.trial, order.attempt))
        await self._follow(attempt, attempt.process)

    async def _follow(self, attempt: Attempt, running: process.Process) -> None:
        """See an attempt that runs to its end."""
        self._watch(attempt)
        await running.ended()
        status = running.finish()
        self._conclude(attempt, status)

    def _conclude(self, attempt: Attempt, status: int | None) -> None:
        """Tell of what an attempt reported last, and of its end."""
        if status is None:
            status = process.written_status(attempt.files.process)
        self._read(attempt)
        end = attempt.end(status, self._max, _oom_kills())
        self._forget(attempt)
        self._put(verdict(end, self._clock()))
        if end.command != "stop":  # or the tuner will have its checkpoint discarded
            for trial, size in self._store.keep(end.trial, end.level, attempt.value):
                self._put(CheckpointRemoved(self._clock(), trial, size))

    def _forget(self, attempt: Attempt) -> None:
        del self._attempts[attempt.order.trial]
        attempt.close(over=True)

    def _watch(self, attempt: Attempt) -> None:
        """Set the timers of an attempt that runs."""
        settings, loop = self._settings, self._loop
        attempt.heard = loop.time()
        if settings.trial_timeout is not None:
            message = f"it has taken longer than trial_timeout, {settings.trial_timeout:g} s"
            expire = partial(self._fail, attempt, Cause.TIMEOUT, message)
            attempt.timers.append(loop.call_later(settings.trial_timeout, expire))
        if settings.report_timeout is not None:
            look = partial(self._look, attempt, settings.report_timeout)
            attempt.timers.append(loop.call_later(settings.report_timeout, look))

    def _look(self, attempt: Attempt, timeout: float) -> None:
        """Fail an attempt that has not reported for too long, or look again later."""
        self._read(attempt)  # in case that it has not said so
        due = attempt.heard + timeout
        if self._loop.time() >= due:
            message = f"it has not reported for longer than report_timeout, {timeout:g} s"
            self._fail(attempt, Cause.TIMEOUT, message)
        else:
            look = partial(self._look, attempt, timeout)
            attempt.timers.append(self._loop.call_at(due, look))

    def _fail(self, attempt: Attempt, cause: Cause, message: str) -> None:
        """End an attempt that is at fault."""
        if attempt.fault is None and not attempt.command:
            attempt.fault = cause, message
            if attempt.process is not None:
                self._terminate(attempt)

    def _tell_to_pause(self, attempt: Attempt) -> None:
        if attempt.command:
            return
        attempt.command = "pause"
        if attempt.process is None:
            order = attempt.order
            self._forget(attempt)
            attempt.task.cancel()
            self._put(Paused(self._clock(), order.trial, order.attempt, order.from_resource))
            return
        attempt.answer()
        attempt.process.send(signal.SIGUSR1)
        self._kill_later(attempt, self._settings.grace_period)

    def _terminate(self, attempt: Attempt) -> None:
        """End an attempt whose work is not wanted any more."""
        if attempt.process is None:
            order = attempt.order
            self._forget(attempt)
            attempt.task.cancel()
            self._put(Ended(self._clock(), order.trial, order.attempt))
            return
        attempt.killed = True
        attempt.process.send(signal.SIGTERM)
        self._kill_later(attempt, min(_TERM_GRACE, self._settings.grace_period))

    def _kill_later(self, attempt: Attempt, delay: float) -> None:
        attempt.timers.append(self._loop.call_later(delay, self._kill, attempt))

    def _kill(self, attempt: Attempt) -> None:
        attempt.killed = True
        if attempt.process is not None:
            attempt.process.send(signal.SIGKILL)

    # What comes in.

    def _on_wake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, _BLOCK)
        # A script that found the pipe full has said nothing: so all files are looked at.
        for attempt in self._attempts.values():
            self._read(attempt)

    def _read(self, attempt: Attempt, known: int = 0) -> None:
        """Take what an attempt has reported since; the first `known` reports were told before."""
        now, order = self._clock(), attempt.order
        for line in attempt.reports.lines():
            try:
                level, metrics = read_report(line, self._wanted)
            except UsageError as error:
                self._fail(attempt, Cause.USER_ERROR, str(error))
                continue
            attempt.heard = self._loop.time()
            attempt.level, attempt.value = level, metrics[self._wanted.metric]
            self._store.reported(order.trial, attempt.value)
            if attempt.count >= known:
                self._put(Report(now, order.trial, order.attempt, attempt.count, level, metrics))
                self._reported.append(attempt)
            attempt.count += 1
            # The tuner tells most of them to end by itself; those that go on have to be asked.
            beyond = level >= order.until and (order.until < self._max or level > self._max)
            if beyond and attempt.process is not None:
                self._tell_to_pause(attempt)

    def _put(self, event: Event) -> None:
        self._queue.append(event)
        self._arrived.set()

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
            self._arrived.set()

    # What an earlier tuner has left.

    async def _find(self, expected: Expected) -> Fate:
        """Adopt an attempt, or tell of its end."""
        order = expected.order
        files = AttemptFiles(self._folder, order.trial, order.attempt)
        if not await _was_started(files):
            return "unknown"
        self._store.borrow(order.trial, scratch=False)
        attempt = self._attempts[order.trial] = Attempt(order, files)
        attempt.process = process.adopt(files.process)
        self._read(attempt, known=expected.reports)
        if not expected.running:
            self._queue.appendleft(Started(self._clock(), order.trial, order.attempt))
        interrupted = files.interrupted.exists()
        commands = [command for command, _ in expected.commands]
        if attempt.process is None:
            process.sweep(files.process)
            attempt.command = "stop" if "stop" in commands else "pause" if commands else ""
            if interrupted and not attempt.command:
                attempt.command = "pause"
            attempt.killed = bool(attempt.command)
            attempt.task = self._loop.create_task(asyncio.sleep(0))
            self._conclude(attempt, None)
            return "ended"
        self._run(attempt, self._follow(attempt, attempt.process))
        if "stop" in commands:
            attempt.command = "stop"
            self._terminate(attempt)
        elif commands or interrupted:
            self._tell_to_pause(attempt)
        return "running"


async def _was_started(files: AttemptFiles) -> bool:
    """Return whether an attempt was started, which it may not have written down yet."""
    if files.reports.exists():  # made just before
        for _ in range(_LOOKS):
            if files.process.exists():
                return True
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
    return False


def _remove_leftovers(files: AttemptFiles) -> None:
    """Remove what an experiment that was begun anew had left of an attempt of the same number."""
    if not files.process.exists():
        return
    running = process.adopt(files.process)
    if running is not None:
        running.send(signal.SIGKILL)
        running.close()
    for path in (files.process, files.reports, files.stdout, files.stderr, files.interrupted):
        path.unlink(missing_ok=True)


def _oom_kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory; None if it is silent."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="utf-8")
    except OSError:
        return None
    found = text.partition("\noom_kill ")[2].partition("\n")[0]
    return int(found) if found.isdigit() else None
