"""What a backend is: it runs attempts of trials, and tells what happens to them.

The tuner is the only caller. Every command is idempotent in (trial, attempt): given twice it
has the effect of once. Events may be delivered more than once, but in order; of one attempt
none may be left out.
"""

from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

from asynctune.events import Event
from asynctune.orders import Expected, Order

VERSION: Final = "sha256"
"""The setting that is a hash of what is trained, if there is one: the only one that may change."""

Clock = Callable[[], float]
"""Returns the seconds since the experiment's start."""

Fate = Literal["running", "ended", "unknown"]


class _Done:
    def __await__(self) -> Generator[None, None, None]:
        yield from ()


DONE: Final[Awaitable[None]] = _Done()
"""What a command returns that has been carried out already: awaiting it does nothing."""


class Backend(Protocol):
    """Runs attempts."""

    @property
    def virtual_time(self) -> bool:
        """Whether it runs under virtual time only."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return the settings that the experiment's course depends on, as JSON values."""
        ...

    async def open(self, clock: Clock) -> None:
        """Get ready; `clock` tells the experiment's time. Called once, first."""
        ...

    def ready_at(self, order: Order) -> float | None:
        """Return when the script of an attempt will run that is started now, if that is known.

        Where it is, no `Started` follows; None: nobody knows, and `Started` will tell.
        """
        ...

    def start(self, order: Order) -> Awaitable[None]:
        """Start an attempt.

        As of every command, what is returned is to be awaited at once, and may be `DONE`.
        """
        ...

    def pause(self, trial: int, attempt: int) -> Awaitable[None]:
        """Ask an attempt to save a checkpoint and end; confirmed by `Paused`."""
        ...

    def stop(self, trial: int, attempt: int) -> Awaitable[None]:
        """Ask an attempt to end; confirmed by `Ended`."""
        ...

    def discard(self, trial: int) -> Awaitable[None]:
        """Learn that a trial's checkpoint is not wanted any more."""
        ...

    async def recover(self, expected: Sequence[Expected]) -> Mapping[tuple[int, int], Fate]:
        """Look for attempts of an earlier tuner process, and adopt what still runs.

        What has happened to them meanwhile is told as events that the next `poll` returns.
        """
        ...

    def poll(self, until: float) -> Sequence[Event]:
        """Return the events, in order, that can be had without waiting; empty if there are none.

        A backend of virtual time moves the clock to them, if it can do so at once and they are
        stamped `until` or before.
        """
        ...

    async def events(self, until: float) -> Sequence[Event]:
        """Wait for events, at most until the time `until`, and return them in order.

        All events of one instant come together, or the rest of them at the next `poll`. Events
        stamped exactly at `until` are returned; an empty answer says that `until` was reached.
        Cancelling the wait loses nothing.
        """
        ...

    async def aclose(self, *, leave_running: bool) -> None:
        """Give everything back.

        What runs is stopped, as the experiment is over. With `leave_running` it is not over: a
        later tuner will go on with it, and what runs may be left to that one.
        """
        ...


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """A backend whose trials leave checkpoints behind that are of use after the experiment."""

    def settle(self, wanted: Collection[int]) -> None:
        """Remove all checkpoints but those of the trials named; the experiment is over."""
        ...

    def checkpoint_of(self, trial: int) -> Path | None:
        """Return where a trial's checkpoint is; None if it has none."""
        ...


class BackendRequest(NamedTuple):
    """What an entry point of the group `asynctune.backends` is called with.

    Attributes:
        benchmark: The benchmark.
        profile: Name of the cluster profile.
        n_workers: Number of workers.
        seed: The experiment's seed.
        options: Further settings by name; one that the backend does not know is an error.
        folder: The experiment's folder, made before the backend is opened; None where the
            backend is made to be looked at only.
    """

    benchmark: Any
    profile: str
    n_workers: int
    seed: int
    options: Mapping[str, Any]
    folder: Path | None = None
