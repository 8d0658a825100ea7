"""Running a program on virtual time, also from where an event loop runs already."""

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, TypeVarTuple, Unpack, final

import anyio

from asynctune.virtualtime._loop import VirtualTimeLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def current_loop() -> VirtualTimeLoop | None:
    """Return the virtual-time loop that the caller runs on, or None if it runs on none."""
    loop = _running_loop()
    return loop if isinstance(loop, VirtualTimeLoop) else None


def in_virtual_time() -> bool:
    """Say whether the caller runs on a virtual-time loop."""
    return current_loop() is not None


def run(async_fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, start: float = 0.0) -> T:
    """Run an async function to its end in virtual time, and return its result.

    May be called where an event loop runs already, as in a notebook: then the program runs
    in a thread of its own, the caller's loop stands still until it is done, and Ctrl-C
    reaches the program at its next step.

    Args:
        async_fn: The function.
        *args: Its positional arguments.
        start: First reading of the clock in seconds, at least 0 and below 2**31.

    Raises:
        UsageError: If the start is out of range.
        DeadlockError: If the program waits for something that cannot happen any more.
        VirtualTimeError: If it waits for outside work.
    """

    def program(loop_factory: Callable[[], VirtualTimeLoop]) -> T:
        return anyio.run(async_fn, *args, backend_options={"loop_factory": loop_factory})

    if _running_loop() is None:
        return program(functools.partial(VirtualTimeLoop, start))
    return _ProgramInThread(program, start).result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that the caller runs on, of whatever kind, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@final
class _ProgramInThread(Generic[T]):
    """A program that runs on a virtual-time loop in a thread of its own.

    Args:
        program: Runs to its end, given what makes its loop.
        start: First reading of the loop's clock in seconds.
    """

    def __init__(self, program: Callable[[Callable[[], VirtualTimeLoop]], T], start: float) -> None:
        self._program = program
        self._start = start
        self._loop: VirtualTimeLoop | None = None
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self._begun = threading.Event()
        self._done = threading.Event()
        self._interrupted = threading.Event()

    def result(self) -> T:
        """Run the program, and return its result or raise its error."""
        thread = threading.Thread(target=self._work, name="virtual-time")
        try:
            thread.start()
        except KeyboardInterrupt:
            self._interrupt()
            if not self._begun.is_set():
                raise
        while not self._done.is_set():
            try:
                # Not join(), which takes a thread for ended after a Ctrl-C (Python 3.11).
                self._done.wait()
            except KeyboardInterrupt:
                self._interrupt()
        thread.join()
        if self._error is not None:
            raise self._error
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        return self._outcome[0]

    def _work(self) -> None:
        """Run in the thread."""
        self._begun.set()
        try:
            self._outcome.append(self._program(self._make_loop))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self._done.set()

    def _make_loop(self) -> VirtualTimeLoop:
        self._loop = VirtualTimeLoop(self._start)
        if self._interrupted.is_set():
            self._loop.interrupt()
        return self._loop

    def _interrupt(self) -> None:
        """Stop the program at its next step, or at its first."""
        self._interrupted.set()
        if self._loop is not None:
            self._loop.interrupt()
