"""The simulated backend: attempts are replayed learning curves under virtual time.

It keeps one heap entry an attempt, keyed by (time, number of the start), and moves the loop's
clock itself where nothing else is due before. What happens to an attempt depends on the
experiment's seed, the trial and the attempt alone; so after a restart it can be worked out
again from the journal.
"""

from array import array
from collections.abc import Awaitable, Mapping, Sequence
from copy import copy
from functools import partial
from heapq import heappop, heappush, heapreplace
from math import exp, inf
from typing import Any, Final, Literal

import anyio.lowlevel
import numpy as np

from asynctune.backends.base import DONE, BackendRequest, Clock, Fate
from asynctune.events import CapacityChanged, Cause, Ended, Event, Failed, Paused, Report
from asynctune.exceptions import DeadlockError, UsageError, VirtualTimeError
from asynctune.orders import Expected, Order
from asynctune.plugins import load_plugin
from asynctune.space import Config, ConfigSpace
from asynctune.virtualtime import VirtualTimeLoop, current_loop
from sims.blackbox import Blackbox, Curve, DeferredBlackbox, as_blackbox
from sims.cluster import AttemptDraws, ClusterProfile

Terminal = Literal["paused", "ended", "infrastructure", "preemption"]
_SECONDS_AN_HOUR: Final = 3600.0
_ZERO: Final = bytes(8)


class _Replay:
    """A curve that is replayed level by level.

    Attributes:
        names: The metrics.
        levels: Number of levels.
        numbers: In one array, which is quick to make and to read and takes little room: the
            seconds from the start of training to the end of levels 0, 1, ..., then for each
            metric a 0 and its values after levels 1, 2, ...
        source: Where each level comes from, or None.
    """

    __slots__ = ("levels", "names", "numbers", "source")

    def __init__(self, curve: Curve, metric: str) -> None:
        metrics, self.source = curve.values, curve.source
        if metric not in metrics:
            names = ", ".join(metrics) or "nothing"
            raise UsageError(f"the blackbox must return the metric {metric!r}; got {names}")
        seconds = np.asarray(curve.seconds, dtype=np.float64)
        shape = seconds.shape
        columns = [_ZERO, seconds.tobytes()]
        for name, numbers in metrics.items():
            values = np.asarray(numbers, dtype=np.float64)
            if values.shape != shape or len(shape) != 1 or not shape[0]:
                raise UsageError(
                    f"a curve must have one number a level of its seconds, shape {shape}, "
                    f"and of each metric; got {values.shape} of {name}"
                )
            columns += (_ZERO, values.tobytes())
        self.levels = levels = shape[0]
        self.numbers: array[float] = array("d", b"".join(columns))
        self.names = tuple(metrics)
        # NaN fails every comparison; of an increasing sequence only the last can be infinite.
        falters = b"\0" in (seconds[1:] > seconds[:-1]).tobytes()
        if falters or not (self.numbers[1] > 0 and self.numbers[levels] < inf):
            raise UsageError(f"a curve's seconds must be above 0 and increase; got {seconds}")

    def slowed(self, factor: float) -> "_Replay":
        """Return the same curve on a worker that takes `factor` times as long."""
        other, after = copy(self), self.levels + 1
        other.numbers = array("d", [s * factor for s in self.numbers[:after]])
        other.numbers += self.numbers[after:]
        return other


# A report made of its fields in one go, without the detour that a named tuple takes.
_report: Final = partial(tuple.__new__, Report)


class _Attempt:
    """One attempt under simulation.

    `level` is the last level whose report was handed out; times are absolute seconds.
    """

    __slots__ = (
        "attempt",
        "base",
        "begun",
        "billed_from",
        "end",
        "fate",
        "from_level",
        "key",
        "last",
        "level",
        "names",
        "number",
        "seconds",
        "source",
        "stride",
        "trial",
    )

    def __init__(self, number: int, order: Order, curve: _Replay, begun: float) -> None:
        self.number = number
        self.trial = order.trial
        self.attempt = order.attempt
        # Not read through the curve at each report: with a thousand attempts running, every object
        # that a report touches has gone cold.
        self.names, self.source, self.stride = curve.names, curve.source, curve.levels + 1
        self.seconds = curve.numbers
        self.from_level = self.level = level = order.from_resource
        self.base: float = self.seconds[level]
        self.last = last = min(order.until, curve.levels)  # the last level that it will report
        self.key = 0  # of its heap entry; one with another key is stale
        self.begun: float = begun  # when the script runs
        self.billed_from = begun
        self.end: float = begun + (self.seconds[last] - self.base)
        self.fate: Terminal = "ended" if last >= curve.levels else "paused"

    def level_at(self, time: float) -> int:
        """Return the last level that the script has finished at `time`."""
        elapsed = time - self.begun + self.base
        level = self.level
        while level < self.last and self.seconds[level + 1] <= elapsed:
            level += 1
        return level


