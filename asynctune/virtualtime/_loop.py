"""The event loop on virtual time."""

# The loop leans on private parts of asyncio (`_run_once`, `_ready`, `_stopping`, `_selector`,
# `_process_events`, `_timer_handle_cancelled`, `Handle._run`, `TimerHandle._scheduled`);
# tests/test_virtualtime.py pins them for every Python that is supported.
# ruff: noqa: SLF001

import asyncio
import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from math import inf
from selectors import BaseSelector, SelectorKey
from typing import Final, NoReturn, TypeVarTuple, Unpack, final

from asynctune.exceptions import DeadlockError, UsageError, VirtualTimeError

Ts = TypeVarTuple("Ts")

#: Signals are looked for once in so many steps; a look costs as much as a step.
_STEPS_BETWEEN_POLLS: Final = 64
#: Cancelled timers are dropped once there are so many, and more than live ones.
_MANY_CANCELLED: Final = 100
#: A clock in float64 seconds still tells a microsecond here.
_START_LIMIT: Final = 2.0**31


@final
class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time.

    Args:
        start: First reading of the clock in seconds, at least 0 and below 2**31. (It is no
            date: the Unix time as a start would only cost resolution.)

    Attributes:
        describe_waiters: Called at a deadlock to name what is stuck, for the error message.
            By default the unfinished tasks are named.

    Raises:
        UsageError: If the start is out of range.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _selector: BaseSelector
    _process_events: Callable[[Sequence[tuple[SelectorKey, int]]], None]

    def __init__(self, start: float = 0.0) -> None:
        self.describe_waiters: Callable[[], str] | None = None
        self._now = float(start)
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_set = 0
        self._timers_cancelled = 0
        self._steps_to_poll = _STEPS_BETWEEN_POLLS
        self._owner: int | None = None
        self._failure: BaseException | None = None
        self._failed = False
        super().__init__()
        if not 0.0 <= start < _START_LIMIT:
            self.close()
            raise UsageError(f"start of virtual time must be in [0, 2**31) seconds; got {start!r}")

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def try_advance(self, t: float) -> bool:
        """Move the clock to `t` at once, if the loop would do nothing before `t` anyway.

        That is the case if nothing is ready besides the running task, and no timer is due
        strictly before `t`. A timer due at `t` itself goes off after the running task yields.

        Args:
            t: The new time in seconds, not before the present one.

        Returns:
            Whether the clock was moved; if not, `await anyio.sleep_until(t)` does it.

        Raises:
            VirtualTimeError: If `t` lies in the past or is not finite.
        """
        if not self._now <= t < inf:
            raise VirtualTimeError(f"time moves forward only, from {self._now!r}; got {t!r}")
        self._steps_to_poll = steps = self._steps_to_poll - 1
        if steps <= 0:
            self._poll()
        if self._ready or self._stopping or self._failure is not None:
            return False
        timers = self._timers
        if timers and timers[0][0] < t:
            self._drop_cancelled()
            if timers and timers[0][0] < t:
                return False
        self._now = t
        return True

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at a virtual time; never, if that is infinite."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if when != when:  # noqa: PLR0124 - the test for NaN
            raise VirtualTimeError(f"the time of a timer must be a number; got {when!r}")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if when < inf:
            entry = (max(when, self._now), self._timers_set, timer)
            self._timers_set += 1
            heapq.heappush(self._timers, entry)
            timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after a virtual delay; never, if that is infinite."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call back soon; from another thread than the loop's, make the loop fail instead."""
        if self._owner not in (None, threading.get_ident()) and not self._failed:
            self._failure = VirtualTimeError(
                "virtual time cannot wait for other threads; thread "
                f"{threading.current_thread().name!r} handed over {callback!r}"
            )
        return super().call_soon_threadsafe(callback, *args, context=context)

    def interrupt(self) -> None:
        """Make the loop raise `KeyboardInterrupt` at its next step; any thread may call this."""
        self._failure = KeyboardInterrupt()

    def run_forever(self) -> None:
        """Run until `stop` is called."""
        self._owner = threading.get_ident()
        try:
            super().run_forever()
        finally:
            self._owner = None

    def close(self) -> None:
        """Close the loop, and forget its timers."""
        super().close()
        self._timers.clear()

    def _run_once(self) -> None:
        """Make one step: look for signals, move the clock if nothing is ready, call what is."""
        self._steps_to_poll -= 1
        if self._steps_to_poll <= 0 or self._failure is not None:
            self._look_outside()
        ready, timers = self._ready, self._timers
        if self._timers_cancelled > _MANY_CANCELLED and 2 * self._timers_cancelled > len(timers):
            self._prune()
        if not ready and not self._stopping:
            self._drop_cancelled()
            if timers:
                self._now = timers[0][0]
            else:
                self._look_outside()
                if not ready:
                    self._fail(self._deadlock())
        now = self._now
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer.cancelled():
                self._timers_cancelled -= 1
            else:
                ready.append(timer)
        # Only what is ready now; what this makes ready belongs to the next step.
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
        del ready, timers
        handle = None  # type: ignore[assignment]  # breaks a cycle when a callback has failed

    def _look_outside(self) -> None:
        """See signals, and fail if another thread has interfered."""
        self._poll()
        if self._failure is not None:
            self._fail(self._failure)

    def _poll(self) -> None:
        """See signals: their wake-up byte makes the loop's own reader ready."""
        self._steps_to_poll = _STEPS_BETWEEN_POLLS
        self._process_events(self._selector.select(0))

    def _fail(self, error: BaseException) -> NoReturn:
        """Raise, and let the clean-up that follows go on undisturbed."""
        self._failure = None
        self._failed = True
        raise error

    def _deadlock(self) -> DeadlockError:
        """Return the error that names what is stuck."""
        if self.describe_waiters is not None:
            stuck = self.describe_waiters()
        else:
            names = sorted(task.get_name() for task in asyncio.all_tasks(self))
            stuck = "tasks " + ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        return DeadlockError(
            f"nothing is ready and no timer is set at {self._now!r} s of virtual time, which does "
            f"not wait for threads or other outside work; stuck: {stuck}"
        )

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Count a cancelled timer; it goes stale where it is."""
        if handle._scheduled:  # type: ignore[attr-defined]
            self._timers_cancelled += 1

    def _drop_cancelled(self) -> None:
        """Drop cancelled timers that are next."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)[2]._scheduled = False  # type: ignore[attr-defined]
            self._timers_cancelled -= 1

    def _prune(self) -> None:
        """Drop all cancelled timers."""
        for entry in self._timers:
            entry[2]._scheduled = not entry[2].cancelled()  # type: ignore[attr-defined]
        self._timers[:] = [entry for entry in self._timers if not entry[2].cancelled()]
        heapq.heapify(self._timers)
        self._timers_cancelled = 0


def _refusal(name: str) -> Callable[..., NoReturn]:
    """Return a method that refuses to do outside work."""

    def refuse(self: VirtualTimeLoop, *args: object, **kwargs: object) -> NoReturn:  # noqa: ARG001
        raise VirtualTimeError(
            f"virtual time cannot wait for outside work; got a call of the loop's {name}()"
        )

    refuse.__name__ = name
    refuse.__doc__ = f"Refuse: {name} waits for outside work."
    return refuse


#: Every public method of a loop through which work outside of it is begun.
REFUSED: Final = (
    "add_reader",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "run_in_executor",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
)
for _name in REFUSED:
    setattr(VirtualTimeLoop, _name, _refusal(_name))
