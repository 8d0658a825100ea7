"""The ledger: all that is known of an experiment, and the one place where it changes.

It stands between the scheduler, which knows trials, and the tuner, which talks to a backend:
it numbers attempts and workers, classifies reports (new, repeated, late), keeps each cause
of failure within its budget, and counts what the stopping criterion looks at. It is pure: no
IO, no clock. The live tuner and a restart from the journal drive it through the same calls.
"""

from heapq import heappop, heappush
from math import inf
from typing import Any, Final, Literal, NamedTuple

from asynctune.events import (
    CapacityChanged,
    Cause,
    CheckpointRemoved,
    Ended,
    Event,
    Failed,
    Paused,
    Report,
    Started,
    TrialEvent,
)
from asynctune.exceptions import IllegalEventError, UsageError
from asynctune.orders import Order
from asynctune.schedulers.base import (
    CONTINUE,
    Decision,
    Exhausted,
    Propose,
    Resume,
    RungEntry,
    Scheduler,
    Start,
    Wait,
    WaitReason,
)
from asynctune.searchers.base import Proposal
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.trial import BUSY, TRANSITIONS, State, Trial


class Launch(NamedTuple):
    """Command: start an attempt. `why` is set where the trial was promoted."""

    order: Order
    why: RungEntry | None = None


class Promise(NamedTuple):
    """A trial was promoted whose pause is not confirmed yet: it goes on as soon as it is."""

    trial: int
    until: int
    why: RungEntry


class Seen(NamedTuple):
    """What became of an event.

    Attributes:
        status: "running", "late" or "repeated" for a report; the trial's new state otherwise.
        decision: The scheduler's decision on a new report, else None.
        discard: Whether the trial's checkpoint is not wanted any more.
    """

    status: str
    decision: Decision | None = None
    discard: bool = False


WENT_ON: Final = Seen("running", CONTINUE)
"""What becomes of most reports: nothing more."""

Step = Launch | Promise | Propose | Wait | Exhausted

_MOST_DOUBLINGS: Final = 30  # of a back-off; a thousand would be no number any more
# Enum members are slow to reach through their class, where it is done for every report.
_STARTING: Final = State.STARTING
_RUNNING: Final = State.RUNNING
_PAUSED: Final = State.PAUSED
_FAILED: Final = State.FAILED
_HALTING: Final = frozenset({State.PAUSING, State.STOPPING})
_WORDS: Final = {kind: kind.__name__.lower() for kind in (Started, Paused, Ended, Failed)}
_SEEN: Final = {state: Seen(state) for state in State}
_REPEATED: Final = Seen("repeated")
_LATE: Final = Seen("late")
_STATE_AFTER: Final = {"pause": State.PAUSING, "stop": State.STOPPING}