class SimulatedBackend:
    """Replays a blackbox's learning curves on a simulated cluster.

    Args:
        blackbox: Says how training a config would go: an object with `curve`, or a function
            from a config to (values, cumulative seconds).
        profile: The cluster.
        metric: Name of the metric that the blackbox must return.
        seed: The experiment's seed.
        training_seed: Seed that all trials train with; None gives each trial its own.
        instance_type: Sets the price.
        constants: Values that every config has besides those that are tuned.
    """

    virtual_time: Final = True

    def __init__(
        self,
        blackbox: Any,  # noqa: ANN401 - checked by as_blackbox
        profile: ClusterProfile,
        *,
        metric: str,
        seed: int,
        training_seed: int | None = None,
        instance_type: str | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self._blackbox: Blackbox = as_blackbox(blackbox, metric)
        self._profile = profile
        self._constants = dict(constants or {})
        self._names: tuple[str, ...] = ()  # the metrics of the last curve
        self._metric = metric
        self._draws = AttemptDraws(seed)
        self._seed = seed
        self._training_seed = training_seed
        self._delay = profile.report_delay
        self._end_delay = max(profile.stop_delay, profile.report_delay)
        self._random = profile.random
        self._price = profile.price(profile.instance_type or instance_type)
        self._heap: list[tuple[float, int, int, _Attempt | None]] = []
        self._running: dict[int, _Attempt] = {}
        # A command takes effect within the instant, perhaps before the instant's other events.
        self._one_by_one = profile.stop_delay == 0 and profile.report_delay == 0
        self._started = 0
        self._pushed = 0
        # An event that was handed out stands on top of the heap as a hole until the next push or
        # look at the heap: its attempt's next event depends on what is decided on it.
        self._hole = False
        self._turn: _Attempt | None = None  # whose event was handed out, and is to have another
        self._loop: VirtualTimeLoop
        self._clock: Clock

    def describe(self) -> Mapping[str, Any]:
        """Return the settings that a simulation depends on."""
        return {
            "profile": self._profile.describe(),
            "price_per_hour": self._price * _SECONDS_AN_HOUR,
            "training_seed": self._training_seed,
        }

    async def open(self, clock: Clock) -> None:
        """Get ready.

        Raises:
            VirtualTimeError: If the running loop is not one of virtual time.
        """
        loop = current_loop()
        if loop is None:
            raise VirtualTimeError("a simulated backend must run inside virtualtime.run")
        self._loop = loop
        self._clock = clock
        loop.describe_waiters = self._describe
        if self._profile.capacity is not None:
            self._push(clock(), None)

    def ready_at(self, order: Order) -> float:
        """Return when the script of an attempt will run that is started now."""
        now = self._clock()
        return now + self._startup(order, now)

    def start(self, order: Order) -> Awaitable[None]:
        """Start an attempt."""
        running = self._running.get(order.trial)
        if running is None or running.attempt != order.attempt:
            entry = self._begin(order, self._clock())
            self._push(self._next_time(entry), entry)
        return DONE

    def pause(self, trial: int, attempt: int) -> Awaitable[None]:
        """Ask an attempt to save a checkpoint and end."""
        self._halt(trial, attempt, "paused", self._clock())
        return DONE

    def stop(self, trial: int, attempt: int) -> Awaitable[None]:
        """Ask an attempt to end."""
        self._halt(trial, attempt, "ended", self._clock())
        return DONE

    def discard(self, trial: int) -> Awaitable[None]:
        """Do nothing: a simulated checkpoint takes no room."""
        del trial
        return DONE

    async def recover(self, expected: Sequence[Expected]) -> Mapping[tuple[int, int], Fate]:
        """Work out again what the attempts of an earlier process were doing."""
        for item in expected:
            order = item.order
            entry = self._begin(order, item.time)
            entry.level += item.reports
            self._push(self._next_time(entry), entry)
            for command, time in item.commands:
                fate: Terminal = "paused" if command == "pause" else "ended"
                self._halt(order.trial, order.attempt, fate, time)
        return {(item.order.trial, item.order.attempt): "running" for item in expected}

    def poll(self, until: float) -> Sequence[Event]:
        """Return the next events if the clock can be moved to them at once.

        The events of one instant come in the order in which their attempts were started,
        however many batches they come in, so that a restart amid an instant changes nothing.
        """
        event = self._next(until)
        if event is None:
            return ()
        if self._one_by_one:
            return (event,)
        batch = [event]
        now = self._loop.time()
        while (event := self._next(now)) is not None:
            batch.append(event)
        return batch

    async def events(self, until: float) -> Sequence[Event]:
        """Move the clock to the next events, or to `until`, and return them."""
        loop = self._loop
        while not (batch := self.poll(until)) and loop.time() < until:
            target = min(self._heap[0][0], until) if self._heap else until
            if target == inf:
                raise DeadlockError(f"no trial will ever report again; {self._describe()}")
            if not loop.try_advance(target):
                await self._let_others_run(target)
        return batch

    async def aclose(self, *, leave_running: bool) -> None:
        """Forget everything."""
        del leave_running  # nothing of a simulation can go on by itself
        self._heap.clear()
        self._hole, self._turn = False, None
        self._running.clear()
        self._loop.describe_waiters = None

    async def _let_others_run(self, target: float) -> None:
        """Give way to whatever else runs in the loop, at most until `target`."""
        await anyio.lowlevel.checkpoint()
        loop = self._loop
        if loop.time() < target and not loop.try_advance(target):
            # Not a sleep: that waits for a difference of times, and misses by a rounding error.
            reached = loop.create_future()
            timer = loop.call_at(target, reached.set_result, None)
            try:
                await reached
            finally:
                timer.cancel()

    def _describe(self) -> str:
        names = ", ".join(str(t) for t in self._running) or "none"
        return f"running trials: {names}"

    def _curve(self, trial: int, config: Config) -> _Replay:
        seed = self._training_seed
        if seed is None:
            seed = (self._seed + trial) % (2**31 - 1)
        replay = _Replay(self._blackbox.curve({**self._constants, **config}, seed), self._metric)
        if replay.names != self._names:
            self._names = replay.names
        replay.names = self._names  # one object for all
        return replay

    def _begin(self, order: Order, now: float) -> _Attempt:
        """Work out how an attempt will go that is started at `now`."""
        profile, trial = self._profile, order.trial
        self._started += 1
        curve = self._curve(trial, order.config)
        delay = self._startup(order, now)
        if self._random:
            _, uniform, to_failure, to_preemption = self._draws.draw(trial, order.attempt)
            if uniform < profile.straggler_probability:
                curve = curve.slowed(profile.straggler_factor)
        entry = _Attempt(self._started, order, curve, now + delay)
        entry.billed_from -= profile.billed_startup * delay
        if profile.failure_rate:
            self._break(entry, "infrastructure", to_failure / profile.failure_rate)
        if profile.preemption_rate:
            self._break(entry, "preemption", to_preemption / profile.preemption_rate)
        self._running[trial] = entry
        return entry

    def _break(self, entry: _Attempt, fate: Terminal, hours: float) -> None:
        """Let a fault end the attempt after so many hours of running, if it runs that long."""
        time = entry.begun + hours * _SECONDS_AN_HOUR
        if time < entry.end:
            entry.last = entry.level_at(time)
            entry.end = time
            entry.fate = fate

    def _startup(self, order: Order, now: float) -> float:
        """Return the start-up delay, which is shorter on a worker that is still warm."""
        profile, since = self._profile, order.slot_free_since
        delay = profile.startup_delay
        if since is not None and now - since <= profile.keep_alive:
            delay = profile.warm_startup_delay
        if profile.startup_spread:
            normal = self._draws.draw(order.trial, order.attempt)[0]
            delay *= exp(profile.startup_spread * normal)
        return delay

    def _halt(self, trial: int, attempt: int, fate: Terminal, now: float) -> None:
        """Carry out a command to pause or stop."""
        entry = self._running.get(trial)
        if entry is None or entry.attempt != attempt or entry.end <= now:
            return
        entry.end, entry.fate = now, fate
        if entry is self._turn and self._one_by_one:
            entry.last = entry.level  # it has just reported, and that is all it has done
            return
        entry.last = entry.level_at(now)
        if entry is not self._turn:
            self._push(self._next_time(entry), entry)  # and what is on the heap goes stale

    def _next_time(self, entry: _Attempt) -> float:
        """Return when the attempt's next event is due."""
        if entry.level < entry.last:
            return entry.begun + (entry.seconds[entry.level + 1] - entry.base) + self._delay
        return entry.end + self._end_delay

    def _push(self, time: float, entry: _Attempt | None) -> None:
        """Put the attempt's next event on the heap; None stands for the cluster's capacity."""
        self._pushed += 1
        number = 0
        if entry is not None:
            number, entry.key = entry.number, self._pushed
        item = (time, number, self._pushed, entry)
        if self._hole and self._turn is None:
            self._hole = False
            heapreplace(self._heap, item)
        else:
            heappush(self._heap, item)

    def _next(self, until: float) -> Event | None:
        """Return the next event, having moved the clock to it, and leave a hole on top of the heap.

        None if there is none up to `until`, or if the clock cannot be moved there at once.
        """
        heap = self._heap
        if self._hole:
            self._hole = False
            turn, self._turn = self._turn, None
            if turn is None:
                heappop(heap)
            else:
                heapreplace(heap, (self._next_time(turn), turn.number, turn.key, turn))
        while True:
            if not heap:
                return None
            time, _, key, entry = heap[0]
            if entry is None or entry.key == key:
                break
            heappop(heap)
        loop = self._loop
        if time > until or (time > loop.time() and not loop.try_advance(time)):
            return None
        self._hole = True
        if entry is None:
            capacity = self._profile.capacity
            assert capacity is not None  # noqa: S101 - only then is there such an entry
            return CapacityChanged(time, capacity, "capacity of the cluster")
        level, since = entry.level, entry.billed_from
        cost = (time - since) * self._price if time > since else 0.0
        if level >= entry.last:
            return self._over(time, cost, entry)
        self._turn = entry
        index = level - entry.from_level
        entry.level = level = level + 1
        source = "" if entry.source is None else entry.source[level - 1]
        names, at = entry.names, entry.stride + level
        if len(names) == 1:
            metrics = {names[0]: entry.seconds[at]}
        else:
            metrics = dict(zip(names, entry.seconds[at :: entry.stride], strict=True))
        report = (time, entry.trial, entry.attempt, index, level, metrics, cost, source, None)
        return _report(report)

    def _over(self, time: float, cost: float, entry: _Attempt) -> Event:
        """Return the last event of an attempt."""
        trial, attempt = entry.trial, entry.attempt
        del self._running[trial]
        checkpoint = entry.level if self._profile.checkpointing else 0
        if entry.fate == "ended":
            return Ended(time, trial, attempt, cost)
        if entry.fate == "paused":
            return Paused(time, trial, attempt, checkpoint, cost)
        cause = Cause.INFRASTRUCTURE if entry.fate == "infrastructure" else Cause.PREEMPTION
        message = f"simulated {entry.fate} after {entry.end - entry.begun:.0f} s of running"
        return Failed(time, trial, attempt, cause, message, checkpoint, cost)


def simulated_backend(request: BackendRequest) -> SimulatedBackend:
    """Make the simulated backend of a benchmark; the entry point `simulated`.

    Raises:
        UsageError: If the benchmark has no blackbox, or an option or the profile is not known.
    """
    benchmark = request.benchmark
    if benchmark.blackbox is None:
        raise UsageError(f"benchmark {benchmark.name} has no blackbox to simulate with")
    profile: ClusterProfile = load_plugin("asynctune.profiles", "profile", request.profile)()
    return SimulatedBackend(
        DeferredBlackbox(benchmark.blackbox, benchmark.metric),
        profile.with_options(request.options),
        metric=benchmark.metric,
        seed=request.seed,
        instance_type=benchmark.instance_types.get(request.profile),
        constants=ConfigSpace(benchmark.space).constants,
    )
