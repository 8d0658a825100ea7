"""What every backend must keep to, whatever it runs."""

from collections.abc import Callable
from itertools import pairwise

from asynctune.backends.base import Backend, Clock
from asynctune.events import CapacityChanged, Ended, Event, Failed, Paused, Report, Started
from asynctune.orders import Order
from asynctune.space import Config
from asynctune.testing._require import require


async def check_backend(
    backend: Backend,
    clock: Clock,
    config: Config,
    *,
    metric: str,
    max_resource: int,
    patience: float,
) -> None:
    """Run a few trials on a backend: to their end, to a rung, paused, resumed, stopped.

    Must run in the event loop that the backend needs. The backend is opened and closed here.

    Args:
        backend: A fresh backend with at least one worker, whose trials do not fail.
        clock: Seconds since the experiment's start.
        config: A config whose training reports every level, and takes longer than a command.
        metric: Name of a metric that is reported.
        max_resource: Resource level at which a trial is complete, at least 3.
        patience: Seconds that any step may take.

    Raises:
        AssertionError: If it breaks a rule of its protocol.
    """
    await backend.open(clock)
    try:
        check = _Check(backend, clock, config, metric, max_resource, patience)
        await check.to_the_end()
        await check.to_a_rung_and_on()
        await check.paused()
        await check.stopped()
        await check.what_never_was()
    finally:
        await backend.aclose(leave_running=False)


class _Check:
    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        config: Config,
        metric: str,
        max_resource: int,
        patience: float,
    ) -> None:
        self.backend, self.clock, self.config = backend, clock, config
        self.metric, self.max, self.patience = metric, max_resource, patience
        self.last = 0.0
        self.ready: float | None = None  # of the last attempt, when its script is to run

    async def start(self, trial: int, attempt: int, begin: int, until: int) -> None:
        """Start an attempt, twice, which must be the same as once."""
        order = Order(trial, attempt, 0, self.config, begin, until, None)
        self.ready = self.backend.ready_at(order)
        await self.backend.start(order)
        await self.backend.start(order)

    async def follow(
        self, trial: int, attempt: int, begin: int, stop: Callable[[Event], bool] | None = None
    ) -> list[Event]:
        """Return the events of an attempt up to its end, or to one that `stop` accepts."""
        found: list[Event] = []
        deadline = self.clock() + self.patience
        while not found or not (
            isinstance(found[-1], Ended | Paused) or (stop and stop(found[-1]))
        ):
            batch = await self.backend.events(deadline)
            require(batch, f"something happens within {self.patience} s; got {found}")
            for event in batch:
                require(event.time >= self.last, f"events come in order; got {event}")
                require(event.time <= self.clock(), f"events are of the past; got {event}")
                self.last = event.time
                if not isinstance(event, CapacityChanged):
                    require(
                        event[1:3] == (trial, attempt),
                        f"only attempt {attempt} of trial {trial} runs; got {event}",
                    )
                    found.append(event)
        self.check_events(found, begin)
        return found

    def check_events(self, events: list[Event], begin: int) -> None:
        """Check one attempt's events."""
        require(not any(isinstance(e, Failed) for e in events), f"nothing fails here; got {events}")
        over = [e for e in events if isinstance(e, Ended | Paused)]
        require(over in ([], events[-1:]), f"an attempt is over once, and last; got {events}")
        starts = sum(isinstance(e, Started) for e in events)
        require(
            starts <= (self.ready is None),
            f"it is told once that it runs, and not if that was known before; got {events}",
        )
        require(
            self.ready is None or self.ready <= events[0].time,
            f"nothing happens before it runs, at {self.ready}; got {events}",
        )
        reports = [e for e in events if isinstance(e, Report)]
        require(
            [r.index for r in reports] == list(range(len(reports))),
            f"reports are numbered from 0 without gaps; got {reports}",
        )
        levels = [begin, *(r.resource for r in reports)]
        require(
            all(a < b for a, b in pairwise(levels)),
            f"the resource rises from {begin}; got {levels}",
        )
        require(
            all(self.metric in r.metrics for r in reports),
            f"each report has the metric {self.metric}; got {reports}",
        )
        costs = [e.cost for e in events if isinstance(e, Report | Ended | Paused)]
        require(costs == sorted(costs), f"the cost of an attempt never falls; got {costs}")

    async def quiet(self) -> None:
        """Check that nothing more is to come, and that asking for it does not take long."""
        batch = await self.backend.events(self.clock())
        require(not batch, f"after its end nothing is told of an attempt; got {batch}")

    async def to_the_end(self) -> None:
        """A trial runs to its last level."""
        await self.start(0, 0, 0, self.max)
        events = await self.follow(0, 0, 0)
        reached = [e.resource for e in events if isinstance(e, Report)]
        require(reached == list(range(1, self.max + 1)), f"every level is reported; got {reached}")
        await self.quiet()
        await self.backend.discard(0)
        await self.backend.discard(0)

    async def to_a_rung_and_on(self) -> None:
        """A trial ends by itself at `until`, and goes on from there."""
        await self.start(1, 0, 0, 1)
        event = (await self.follow(1, 0, 0))[-1]
        require(isinstance(event, Paused), f"a trial that can go on is Paused; got {event}")
        begin = event.resource if isinstance(event, Paused) else 0
        require(begin in (0, 1), f"a checkpoint is no further than the trial, 1; got {event}")
        await self.start(1, 1, begin, 2)
        reports = [e for e in await self.follow(1, 1, begin) if isinstance(e, Report)]
        require(
            [r.resource for r in reports] == list(range(begin + 1, 3)),
            f"it goes on from {begin} to 2; got {reports}",
        )

    async def paused(self) -> None:
        """A trial pauses on command, however often that is given."""
        await self.start(2, 0, 0, self.max)
        first = await self.follow(2, 0, 0, lambda event: isinstance(event, Report))
        await self.backend.pause(2, 0)
        await self.backend.pause(2, 0)
        rest = first if isinstance(first[-1], Ended | Paused) else await self.ending(2)
        require(isinstance(rest[-1], Ended | Paused), f"a pause is confirmed; got {rest}")
        await self.quiet()

    async def stopped(self) -> None:
        """A trial stops on command, however often that is given."""
        await self.start(3, 0, 0, self.max)
        await self.follow(3, 0, 0, lambda event: isinstance(event, Report))
        await self.backend.stop(3, 0)
        await self.backend.stop(3, 0)
        rest = await self.ending(3)
        require(isinstance(rest[-1], Ended), f"a stop is confirmed by Ended; got {rest}")
        await self.quiet()

    async def ending(self, trial: int) -> list[Event]:
        """Return what comes after a command; late reports are legal."""
        found: list[Event] = []
        deadline = self.clock() + self.patience
        while not found or not isinstance(found[-1], Ended | Paused):
            batch = await self.backend.events(deadline)
            require(batch, f"a command is confirmed within {self.patience} s; got {found}")
            found += [e for e in batch if not isinstance(e, CapacityChanged)]
        require(
            not any(isinstance(e, Report) and e.resource == self.max for e in found),
            f"a command is to spare what is left of a training; got {found}",
        )
        require(all(e[1:3] == (trial, 0) for e in found), f"only trial {trial} runs; got {found}")
        return found

    async def what_never_was(self) -> None:
        """Commands to attempts that are over, or never were, do nothing."""
        for trial, attempt in ((0, 0), (2, 0), (99, 0)):
            await self.backend.pause(trial, attempt)
            await self.backend.stop(trial, attempt)
            await self.backend.discard(trial)
        await self.quiet()
