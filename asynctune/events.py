"""What can happen to an experiment: events from the backend, and why they happened.

All times are seconds since the experiment's start. Events are immutable values; the
backend makes them, the ledger alone interprets them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Cause(StrEnum):
    """Why an attempt failed. Each cause has a retry budget of its own."""

    USER_ERROR = "user_error"  # the training script's own fault: it would fail again
    INFRASTRUCTURE = "infrastructure"  # the machine's fault: try again elsewhere
    PREEMPTION = "preemption"  # the machine was taken away, as spot capacity is
    TIMEOUT = "timeout"  # no report for too long, or longer than the trial may take


class Started(NamedTuple):
    """An attempt is running now, where before it was only asked for."""

    time: float
    trial: int
    attempt: int


class Report(NamedTuple):
    """A trial's report.

    Attributes:
        time: When the tuner learnt of it.
        trial: Number of the trial.
        attempt: Number of the attempt, from 0.
        index: Number of the report within the attempt, from 0, without gaps.
        resource: Resource level that the metrics were measured at.
        metrics: Metrics by name, as reported; NaN and infinities are allowed.
        cost: US dollars that this attempt has cost so far.
        source: Where a simulated report comes from ("recorded", "surrogate" ...), else "".
        seconds: How long the attempt had trained for when its script reported, which the tuner
            may have learnt later; None where `time` tells.
    """

    time: float
    trial: int
    attempt: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    resource: int
    metrics: Mapping[str, float]
    cost: float = 0.0
    source: str = ""
    seconds: float | None = None


class Paused(NamedTuple):
    """An attempt is over and the trial can go on later from `resource`, which is checkpointed."""

    time: float
    trial: int
    attempt: int
    resource: int
    cost: float = 0.0


class Ended(NamedTuple):
    """An attempt is over in order: the trial finished by itself, or was stopped as asked."""

    time: float
    trial: int
    attempt: int
    cost: float = 0.0


class Failed(NamedTuple):
    """An attempt is over because something went wrong.

    `resource` is the level from which a next attempt can go on (0: from scratch).
    """

    time: float
    trial: int
    attempt: int
    cause: Cause
    message: str
    resource: int = 0
    cost: float = 0.0


class CapacityChanged(NamedTuple):
    """The backend can run `n` attempts at once from now on."""

    time: float
    n: int
    reason: str


class CheckpointRemoved(NamedTuple):
    """A trial's checkpoint of so many bytes had to make room: it could go on from scratch only."""

    time: float
    trial: int
    size: int


TrialEvent = Started | Report | Paused | Ended | Failed
Event = TrialEvent | CapacityChanged | CheckpointRemoved
