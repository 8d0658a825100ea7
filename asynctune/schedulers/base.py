"""What a scheduler is: a pure state machine that decides which trial starts, goes on, or ends.

A scheduler knows trials, not attempts: retries, slots, late and repeated reports are the
ledger's business, and reach no scheduler. Values are signed so that smaller is better;
a value that is not finite is handed over as ``inf``.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import Config

WaitReason = Literal["exhausted", "barrier", "proposal", "quota", "back-off", "draining"]
"""Why a worker is idle. The set is closed: an idle worker always has one of these."""


class RungEntry(NamedTuple):
    """What a rung said about a trial.

    Attributes:
        level: The rung's resource level.
        value: The trial's value there, signed so that smaller is better.
        entries: Number of entries of the rung at that time, the trial's own included.
        cutoff: The rung's cut-off at that time, or None where it had too few entries.
    """

    level: int
    value: float
    entries: int
    cutoff: float | None


class Decision(NamedTuple):
    """What is to become of a trial after its report."""

    action: Literal["continue", "pause", "stop", "complete"]
    why: RungEntry | None = None


CONTINUE: Final = Decision("continue")
COMPLETE: Final = Decision("complete")


class Start(NamedTuple):
    """Start proposal number `trial` as a new trial, to end by itself at resource `until`."""

    trial: int
    until: int


class Resume(NamedTuple):
    """Let a paused trial go on, to end by itself at resource `until`; `why` it was promoted."""

    trial: int
    until: int
    why: RungEntry


class Propose(NamedTuple):
    """Ask the searcher for proposal number `k`, given the first `seen` observations."""

    k: int
    seen: int


class Wait(NamedTuple):
    """Nothing can start now; something that is running may change that."""

    reason: WaitReason


class Exhausted(NamedTuple):
    """Nothing can start any more, whatever the running trials report."""


Action = Start | Resume | Propose | Wait | Exhausted


class Scheduler(Protocol):
    """The contract between the ledger and every scheduler.

    No method reads a clock, does IO or draws random numbers. `next` changes nothing when it
    answers `Wait` or `Exhausted`.
    """

    def next(self, *, new: bool = True) -> Action:
        """Say what a free worker should do, and take it as done.

        With `new` False no new trial is started: what has been started is brought to its end.
        """
        ...

    def ahead(self, lookahead: int) -> Propose | None:
        """Ask for a proposal in advance if fewer than `lookahead` are ready or on their way."""
        ...

    def snapshot(self) -> Snapshot:
        """Return what a proposal asked for now may depend on."""
        ...

    def accept(self, proposal: Proposal) -> None:
        """Take the proposal that was asked for."""
        ...

    def report(self, trial: int, resource: int, value: float) -> Decision:
        """Take a new report of a running trial, and decide on the trial."""
        ...

    def finished(self, trial: int, *, failed: bool) -> None:
        """Learn that a trial is over: it ended by itself or as told, or it failed for good."""
        ...

    def config(self, trial: int) -> Config:
        """Return the config of a trial or of a proposal in stock."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return the scheduler's settings as JSON values, for the journal's header."""
        ...
