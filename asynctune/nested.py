"""Run an experiment where an event loop runs already, as in a notebook."""

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any, Final

from asynctune.ledger import Ledger
from asynctune.tuner import Observer

_SECONDS_BETWEEN_LOOKS: Final = 0.1
Run = Callable[[Observer | None], dict[str, Any]]


def run_anywhere(run: Run, observer: Observer | None) -> dict[str, Any]:
    """Call `run` with the observer; in a thread of its own if this one has an event loop.

    An interruption of this thread cancels the run, as it does without a thread; so does
    cancelling the task that calls.

    Returns:
        What `run` returns.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run(observer)
    return _Apart(run, observer).result()


class _Apart:
    """A run in a thread of its own."""

    def __init__(self, run: Run, observer: Observer | None) -> None:
        self._run = run
        self._observer = observer
        self._where: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._cancelled = False
        self._result: dict[str, Any] = {}
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="asynctune")

    def result(self) -> dict[str, Any]:
        """Start the thread, and wait for what comes of it."""
        caller = asyncio.current_task()
        cancelled = 0 if caller is None else caller.cancelling()
        interruption: BaseException | None = None
        self._thread.start()
        while self._thread.is_alive():
            try:
                self._thread.join(_SECONDS_BETWEEN_LOOKS)
            except KeyboardInterrupt as error:
                interruption = error
                self._cancel()
            # Within asyncio.run the first Ctrl-C does no more than cancel the main task.
            if caller is not None and caller.cancelling() > cancelled and interruption is None:
                interruption = asyncio.CancelledError()
                self._cancel()
        if interruption is not None:
            raise interruption
        if self._error is not None:
            raise self._error
        return self._result

    def _work(self) -> None:
        try:
            self._result = self._run(self._observe)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self._error = error

    def _observe(self, ledger: Ledger, now: float) -> None:
        if self._where is None:
            task = asyncio.current_task()
            if task is not None:
                self._where = asyncio.get_running_loop(), task
                if self._cancelled:
                    task.cancel()
        if self._observer is not None:
            self._observer(ledger, now)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._where is not None:
            loop, task = self._where
            loop.call_soon_threadsafe(task.cancel)