class Ledger:
    """The state of one experiment.

    Args:
        scheduler: Decides on trials.
        n_workers: Number of workers; fewer are used while the backend's capacity is lower.
        metric: Name of the metric that is optimised.
        mode: "min" or "max".
        max_resource: Resource level at which a trial is complete.
        stopping: When the experiment is over.
        retries: Retry budgets.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        n_workers: int,
        metric: str,
        mode: Literal["min", "max"],
        max_resource: int,
        stopping: StoppingCriterion,
        retries: RetryPolicy | None = None,
    ) -> None:
        if n_workers < 1:
            raise UsageError(f"n_workers must be at least 1; got {n_workers}")
        if mode not in ("min", "max"):
            raise UsageError(f"mode must be min or max; got {mode!r}")
        self.scheduler = scheduler
        self.metric = metric
        self.mode = mode
        self.max_resource = max_resource
        self.retries = retries or RetryPolicy()
        self.n_workers = n_workers
        self.capacity = n_workers
        self.trials: list[Trial] = []
        self.busy: dict[int, None] = {}  # trials that hold a worker, in the order of their start
        self.reports = 0
        self.resource_total = 0
        self.cost = 0.0
        self.busy_seconds = 0.0
        self.failed = 0
        self.best_value = inf  # signed: smaller is better
        self.best_trial: int | None = None
        self._sign = 1.0 if mode == "min" else -1.0
        # Of all trials' changes of state, in order: the trial, the time, the state. There can be
        # millions, and a plain list is the quickest to add to.
        self._changes: list[Any] = []
        self._free = list(range(n_workers))
        self._free_since: list[float | None] = [None] * n_workers
        self._due: list[tuple[float, int]] = []  # trials to be tried again, and when
        self.ended: str | None = None  # why the experiment is over, or None while it goes on
        self.set_bounds(stopping)

    @property
    def free(self) -> int:
        """Number of workers that could start an attempt now."""
        return min(self.n_workers, self.capacity) - len(self.busy)

    @property
    def best_metric(self) -> float | None:
        """Best finite value of the metric so far, as reported; None if there is none."""
        return None if self.best_trial is None else self._sign * self.best_value

    def next(self, now: float) -> Step:
        """Say what a free worker should do at time `now`, and take it as done."""
        if self._due and self._due[0][0] <= now:
            return self._launch(self.trials[heappop(self._due)[1]], now)
        limit = self.stopping.max_trials
        new = limit is None or len(self.trials) < limit
        action = self.scheduler.next(new=new)
        if isinstance(action, Start):
            trial = Trial(action.trial, action.until)
            self.trials.append(trial)
            return self._launch(trial, now)
        if isinstance(action, Resume):
            trial = self.trials[action.trial]
            trial.until = action.until
            trial.held = False
            if trial.state is _PAUSED:
                trial.state = State.QUEUED
                return self._launch(trial, now, action.why)
            return Promise(*action)
        if self._due and not isinstance(action, Propose):
            return Wait("back-off")
        return Wait("draining") if isinstance(action, Exhausted) and not new else action

    def next_due(self) -> float:
        """Return when the next retry is due; inf if none is waiting."""
        return self._due[0][0] if self._due else inf

    def accept(self, proposal: Proposal) -> None:
        """Take a proposal that was asked for."""
        self.scheduler.accept(proposal)

    def observe(self, event: Event) -> Seen | None:
        """Take an event.

        Returns:
            What became of it, or None if it had been delivered before and is to be ignored.

        Raises:
            IllegalEventError: If the event cannot happen in the trial's state; nothing changed.
            UsageError: If a report lacks the metric that is optimised; nothing changed.
        """
        if isinstance(event, Report):
            return self.report(event)
        if isinstance(event, CapacityChanged):
            if event.n == self.capacity:
                return None
            self.capacity = event.n
            return Seen(f"capacity {event.n}")
        if isinstance(event, CheckpointRemoved):
            self.trials[event.trial].checkpoint = 0
            return Seen("removed")
        number, trials = event.trial, self.trials
        trial = trials[number] if -1 < number < len(trials) else self._known(event)
        if event.attempt != trial.attempt:
            self._known(event)  # an attempt that was never started is an error, an old one is not
            return None
        return self._change(event, trial) if trial.state in BUSY else None

    def report(self, event: Report) -> Seen | None:  # noqa: C901 - one piece, as it runs so often
        """Take a report, as `observe` does."""
        time, number, attempt, index, resource, metrics, cost, _, _ = event
        trial = self.trials[number] if -1 < number < len(self.trials) else self._known(event)
        state = trial.state
        if attempt != trial.attempt or index != trial.reports or state not in BUSY:
            self._refuse(event)
            return None
        try:
            value = self._sign * metrics[self.metric]
        except KeyError:
            names = ", ".join(metrics) or "nothing"
            raise UsageError(
                f"a report must have the metric {self.metric!r}; got {names}"
            ) from None
        if state is _STARTING:
            self._enter(trial, _RUNNING, time)
        trial.reports = index + 1
        self.reports += 1
        self.cost += cost - trial.attempt_cost
        trial.attempt_cost = cost
        highest = trial.highest
        if state in _HALTING:
            seen = _LATE
        elif resource <= highest:
            seen = _REPEATED
        elif highest >= self.max_resource:
            seen = _LATE  # the trial is complete, and its script goes on all the same
        else:
            self.resource_total += resource - highest
            trial.highest = resource
            if not -inf < value < inf:
                value = inf  # recorded as it is, but it never wins
            elif value < self.best_value:
                self.best_value = value
                self.best_trial = number
            decision = self.scheduler.report(number, resource, value)
            if decision is CONTINUE:
                seen = WENT_ON
            else:
                seen = Seen("running", decision)
                after = _STATE_AFTER.get(decision.action)
                if after is not None:
                    trial.held = decision.action == "pause"
                    self._enter(trial, after, time)
        if self.reports >= self._unbounded_reports:
            self._check_bounds()
        return seen

    def stop(self, trial: int, now: float) -> bool:
        """Note that a running trial is to be stopped, not by the scheduler; False if it was."""
        entry = self.trials[trial]
        after = TRANSITIONS.get((entry.state, "stop"))
        if after is None:
            return False
        self._enter(entry, after, now)
        return True

    def end(self, reason: str) -> None:
        """Note that the experiment is over."""
        self.ended = self.ended or reason

    def set_bounds(self, stopping: StoppingCriterion) -> None:
        """Go on within these bounds, whether or not earlier ones have ended the experiment."""
        self.stopping = stopping
        self._max_evaluations = _bound(stopping.max_evaluations)
        self._max_resource_total = _bound(stopping.max_resource_total)
        self._max_cost = _bound(stopping.max_cost)
        wanted = stopping.metric_value
        self._wanted = -inf if wanted is None else self._sign * wanted
        # The number of reports from which on the bounds are looked at, after each of them.
        alone = self._max_resource_total == self._max_cost == -self._wanted == inf
        self._unbounded_reports = self._max_evaluations if alone else 0
        self.ended = None
        self._check_bounds()

    def idle_reasons(self, reason: WaitReason) -> dict[str, int]:
        """Return how many workers are idle for which reason, `reason` being the free ones'."""
        counts: dict[str, int] = {}
        free = self.free
        if free > 0:
            counts[reason] = free
        quota = self.n_workers - max(self.capacity, len(self.busy))
        if quota > 0:
            counts["quota"] = counts.get("quota", 0) + quota
        return counts

    def story(self, trial: int) -> tuple[str, ...]:
        """Return a trial's changes of state so far, one line each."""
        changes = self._changes
        return tuple(
            f"{state} at {time:.6g} s"
            for number, time, state in zip(changes[::3], changes[1::3], changes[2::3], strict=True)
            if number == trial
        )

    def _check_bounds(self) -> None:
        """End the experiment if one of its counts has come to its bound."""
        if self.reports >= self._max_evaluations:
            self.end("max_evaluations")
        elif self.resource_total >= self._max_resource_total:
            self.end("max_resource_total")
        elif self.cost >= self._max_cost:
            self.end("max_cost")
        elif self.best_value <= self._wanted:
            self.end("metric_value")

    def _known(self, event: TrialEvent) -> Trial:
        """Return the trial of an event, having checked that the attempt was ever started."""
        if not 0 <= event.trial < len(self.trials):
            raise IllegalEventError(f"no such trial was started: {event}", event.trial)
        trial = self.trials[event.trial]
        if event.attempt > trial.attempt:
            raise self._illegal(event, f"no such attempt was started: {event}")
        return trial

    def _illegal(self, event: TrialEvent, message: str) -> IllegalEventError:
        return IllegalEventError(message, event.trial, self.story(event.trial))

    def _enter(self, trial: Trial, state: State, now: float) -> None:
        trial.state = state
        self._changes += (trial.number, now, state)

    def _launch(self, trial: Trial, now: float, why: RungEntry | None = None) -> Launch:
        trial.attempt += 1
        # A pause that came late can have left a checkpoint beyond the next rung.
        if trial.checkpoint:
            trial.checkpoint = min(trial.checkpoint, self.max_resource)
            trial.until = min(max(trial.until, trial.checkpoint + 1), self.max_resource)
        trial.slot = slot = heappop(self._free)
        trial.reports = 0
        trial.since = now
        trial.attempt_cost = 0.0
        number = trial.number
        self.busy[number] = None
        self._enter(trial, _STARTING, now)  # it was queued
        config, free_since = self.scheduler.config(number), self._free_since[slot]
        order = Order(
            number, trial.attempt, slot, config, trial.checkpoint, trial.until, free_since
        )
        return Launch(order, why)

    def _refuse(self, event: Report) -> None:
        """Raise an error unless the report was delivered before."""
        trial = self._known(event)
        if event.attempt < trial.attempt or event.index < trial.reports:
            return
        busy = trial.state in BUSY
        wanted = f"a report {trial.reports}" if busy else "no report"
        raise self._illegal(event, f"{wanted} can come in state {trial.state}; got {event}")

    def _change(self, event: Started | Paused | Ended | Failed, trial: Trial) -> Seen:
        """Take an event that changes the state of a trial's running attempt."""
        word = _WORDS[type(event)]
        if isinstance(event, Started):
            self._enter(trial, TRANSITIONS[trial.state, word], event.time)
            return _SEEN[trial.state]
        if not trial.reports and self._achieved_nothing(event, trial):
            message = "it ended without any report"
            event = Failed(*event[:3], Cause.USER_ERROR, message, trial.checkpoint, event.cost)
            word = "failed"
        if trial.highest >= self.max_resource:
            word = "ended"  # all its results are in: how it comes to its end changes nothing
        after = TRANSITIONS[trial.state, word]
        self._release(trial, event.time, event.cost)
        self._enter(trial, after, event.time)
        if after is _PAUSED:
            trial.checkpoint = trial.highest if isinstance(event, Ended) else event.resource
            if not trial.held:  # promoted meanwhile, or paused by something else than the scheduler
                self._again(trial, event.time)
            return _SEEN[trial.state]
        if after is _FAILED:
            assert isinstance(event, Failed)  # noqa: S101 - no other event leads there
            return self._fail(trial, event)
        self._finish(trial, failed=False)
        return Seen(trial.state, discard=trial.highest < self.max_resource)

    def _achieved_nothing(self, event: Paused | Ended | Failed, trial: Trial) -> bool:
        """Return whether an attempt without reports ended as if in order, but all for nothing."""
        if trial.state in _HALTING:
            return False
        if isinstance(event, Ended):
            return not trial.highest
        return isinstance(event, Paused) and event.resource <= trial.checkpoint

    def _release(self, trial: Trial, time: float, cost: float) -> None:
        slot = trial.slot
        del self.busy[trial.number]
        heappush(self._free, slot)
        self._free_since[slot] = time
        trial.slot = -1
        self.busy_seconds += time - trial.since
        self.cost += cost - trial.attempt_cost
        trial.cost += cost
        trial.attempt_cost = 0.0
        if self.reports >= self._unbounded_reports:
            self._check_bounds()

    def _again(self, trial: Trial, due: float) -> None:
        """Queue another attempt of a trial, at time `due` or later."""
        trial.state = TRANSITIONS[trial.state, "queue"]
        heappush(self._due, (due, trial.number))

    def _fail(self, trial: Trial, event: Failed) -> Seen:
        if trial.failures is None:
            trial.failures = {}
        count = trial.failures[event.cause] = trial.failures.get(event.cause, 0) + 1
        if count <= getattr(self.retries, event.cause):
            delay = 0.0
            if event.cause is Cause.INFRASTRUCTURE:
                delay = self.retries.backoff * 2.0 ** min(count - 1, _MOST_DOUBLINGS)
            trial.checkpoint = event.resource
            self._again(trial, event.time + delay)
            return _SEEN[trial.state]
        self.failed += 1
        self._finish(trial, failed=True)
        if self.failed > self.retries.max_failures:
            self.end("max_failures")
        return Seen(trial.state, discard=True)

    def _finish(self, trial: Trial, *, failed: bool) -> None:
        trial.finished = True
        self.scheduler.finished(trial.number, failed=failed)


def _bound(x: float | None) -> float:
    return inf if x is None else x
