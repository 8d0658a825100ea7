"""A trial and its attempts: the states, and the table of what may happen in each.

An attempt goes from STARTING to RUNNING and then, by itself or on command, ends. PAUSING
and STOPPING are commands that have been given and not yet been confirmed: the worker is
still busy, and reports may still arrive. PAUSED and ENDED are confirmed: the worker is free.
QUEUED holds a trial that is to go on (promoted, or to be tried again) and waits for the
confirmation of its last attempt, or for its back-off.
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a trial's latest attempt."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    STOPPING = "stopping"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"


BUSY: Final = frozenset({State.STARTING, State.RUNNING, State.PAUSING, State.STOPPING})
"""States in which an attempt holds a worker."""

_S = State
TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    # commands
    (_S.QUEUED, "start"): _S.STARTING,
    (_S.STARTING, "pause"): _S.PAUSING,
    (_S.RUNNING, "pause"): _S.PAUSING,
    (_S.STARTING, "stop"): _S.STOPPING,
    (_S.RUNNING, "stop"): _S.STOPPING,
    (_S.PAUSING, "stop"): _S.STOPPING,
    (_S.PAUSED, "queue"): _S.QUEUED,
    (_S.FAILED, "queue"): _S.QUEUED,
    # what the backend tells; a first report says as well as `started` that it runs
    (_S.STARTING, "started"): _S.RUNNING,
    (_S.STARTING, "report"): _S.RUNNING,
    (_S.RUNNING, "report"): _S.RUNNING,
    (_S.PAUSING, "report"): _S.PAUSING,
    (_S.STOPPING, "report"): _S.STOPPING,
    (_S.RUNNING, "started"): _S.RUNNING,
    (_S.PAUSING, "started"): _S.PAUSING,
    (_S.STOPPING, "started"): _S.STOPPING,
    **{(s, "paused"): _S.PAUSED for s in (_S.STARTING, _S.RUNNING, _S.PAUSING)},
    (_S.STOPPING, "paused"): _S.ENDED,  # stopped while its pause was on the way
    **{(s, "ended"): _S.ENDED for s in (_S.STARTING, _S.RUNNING, _S.STOPPING)},
    (_S.PAUSING, "ended"): _S.PAUSED,  # asked to pause, it had just finished: what it did counts
    **{(s, "failed"): _S.FAILED for s in (_S.STARTING, _S.RUNNING)},
    (
        _S.PAUSING,
        "failed",
    ): _S.PAUSED,  # it had done what it was to do
    (_S.STOPPING, "failed"): _S.ENDED,
}
"""The state after each legal (state, event or command). Anything else is illegal."""


class Trial:
    """What is known of one trial; the ledger alone changes it.

    Attributes:
        number: The trial's number, which is also its proposal's.
        state: State of its latest attempt.
        attempt: Number of its latest attempt, from 0; -1 before the first.
        slot: The worker that it holds, or -1.
        reports: Reports that the latest attempt has delivered.
        highest: Highest resource level that it has reported.
        checkpoint: Resource level that a next attempt goes on from.
        until: Resource level at which the latest attempt is to end by itself.
        since: Time at which the latest attempt was started.
        cost: US dollars of all attempts that are over.
        attempt_cost: US dollars of the latest attempt as far as known.
        failures: Number of failed attempts by cause.
        finished: Whether no further attempt will be made.
        held: Whether the scheduler has paused it and not promoted it since.
    """

    __slots__ = (
        "attempt",
        "attempt_cost",
        "checkpoint",
        "cost",
        "failures",
        "finished",
        "held",
        "highest",
        "number",
        "reports",
        "since",
        "slot",
        "state",
        "until",
    )

    def __init__(self, number: int, until: int) -> None:
        self.number = number
        self.state = State.QUEUED
        self.attempt = -1
        self.slot = -1
        self.reports = 0
        self.highest = 0
        self.checkpoint = 0
        self.until = until
        self.since = 0.0
        self.cost = 0.0
        self.attempt_cost = 0.0
        self.failures: dict[str, int] | None = None
        self.finished = False
        self.held = False
