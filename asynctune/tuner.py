"""The tuner: the event loop between one scheduler and one backend.

It is the only place where the two meet, and it does not know whether time is real. All
decisions are made by the ledger; the tuner carries them out, and writes every fact into the
journal before anything follows from it.

The invariant: at the end of every instant each worker is busy, has a proposal on its way, or
is idle for a reason that stands in the journal.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, NamedTuple

import anyio

from asynctune.backends.base import DONE, Backend, Clock
from asynctune.events import Event, Report
from asynctune.journal import (
    JournalWriter,
    Line,
    event_line,
    launch_line,
    promise_line,
    proposal_line,
    request_line,
    stop_line,
)
from asynctune.ledger import WENT_ON, Launch, Ledger, Promise
from asynctune.proposer import Proposer
from asynctune.replay import Replayed
from asynctune.schedulers.base import Propose, Wait, WaitReason
from asynctune.searchers.base import NO_SNAPSHOT, Proposal

Observer = Callable[[Ledger, float], None]


class Outcome(NamedTuple):
    """How an experiment ended.

    Attributes:
        reason: What ended it: the name of a bound of the stopping criterion, "exhausted",
            "max_failures", or "requested".
        time: Seconds since the experiment's start.
    """

    reason: str
    time: float


class TrialHandle:
    """A trial as a future: ``await handle`` returns its result when no attempt will follow."""

    def __init__(self, tuner: "Tuner", trial: int) -> None:
        self._tuner = tuner
        self.trial = trial

    @property
    def done(self) -> bool:
        """Whether the trial is over."""
        trials = self._tuner.ledger.trials
        return self.trial < len(trials) and trials[self.trial].finished

    async def stop(self) -> bool:
        """Stop the trial by hand; False if it is not running, or being stopped already."""
        return await self._tuner.stop_trial(self.trial)

    def __await__(self) -> Generator[Any, Any, str]:
        """Wait for the trial's end and return its final state, such as "ended"."""
        return self._tuner.wait_for(self.trial).__await__()


