"""Run every trial to the end, in the order of proposal: random search, Bayesian optimisation."""

from collections.abc import Mapping
from typing import Any

from asynctune.schedulers.base import (
    COMPLETE,
    CONTINUE,
    Action,
    Decision,
    Exhausted,
    Propose,
    Start,
    Wait,
)
from asynctune.schedulers.queue import ProposalQueue
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import Config


class FIFO:
    """First in, first out: no trial is paused or stopped.

    The searcher learns a trial's value at `max_resource`, or its last value if the trial ends
    earlier by itself.

    Args:
        max_resource: Resource level at which a trial is complete.
    """

    def __init__(self, *, max_resource: int) -> None:
        self._max = max_resource
        self._queue = ProposalQueue()
        self._last: dict[int, tuple[int, float]] = {}

    def next(self, *, new: bool = True) -> Action:
        """Say what a free worker should do."""
        if not new:
            return Wait("draining") if self._last else Exhausted()
        queue = self._queue
        trial = queue.take()
        if trial is not None:
            self._last[trial] = (0, float("inf"))
            return Start(trial, self._max)
        if queue.asked:
            return Wait("proposal")
        if not queue.exhausted:
            return queue.ask()
        return Wait("exhausted") if self._last else Exhausted()

    def ahead(self, lookahead: int) -> Propose | None:
        """Ask for a proposal in advance."""
        return self._queue.ahead(lookahead)

    def snapshot(self) -> Snapshot:
        """Return what a proposal asked for now may depend on."""
        return self._queue.snapshot()

    def accept(self, proposal: Proposal) -> None:
        """Take the proposal that was asked for."""
        self._queue.accept(proposal, self._max)

    def report(self, trial: int, resource: int, value: float) -> Decision:
        """Take a report; the trial goes on until it is complete."""
        if resource < self._max:
            self._last[trial] = (resource, value)
            return CONTINUE
        self._last.pop(trial, None)
        self._queue.observe(trial, resource, value)
        self._queue.settle(trial)
        return COMPLETE

    def finished(self, trial: int, *, failed: bool) -> None:
        """Learn that a trial is over; one that ended early counts with its last value."""
        level, value = self._last.pop(trial, (0, 0.0))
        if level and not failed:
            self._queue.observe(trial, self._max, value)
        self._queue.settle(trial, failed=failed)

    def config(self, trial: int) -> Config:
        """Return the config of a trial."""
        return self._queue.configs[trial]

    def describe(self) -> Mapping[str, Any]:
        """Return the settings for the journal's header."""
        return {"scheduler": "FIFO", "max_resource": self._max}
