"""How proposals are computed: at once, after a configured virtual time, or in a thread."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple, Protocol

import anyio
import anyio.abc
import anyio.to_thread

from asynctune.exceptions import UsageError
from asynctune.searchers.base import Proposal, Searcher, Snapshot


class Ready(NamedTuple):
    """A proposal that has been computed, and the seconds it took."""

    proposal: Proposal
    cost: float


class Proposer(Protocol):
    """Computes proposals for the tuner; at most one is under way at a time."""

    @property
    def needs_data(self) -> bool:
        """Whether a proposal depends on more than its number."""
        ...

    def connect(self, wake: Callable[[], None]) -> None:
        """Learn what to call in the event loop when a proposal becomes ready unexpectedly."""
        ...

    def request(self, k: int, snapshot: Snapshot, now: float) -> Proposal | None:
        """Begin to compute proposal `k`, and return it if that needs no time at all."""
        ...

    def take(self, now: float) -> Ready | None:
        """Return the proposal if it is ready at time `now`, else None."""
        ...

    def due(self) -> float:
        """Return when the proposal will be ready, if that is known; inf otherwise."""
        ...

    @property
    def wakes(self) -> bool:
        """Whether a proposal is under way that will interrupt the tuner's wait."""
        ...


class InlineProposer:
    """Computes proposals in the tuner's own thread; for virtual time.

    Args:
        searcher: Proposes.
        cost: Virtual seconds that a proposal takes. The host's own time is never charged, so
            that a simulation does not depend on the host.
    """

    wakes = False

    def __init__(self, searcher: Searcher, cost: float = 0.0) -> None:
        if not 0 <= cost < inf:
            raise UsageError(f"decision cost must be at least 0 seconds; got {cost}")
        self._searcher = searcher
        self.needs_data = searcher.needs_data
        self._cost = cost
        self._ready: tuple[float, Ready] | None = None

    def connect(self, wake: Callable[[], None]) -> None:
        """Nothing to do: `due` says when a proposal is ready."""

    def request(self, k: int, snapshot: Snapshot, now: float) -> Proposal | None:
        """Compute proposal `k`; it is ready after the configured cost, without one at once."""
        proposal = self._searcher.propose(snapshot, k)
        if not self._cost:
            return proposal
        self._ready = (now + self._cost, Ready(proposal, self._cost))
        return None

    def take(self, now: float) -> Ready | None:
        """Return the proposal if its time has come."""
        if self._ready is None or self._ready[0] > now:
            return None
        ready = self._ready[1]
        self._ready = None
        return ready

    def due(self) -> float:
        """Return when the proposal will be ready."""
        return inf if self._ready is None else self._ready[0]


class ThreadProposer:
    """Computes proposals in a worker thread, so that reports are decided on meanwhile.

    Args:
        searcher: Proposes.
        tasks: Task group in which the thread is waited for.
    """

    def __init__(self, searcher: Searcher, tasks: anyio.abc.TaskGroup) -> None:
        self._searcher = searcher
        self.needs_data = searcher.needs_data
        self._tasks = tasks
        self._wake: Callable[[], None] = lambda: None
        self._ready: Ready | None = None
        self.wakes = False

    def connect(self, wake: Callable[[], None]) -> None:
        """Call `wake` when a proposal is ready."""
        self._wake = wake

    def request(self, k: int, snapshot: Snapshot, now: float) -> None:
        """Begin to compute proposal `k` in a thread; what time it is does not matter."""
        del now
        self.wakes = True
        self._tasks.start_soon(self._compute, k, snapshot)

    def take(self, now: float) -> Ready | None:
        """Return the proposal if it is ready."""
        del now
        ready, self._ready = self._ready, None
        return ready

    def due(self) -> float:
        """Return inf: nobody knows when a thread is done."""
        return inf

    async def _compute(self, k: int, snapshot: Snapshot) -> None:
        begin = anyio.current_time()
        proposal = await anyio.to_thread.run_sync(self._searcher.propose, snapshot, k)
        self._ready = Ready(proposal, anyio.current_time() - begin)
        self.wakes = False
        self._wake()
