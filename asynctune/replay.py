"""Restart: drive a fresh ledger through a journal, and say what was under way at its end.

The ledger goes through the same calls as in the live tuner, and must answer each as it did
then; where it does not, the journal belongs to another experiment or another version.
"""

from collections.abc import Iterable
from sys import maxsize
from typing import NamedTuple

from asynctune.exceptions import IllegalEventError, JournalError
from asynctune.journal import (
    Line,
    event_line,
    launch_line,
    line_event,
    line_proposal,
    promise_line,
    request_line,
)
from asynctune.ledger import Launch, Ledger, Promise
from asynctune.orders import Expected, Order
from asynctune.schedulers.base import Propose
from asynctune.searchers.base import NO_SNAPSHOT, Snapshot
from asynctune.stopping import StoppingCriterion
from asynctune.trial import State


class Request(NamedTuple):
    """A proposal that was asked for and is not in the journal, when, and what it may depend on."""

    k: int
    snapshot: Snapshot
    time: float


class Replayed(NamedTuple):
    """Where a journal ends.

    Attributes:
        time: Time of the last line.
        idle: Idle workers by reason, as last written.
        expected: Attempts under way, in the order of their start.
        request: The proposal under way, or None.
        finished: Why the experiment ended, or None if it did not.
        filling: Whether the last line was written while free workers were given something to
            do, which must then be brought to its end before further events are looked at.
    """

    time: float
    idle: dict[str, int]
    expected: tuple[Expected, ...]
    request: Request | None
    finished: str | None
    filling: bool


class _Attempt:
    """What the journal says of the latest attempt of a trial."""

    __slots__ = ("commands", "order", "running", "time")

    def __init__(self, order: Order, time: float) -> None:
        self.order = order
        self.time = time
        self.running = False
        self.commands: list[tuple[str, float]] = []


class _Replay:
    def __init__(self, ledger: Ledger, *, needs_data: bool) -> None:
        self.ledger = ledger
        self.needs_data = needs_data
        self.time = 0.0
        self.idle: dict[str, int] = {}
        self.request: Request | None = None
        self.finished: str | None = None
        self.filling = False
        self.attempts: dict[int, _Attempt] = {}

    def take(self, line: Line) -> None:
        """Take one line."""
        self.time = max(self.time, line["t"])
        self.filling = True
        match line["event"]:
            case "proposal_requested":
                self._request(line)
            case "proposal_ready":
                if "seen" in line:  # it was answered at once
                    self._ask(line)
                self.ledger.accept(line_proposal(line))
                self.request = None
            case "start" | "promise":
                self._step(line)
            case "stop":
                self.filling = False
                if not self.ledger.stop(line["trial"], line["t"]):
                    raise _mismatch(line, "a trial that cannot be stopped")
                self.attempts[line["trial"]].commands.append(("stop", line["t"]))
            case "idle":
                self.idle = line["workers"]
            case "finished":
                self.finished = line["reason"]
                self.ledger.end(line["reason"])
            case "bounds":
                self.filling = False
                self.finished = None
                self.ledger.set_bounds(StoppingCriterion(**line["stopping"]))
            case _:
                self.filling = False
                self._event(line)

    def _request(self, line: Line) -> None:
        k = self._ask(line)
        snapshot = self.ledger.scheduler.snapshot() if self.needs_data else NO_SNAPSHOT
        self.request = Request(k, snapshot, line["t"])

    def _ask(self, line: Line) -> int:
        """Take a request for a proposal, and return the proposal's number."""
        ahead = line.get("ahead", False)
        # Whoever wrote the line may have held more proposals in stock than is wanted now.
        step = self.ledger.scheduler.ahead(maxsize) if ahead else self.ledger.next(line["t"])
        if not isinstance(step, Propose):
            raise _mismatch(line, step)
        k, seen = step
        if line["k"] != k or line["seen"] != seen:
            raise _mismatch(line, request_line(line["t"], k, seen, ahead=ahead))
        return k

    def _step(self, line: Line) -> None:
        step = self.ledger.next(line["t"])
        if isinstance(step, Launch):
            _check(line, launch_line(line["t"], step, line.get("ready")))
            self.attempts[step.order.trial] = _Attempt(step.order, line["t"])
        elif isinstance(step, Promise):
            _check(line, promise_line(line["t"], step))
        else:
            raise _mismatch(line, step)

    def _event(self, line: Line) -> None:
        event = line_event(line)
        if event is None:
            raise JournalError(f"no such line is known in a journal: {line}")
        seen = self.ledger.observe(event)
        if seen is None:
            raise JournalError(f"the journal holds an event twice: {line}")
        _check(line, event_line(event, seen))
        attempt = self.attempts.get(line.get("trial", -1))
        if attempt is None:
            return
        attempt.running = True
        if seen.decision is not None and seen.decision.action in ("pause", "stop"):
            attempt.commands.append((seen.decision.action, line["t"]))

    def expected(self) -> tuple[Expected, ...]:
        """Return the attempts that are under way."""
        found = []
        for number in self.ledger.busy:
            trial, attempt = self.ledger.trials[number], self.attempts[number]
            running = attempt.running and trial.state is not State.STARTING
            commands = tuple(attempt.commands)
            found.append(Expected(attempt.order, attempt.time, running, trial.reports, commands))
        return tuple(found)


def replay(ledger: Ledger, lines: Iterable[Line], *, needs_data: bool = True) -> Replayed:
    """Drive a fresh ledger through the lines of a journal.

    Args:
        ledger: A ledger of the same experiment in which nothing has happened yet.
        lines: The journal's lines after the header.
        needs_data: Whether the searcher's proposals depend on more than their number.

    Raises:
        JournalError: If the ledger answers otherwise than the journal says.
    """
    state = _Replay(ledger, needs_data=needs_data)
    for line in lines:
        try:
            state.take(line)
        except (LookupError, TypeError, ValueError, IllegalEventError) as error:
            raise JournalError(f"the journal has a line that cannot be: {line}") from error
    return Replayed(
        state.time, state.idle, state.expected(), state.request, state.finished, state.filling
    )


def _check(line: Line, again: Line) -> None:
    if line != again:
        raise _mismatch(line, again)


def _mismatch(line: Line, again: object) -> JournalError:
    return JournalError(
        "the journal was written by another experiment or version; "
        f"it says {line}, where replaying it gives {again}"
    )
