"""The local backend: attempts are processes of this machine.

What a trial reports goes into a file, and one byte into a pipe says that there is something to
read: so it is known at once, and nothing is lost while no tuner runs. All that a later tuner
needs in order to go on is in the trials' folders.
"""

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from asynctune import reporting
from asynctune.backends.base import Clock, Fate
from asynctune.backends.local import run_function
from asynctune.backends.local.attempt import Attempt
from asynctune.backends.local.channel import Channel
from asynctune.backends.local.files import TRIALS, trial_folder
from asynctune.backends.local.setup import Setup
from asynctune.backends.local.store import holds_something
from asynctune.backends.local.supervisor import Supervisor
from asynctune.events import Event, Report
from asynctune.orders import Expected, Order


class LocalBackend:
    """Runs attempts as processes.

    Args:
        setup: What it is made of.
    """

    virtual_time: Final = False

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._supervisor = Supervisor(setup)
        self._queue: list[Event] = []
        self._arrived = asyncio.Event()
        self._deciding: list[Attempt] = []  # with reports that were handed to the tuner
        self._error: BaseException | None = None
        self._channel: Channel | None = None  # while it is open
        self._clock: Clock

    def describe(self) -> Mapping[str, Any]:
        """Return the settings that the experiment's course depends on."""
        settings = self._setup.settings
        return {
            **self._setup.command.describe(),
            "report_timeout": settings.report_timeout,
            "trial_timeout": settings.trial_timeout,
        }

    async def open(self, clock: Clock) -> None:
        """Get ready.

        Raises:
            UsageError: If another tuner is at work in the experiment's folder.
        """
        self._clock = clock
        trials = self._setup.folder / TRIALS
        channel = self._channel = Channel(trials, self._on_wake)
        self._setup.command.prepare(trials)
        self._setup.store.open()
        self._supervisor.open(clock, self._put, self._on_error)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ASYNCTUNE_")}
        self._supervisor.environment = {
            "PYTHONUNBUFFERED": "1",  # what a killed script printed last is worth having
            **inherited,
            reporting.WAKE: str(channel.pipe),
            reporting.RESOURCE: self._setup.wanted.resource,
            run_function.MAX: str(self._setup.max_resource),
        }

    def ready_at(self, order: Order) -> None:
        """Return None: how long a process takes to start is known once it runs."""

    async def start(self, order: Order) -> None:
        """Start an attempt."""
        if self._attempt(order.trial, order.attempt) is None:
            self._supervisor.start(order)

    async def pause(self, trial: int, attempt: int) -> None:
        """Ask an attempt to save a checkpoint and end."""
        if (found := self._attempt(trial, attempt)) is not None:
            self._supervisor.pause(found)

    async def stop(self, trial: int, attempt: int) -> None:
        """Ask an attempt to end."""
        if (found := self._attempt(trial, attempt)) is not None:
            self._supervisor.stop(found)

    async def discard(self, trial: int) -> None:
        """Remove a trial's checkpoint."""
        self._setup.store.discard(trial)

    def settle(self, wanted: Collection[int]) -> None:
        """Remove all checkpoints but those of the trials named; the experiment is over."""
        self._setup.store.discard_others(wanted)
        self._setup.store.close()

    def checkpoint_of(self, trial: int) -> Path | None:
        """Return where a trial's checkpoint is; None if it has none."""
        path = trial_folder(self._setup.folder, trial) / "checkpoint"
        return path if holds_something(path) else None

    async def recover(self, expected: Sequence[Expected]) -> Mapping[tuple[int, int], Fate]:
        """Adopt the attempts of an earlier tuner, or tell how they have ended."""
        find = self._supervisor.find
        return {(e.order.trial, e.order.attempt): await find(e) for e in expected}

    def poll(self, until: float) -> Sequence[Event]:
        """Return the events that have come in since."""
        del until
        if self._error is not None:
            raise self._error
        # Whatever the tuner was given before is decided on when it asks again.
        for attempt in self._deciding:
            if not attempt.command and attempt is self._attempt(*attempt.order[:2]):
                attempt.answer()
        self._deciding.clear()
        if not self._queue:
            return ()
        batch, self._queue = self._queue, []
        for event in batch:
            if isinstance(event, Report):
                found = self._attempt(event.trial, event.attempt)
                if found is not None:
                    found.decided = found.reports.size
                    self._deciding.append(found)
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
        policy = self._setup.settings.on_interrupt if leave_running else "stop"
        try:
            for attempt in list(self._supervisor.attempts.values()):
                self._wind_up(attempt, policy)
            tasks = [a.task for a in self._supervisor.attempts.values() if a.task is not None]
            if tasks and policy != "detach":
                await asyncio.wait(tasks)
        finally:
            self._leave(detach=policy == "detach")

    def _wind_up(self, attempt: Attempt, policy: str) -> None:
        if attempt.process is None:
            self._supervisor.forget(attempt)
        elif policy != "detach":
            attempt.files.interrupted.touch()  # an experiment that is over may be extended
            if policy == "pause":
                self._supervisor.pause(attempt)
            else:
                self._supervisor.terminate(attempt)

    def _leave(self, *, detach: bool) -> None:
        """Give everything back, at once."""
        if self._channel is None:
            return
        attempts = self._supervisor.attempts
        self._channel.close(for_good=not (detach and attempts))
        self._channel = None
        for attempt in attempts.values():
            if not detach and attempt.process is not None:
                attempt.process.finish()
            attempt.close(over=not detach)
        attempts.clear()
        self._setup.store.close()

    def _attempt(self, trial: int, attempt: int) -> Attempt | None:
        found = self._supervisor.attempts.get(trial)
        return found if found is not None and found.order.attempt == attempt else None

    def _on_wake(self) -> None:
        # A script that found the pipe full has said nothing: so all files are looked at.
        for attempt in self._supervisor.attempts.values():
            self._supervisor.read(attempt)

    def _put(self, event: Event) -> None:
        self._queue.append(event)
        self._arrived.set()

    def _on_error(self, error: BaseException) -> None:
        self._error = error
        self._arrived.set()
