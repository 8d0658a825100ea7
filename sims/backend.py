"""The simulated backend: attempts are replayed learning curves under virtual time.

It keeps one heap entry an attempt, keyed by (time, number of the start), and moves the loop's
clock itself where nothing else is due before. What happens to an attempt depends on the
experiment's seed, the trial and the attempt alone; so after a restart it can be worked out
again from the journal.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from heapq import heappop, heappush
from math import exp, inf
from operator import lt
from typing import Any, Final, Literal

import anyio.lowlevel
import numpy as np

from asynctune.backends.base import BackendRequest, Clock, Fate
from asynctune.events import CapacityChanged, Cause, Ended, Event, Failed, Paused, Report, Started
from asynctune.exceptions import DeadlockError, UsageError, VirtualTimeError
from asynctune.orders import Expected, Order
from asynctune.plugins import load_plugin
from asynctune.space import Config, ConfigSpace
from asynctune.virtualtime import VirtualTimeLoop, current_loop
from sims.blackbox import Blackbox, Curve, DeferredBlackbox, as_blackbox
from sims.cluster import AttemptDraws, ClusterProfile

Terminal = Literal["paused", "ended", "infrastructure", "preemption"]
_SECONDS_AN_HOUR: Final = 3600.0


class _Attempt:
    """One attempt under simulation.

    `level` is the last level whose report was handed out; times are absolute seconds.
    """

    __slots__ = (
        "attempt",
        "begun",
        "billed_from",
        "curve",
        "dead",
        "end",
        "fate",
        "from_level",
        "last",
        "level",
        "number",
        "told",
        "trial",
        "until",
    )

    def __init__(self, number: int, trial: int, attempt: int, from_level: int, until: int) -> None:
        self.number = number
        self.trial = trial
        self.attempt = attempt
        self.from_level = from_level
        self.until = until
        self.level = from_level
        self.last = until  # the last level whose report will be handed out
        self.told = False  # whether `Started` was handed out
        self.dead = False
        self.begun = 0.0  # when the script runs
        self.billed_from = 0.0
        self.end = inf
        self.fate: Terminal = "ended"
        self.curve: _Replay


class _Replay:
    """A curve as lists, which are faster to read item by item than arrays."""

    __slots__ = ("levels", "names", "seconds", "source", "values")

    def __init__(self, curve: Curve, metric: str) -> None:
        seconds = np.asarray(curve.seconds, dtype=np.float64)
        if metric not in curve.values:
            names = ", ".join(curve.values) or "nothing"
            raise UsageError(f"the blackbox must return the metric {metric!r}; got {names}")
        columns = [np.asarray(v, dtype=np.float64) for v in curve.values.values()]
        if seconds.ndim != 1 or not len(seconds) or any(c.shape != seconds.shape for c in columns):
            shapes = [c.shape for c in columns]
            raise UsageError(
                f"a curve must have one number a level of its seconds, shape {seconds.shape}, and "
                f"of each metric; got {shapes}"
            )
        self.levels = len(seconds)
        self.seconds: list[float] = [0.0, *seconds.tolist()]
        # NaN fails every comparison; of an increasing sequence only the last can be infinite.
        if self.seconds[-1] == inf or not all(map(lt, self.seconds, self.seconds[1:])):
            raise UsageError(f"a curve's seconds must be above 0 and increase; got {seconds}")
        self.names = list(curve.values)
        self.values: list[list[float]] = [c.tolist() for c in columns]
        self.source = curve.source

    def slowed(self, factor: float) -> "_Replay":
        """Return the same curve on a worker that takes `factor` times as long."""
        other = copy(self)
        other.seconds = [s * factor for s in self.seconds]
        return other

    def metrics(self, level: int) -> dict[str, float]:
        """Return the metrics after `level` levels."""
        return {n: v[level - 1] for n, v in zip(self.names, self.values, strict=True)}


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
        self._metric = metric
        self._draws = AttemptDraws(seed)
        self._seed = seed
        self._training_seed = training_seed
        self._price = profile.price(profile.instance_type or instance_type)
        self._heap: list[tuple[float, int, int, _Attempt | None]] = []
        self._running: dict[int, _Attempt] = {}
        # A command takes effect within the instant, perhaps before the instant's other events.
        self._one_by_one = profile.stop_delay == 0 and profile.report_delay == 0
        self._started = 0
        self._entries = 0
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
            self._push(clock(), 0, None)

    async def start(self, order: Order) -> None:
        """Start an attempt."""
        running = self._running.get(order.trial)
        if running is None or running.attempt != order.attempt:
            self._schedule(self._begin(order, self._clock()))

    async def pause(self, trial: int, attempt: int) -> None:
        """Ask an attempt to save a checkpoint and end."""
        self._halt(trial, attempt, "paused", self._clock())

    async def stop(self, trial: int, attempt: int) -> None:
        """Ask an attempt to end."""
        self._halt(trial, attempt, "ended", self._clock())

    async def discard(self, trial: int) -> None:
        """Nothing to do: a simulated checkpoint takes no room."""

    async def recover(self, expected: Sequence[Expected]) -> Mapping[tuple[int, int], Fate]:
        """Work out again what the attempts of an earlier process were doing."""
        for item in expected:
            order = item.order
            entry = self._begin(order, item.time)
            entry.told = item.running
            entry.level = entry.from_level + item.reports
            self._schedule(entry)
            for command, time in item.commands:
                fate: Terminal = "paused" if command == "pause" else "ended"
                self._halt(order.trial, order.attempt, fate, time)
        return {(item.order.trial, item.order.attempt): "running" for item in expected}

    def ready(self) -> bool:
        """Return whether events of the present instant are waiting."""
        heap = self._heap
        while heap and heap[0][3] is not None and heap[0][3].dead:
            heappop(heap)
        return bool(heap) and heap[0][0] <= self._loop.time()

    async def events(self, until: float) -> Sequence[Event]:
        """Move the clock to the next events, or to `until`, and return them.

        The events of one instant come in the order in which their attempts were started,
        however many batches they come in, so that a restart amid an instant changes nothing.
        """
        heap, loop = self._heap, self._loop
        while True:
            while heap and heap[0][3] is not None and heap[0][3].dead:
                heappop(heap)
            due = heap[0][0] if heap else inf
            target = min(due, until)
            if target == inf:
                raise DeadlockError(f"no trial will ever report again; {self._describe()}")
            if target <= loop.time() or loop.try_advance(target):
                break
            await self._let_others_run(target)
        now = loop.time()
        batch: list[Event] = []
        while heap and heap[0][0] <= now:
            time, _, _, attempt = heappop(heap)
            if attempt is None:
                capacity = self._profile.capacity
                assert capacity is not None  # noqa: S101 - only then is there such an entry
                batch.append(CapacityChanged(time, capacity, "capacity of the cluster"))
            elif not attempt.dead:
                batch.append(self._next_event(time, attempt))
                if self._one_by_one:
                    break
        return batch

    async def aclose(self, *, leave_running: bool) -> None:
        """Forget everything."""
        del leave_running  # nothing of a simulation can go on by itself
        self._heap.clear()
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
        return _Replay(self._blackbox.curve({**self._constants, **config}, seed), self._metric)

    def _begin(self, order: Order, now: float) -> _Attempt:
        """Work out how an attempt will go that is started at `now`."""
        profile, trial = self._profile, order.trial
        self._started += 1
        entry = _Attempt(self._started, trial, order.attempt, order.from_resource, order.until)
        entry.curve = curve = self._curve(trial, order.config)
        delay = self._startup(order, now)
        if profile.random:
            normal, uniform, to_failure, to_preemption = self._draws.draw(trial, order.attempt)
            delay *= exp(profile.startup_spread * normal)
            if uniform < profile.straggler_probability:
                entry.curve = curve = curve.slowed(profile.straggler_factor)
        entry.last = last = min(order.until, curve.levels)
        entry.begun = now + delay
        entry.billed_from = entry.begun - profile.billed_startup * delay
        entry.end = entry.begun + (curve.seconds[last] - curve.seconds[entry.from_level])
        entry.fate = "ended" if last >= curve.levels else "paused"
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
            entry.last = self._level_at(entry, time)
            entry.end = time
            entry.fate = fate

    def _startup(self, order: Order, now: float) -> float:
        """Return the median start-up delay, which is shorter on a worker that is still warm."""
        profile, since = self._profile, order.slot_free_since
        if since is not None and now - since <= profile.keep_alive:
            return profile.warm_startup_delay
        return profile.startup_delay

    def _level_at(self, entry: _Attempt, time: float) -> int:
        """Return the last level that the attempt has finished at `time`."""
        seconds = entry.curve.seconds
        elapsed = time - entry.begun + seconds[entry.from_level]
        level = entry.from_level
        while level < entry.last and seconds[level + 1] <= elapsed:
            level += 1
        return level

    def _halt(self, trial: int, attempt: int, fate: Terminal, now: float) -> None:
        """Carry out a command to pause or stop."""
        entry = self._running.get(trial)
        if entry is None or entry.attempt != attempt or entry.end <= now:
            return
        entry.dead = True  # its heap entry goes stale; a successor takes over
        successor = _Attempt(entry.number, trial, attempt, entry.from_level, entry.until)
        successor.curve = entry.curve
        successor.told, successor.level = entry.told, entry.level
        successor.begun, successor.billed_from = entry.begun, entry.billed_from
        successor.end, successor.fate = now, fate
        successor.last = max(entry.level, self._level_at(entry, now))
        self._running[trial] = successor
        self._schedule(successor)

    def _schedule(self, entry: _Attempt) -> None:
        """Put the attempt's next event on the heap."""
        profile = self._profile
        if not entry.told and entry.begun <= entry.end:
            time = entry.begun
        elif entry.level < entry.last:
            seconds = entry.curve.seconds
            time = entry.begun + (seconds[entry.level + 1] - seconds[entry.from_level])
            time += profile.report_delay
        else:
            time = entry.end + max(profile.stop_delay, profile.report_delay)
        self._push(time, entry.number, entry)

    def _push(self, time: float, number: int, entry: _Attempt | None) -> None:
        self._entries += 1
        heappush(self._heap, (time, number, self._entries, entry))

    def _next_event(self, time: float, entry: _Attempt) -> Event:
        """Return the attempt's event that is due now, and put its next one on the heap."""
        trial, attempt = entry.trial, entry.attempt
        if not entry.told and entry.begun <= entry.end:
            entry.told = True
            self._schedule(entry)
            return Started(time, trial, attempt)
        cost = max(0.0, time - entry.billed_from) * self._price
        if entry.level < entry.last:
            entry.level += 1
            level, curve = entry.level, entry.curve
            index = level - entry.from_level - 1
            source = "" if curve.source is None else curve.source[level - 1]
            self._schedule(entry)
            return Report(time, trial, attempt, index, level, curve.metrics(level), cost, source)
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