class Tuner:
    """Runs one experiment.

    Args:
        ledger: The experiment's state.
        backend: Runs the trials.
        journal: Takes down every fact.
        proposer: Computes proposals.
        clock: Seconds since the experiment's start.
        lookahead: Number of proposals to hold in stock beyond what free workers need.
        observer: Called after every instant, for a display; it must not change anything.
        replayed: What a restart learnt from the journal, if this is one.
    """

    def __init__(
        self,
        ledger: Ledger,
        backend: Backend,
        journal: JournalWriter,
        proposer: Proposer,
        clock: Clock,
        *,
        lookahead: int = 0,
        observer: Observer | None = None,
        replayed: Replayed | None = None,
    ) -> None:
        self.ledger = ledger
        self._backend = backend
        self._journal = journal
        self._proposer = proposer
        proposer.connect(self.wake)
        self._clock = clock
        self._lookahead = lookahead
        self._observer = observer
        self._replayed = replayed
        self._deadline = ledger.stopping.max_wallclock_time
        self._now = 0.0
        self._idle: dict[str, int] = {}
        self._asked = False  # whether a proposal is on its way
        self._wait_scope: anyio.CancelScope | None = None
        self._woken = False
        self._closed = False
        self._requested_end: str | None = None
        # Whether every instant is to be looked at, although all workers are busy.
        self._attentive = True
        self._waiters: dict[int, anyio.Event] = {}

    def trial(self, number: int) -> TrialHandle:
        """Return a handle that can be awaited for the trial's end; the trial may be yet to come."""
        return TrialHandle(self, number)

    async def wait_for(self, number: int) -> str:
        """Wait until a trial is over, and return its final state."""
        while not self.trial(number).done:
            if self._closed or self.ledger.ended is not None:
                break
            event = self._waiters.setdefault(number, anyio.Event())
            await event.wait()
        trials = self.ledger.trials
        return str(trials[number].state) if number < len(trials) else "never started"

    async def stop_trial(self, number: int) -> bool:
        """Stop a running trial by hand; False if it is not running, or being stopped already."""
        now = max(self._now, self._clock())
        if not self.ledger.stop(number, now):
            return False
        attempt = self.ledger.trials[number].attempt
        self._journal.append(stop_line(now, number, attempt))
        self._journal.commit()
        await self._backend.stop(number, attempt)
        return True

    def request_end(self, reason: str = "requested") -> None:
        """End the experiment once the instant at hand is dealt with; in virtual time, the next."""
        self._requested_end = reason
        self._attentive = True
        self.wake()

    def wake(self) -> None:
        """Interrupt the wait for events, because something else is to be done."""
        self._woken = True  # the wait may be yet to come
        if self._wait_scope is not None:
            self._wait_scope.cancel()

    async def run(self) -> Outcome:
        """Run the experiment to its end.

        Cancelling it leaves a journal from which the same experiment goes on.
        """
        await self._backend.open(self._clock)
        over = False
        try:
            if self._replayed is not None:
                await self._recover(self._replayed)
            outcome = await self._loop()
            over = True
            return outcome
        finally:
            self._closed = True
            for event in self._waiters.values():
                event.set()
            try:
                self._journal.commit()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._backend.aclose(leave_running=not over)

    async def _recover(self, replayed: Replayed) -> None:
        """Take up the experiment where its journal ends."""
        self._now = replayed.time
        self._idle = replayed.idle
        fates = await self._backend.recover(replayed.expected)
        for expected in replayed.expected:
            # The backend never heard of it: the command was written down and not carried out.
            order = expected.order
            if fates[order.trial, order.attempt] == "unknown":
                await self._backend.start(order)
        if replayed.request is not None:
            self._asked = True
            proposal = self._proposer.request(*replayed.request)
            if proposal is not None:
                self._accept(proposal, 0.0)

    async def _loop(self) -> Outcome:  # noqa: C901 - one piece, as every event passes through it
        ledger, backend, journal = self.ledger, self._backend, self._journal
        busy, n_workers = ledger.busy, ledger.n_workers
        observer, durable = self._observer, journal.durable
        filling = self._replayed is not None and self._replayed.filling
        batch: Sequence[Event] = ()
        reason = ledger.ended
        while True:
            for event in batch:
                if (command := self._take(event)) is not DONE:
                    await command
                if (reason := ledger.ended) is not None:
                    break
            until = self._deadline
            due = len(busy) < n_workers or self._attentive or self._now >= until
            if due and reason is None:
                # Whatever happens at this instant comes before anything new is started at it.
                batch = () if filling else backend.poll(self._now)
                if batch:
                    continue
                reason = self._requested_end
                if reason is None and self._now >= self._deadline:
                    reason = "max_wallclock_time"
                if reason is None:
                    for launch in self._fill():
                        if (command := backend.start(launch.order)) is not DONE:
                            await command
                    reason = ledger.ended
                until = self._until()
                self._attentive = bool(
                    self._asked or self._idle or self._lookahead or self._requested_end
                )
            filling = False
            if reason is not None:
                return self._end(reason)
            if durable:
                journal.commit()
            if observer is not None:
                observer(ledger, self._now)
            batch = () if self._woken else backend.poll(until)
            if not batch:
                batch = await self._wait(until)

    def _until(self) -> float:
        """Return when something is due besides events."""
        until, ledger = self._deadline, self.ledger
        # A retry that is due while no worker is free must not be waited for: its time is past.
        if (retry := ledger.next_due()) < until and ledger.free > 0:
            until = retry
        return min(until, self._proposer.due()) if self._asked else until

    async def _wait(self, until: float) -> Sequence[Event]:
        """Wait for events, at most until something else is due."""
        if self._woken:
            self._woken = False
            self._now = max(self._now, min(self._clock(), self._deadline))
            return ()
        if self._backend.virtual_time and not self._proposer.wakes:
            batch = await self._backend.events(until)
        else:
            batch = ()
            with anyio.CancelScope() as self._wait_scope:
                batch = await self._backend.events(until)
            self._wait_scope = None
            self._woken = False
        if not batch:
            self._now = max(self._now, min(self._clock(), until))
        return batch

    def _take(self, event: Event) -> Awaitable[None]:
        """Take an event, and return the command that was decided on, to be awaited."""
        time = event.time
        if time > self._now:
            self._now = min(time, self._deadline)
            if time > self._deadline:
                return DONE  # by then the experiment was over
        ledger = self.ledger
        seen = ledger.report(event) if isinstance(event, Report) else ledger.observe(event)
        if seen is None:
            return DONE
        self._journal.append(event_line(event, seen))
        if seen is WENT_ON:
            return DONE
        command = DONE
        decision = seen.decision
        if decision is not None:
            if decision.action == "pause":
                self._journal.commit()
                command = self._backend.pause(event.trial, event.attempt)  # type: ignore[union-attr]
            elif decision.action == "stop":
                self._journal.commit()
                command = self._backend.stop(event.trial, event.attempt)  # type: ignore[union-attr]
        elif seen.discard:
            command = self._backend.discard(event.trial)  # type: ignore[union-attr]
        if self._waiters:
            self._tell_waiters(event)
        return command

    def _tell_waiters(self, event: Event) -> None:
        number = getattr(event, "trial", -1)
        if number in self._waiters and self.ledger.trials[number].finished:
            self._waiters.pop(number).set()

    def _fill(self) -> Sequence[Launch]:
        """Find every free worker something to do, or note why there is nothing.

        Returns what is to be started, which the journal has. It may come out that the experiment
        is over.
        """
        ledger, journal = self.ledger, self._journal
        if self._asked:
            self._accept_if_ready()
        launches: list[Launch] = []
        reason: WaitReason = "quota"
        now, free = self._now, ledger.free
        while free > 0:
            step = ledger.next(now)
            if isinstance(step, Launch):
                ready = self._backend.ready_at(step.order)
                journal.append(launch_line(now, step, ready))
                launches.append(step)
                free -= 1
            elif isinstance(step, Promise):
                journal.append(promise_line(now, step))
            elif isinstance(step, Propose):
                self._propose(step, ahead=False)
            else:
                reason = step.reason if isinstance(step, Wait) else "exhausted"
                if not ledger.busy and reason in ("draining", "exhausted"):
                    ledger.end("max_trials" if reason == "draining" else reason)
                break
        if self._lookahead and (ahead := ledger.scheduler.ahead(self._lookahead)) is not None:
            self._propose(ahead, ahead=True)
        self._note_idle(reason)
        if launches:
            journal.sync()
        return launches

    def _note_idle(self, reason: WaitReason) -> None:
        """Note why workers are idle, if that has changed; `reason` is the free ones'."""
        if len(self.ledger.busy) == self.ledger.n_workers and not self._idle:
            return
        idle = self.ledger.idle_reasons(reason)
        if idle != self._idle:
            self._idle = idle
            self._journal.append({"t": self._now, "event": "idle", "workers": idle})

    def _propose(self, step: Propose, *, ahead: bool) -> None:
        """Ask for a proposal; one that needs no time is there at once, and in the same line."""
        proposer, now = self._proposer, self._now
        snapshot = self.ledger.scheduler.snapshot() if proposer.needs_data else NO_SNAPSHOT
        request = request_line(now, step.k, step.seen, ahead=ahead)
        proposal = proposer.request(step.k, snapshot, now)
        if proposal is None:
            self._asked = True
            self._journal.append(request)
            self._accept_if_ready()
        else:
            self._accept(proposal, 0.0, request)

    def _accept_if_ready(self) -> None:
        ready = self._proposer.take(self._now)
        if ready is not None:
            self._accept(ready.proposal, ready.cost)

    def _accept(self, proposal: Proposal, cost: float, request: Line | None = None) -> None:
        """Take a proposal; `request` is what asked for it, unless the journal has that already."""
        self._asked = False
        self.ledger.accept(proposal)
        self._journal.append(proposal_line(self._now, proposal, cost, request))

    def _end(self, reason: str) -> Outcome:
        """End the experiment, on record."""
        self.ledger.end(reason)
        self._journal.append({"t": self._now, "event": "finished", "reason": reason})
        self._journal.sync()
        if self._observer is not None:
            self._observer(self.ledger, self._now)
        return Outcome(reason, self._now)
