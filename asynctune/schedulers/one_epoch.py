"""The one-epoch baseline: all trials but the best few are dropped after their first epoch.

Egele, Guyon, Sun, Balaprakash, "Is One Epoch All You Need For Multi-Fidelity Hyperparameter
Optimization?", ESANN 2023, arXiv 2307.15422. There the configs are a batch: all are trained for one
epoch, then the best K to the end. Here they never end, and nobody waits for anybody.
"""

from bisect import insort
from collections.abc import Mapping
from math import inf
from typing import Any

from asynctune.exceptions import UsageError
from asynctune.schedulers.base import (
    COMPLETE,
    CONTINUE,
    Action,
    Decision,
    Exhausted,
    Propose,
    RungEntry,
    Start,
    Wait,
)
from asynctune.schedulers.queue import ProposalQueue
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import Config


class OneEpoch:
    """Trains a trial to the end if after one epoch it is among the best K so far.

    All others are stopped for good then, and so is a trial that K others have overtaken since, at
    its next report. So at every moment those are complete or on their way that the baseline
    would choose at that moment, had it seen what there is. A trial whose value is not finite is
    dropped; one that fails makes room.

    Args:
        max_resource: Resource level at which a trial is complete.
        k: How many trials are kept. The larger, the safer against a misleading first epoch, and
            the fewer trials can be tried.
        grace_period: Resource level at which trials are compared; 1 is one epoch.

    Raises:
        UsageError: If an argument is out of range.
    """

    def __init__(self, *, max_resource: int, k: int = 1, grace_period: int = 1) -> None:
        if k < 1:
            raise UsageError(f"k must be at least 1; got {k}")
        if not 1 <= grace_period <= max_resource:
            raise UsageError(
                f"grace_period must lie between 1 and max_resource {max_resource}; "
                f"got {grace_period}"
            )
        self.levels = (grace_period,) if grace_period < max_resource else ()
        self.max_resource = max_resource
        self._k = k
        self._level = grace_period
        self._queue = ProposalQueue()
        self._best: list[tuple[float, int]] = []  # (value at the level, trial) of the best K
        self._entries = 0
        self._last: dict[int, float | None] = {}  # of each running trial, its last value
        self._kept: dict[int, float] = {}  # of each running trial that was kept, its value there

    def next(self, *, new: bool = True) -> Action:
        """Say what a free worker should do: begin a new trial."""
        if not new:
            return Wait("draining") if self._last else Exhausted()
        queue = self._queue
        trial = queue.take()
        if trial is not None:
            self._last[trial] = None
            return Start(trial, self.max_resource)
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
        self._queue.accept(proposal, self._level)

    def report(self, trial: int, resource: int, value: float) -> Decision:
        """Take a report; say whether the trial is among the best."""
        self._last[trial] = value
        if trial in self._kept:
            decision = self._overtaken(trial)
        elif resource >= self._level and self.levels:
            decision = self._enter(trial, value)
        else:
            decision = CONTINUE
        if decision.action == "stop":
            self._leave(trial)
        elif resource >= self.max_resource:
            self._queue.observe(trial, self.max_resource, value)
            self._leave(trial)
            return COMPLETE
        return decision

    def finished(self, trial: int, *, failed: bool) -> None:
        """Learn that a trial is over; one that ended by itself counts with its last value."""
        value, first = self._last.get(trial), self._kept.get(trial)
        if value is not None and not failed:
            level = self._level if first is None else self.max_resource
            self._queue.observe(trial, level, value)
        if failed and first is not None and (first, trial) in self._best:
            self._best.remove((first, trial))
        self._leave(trial, failed=failed)

    def config(self, trial: int) -> Config:
        """Return the config of a trial."""
        return self._queue.configs[trial]

    def describe(self) -> Mapping[str, Any]:
        """Return the settings for the journal's header, in the terms of successive halving."""
        return {
            "scheduler": "OneEpoch",
            "type": "stopping",
            "max_resource": self.max_resource,
            "k": self._k,
            "grace_period": self._level,
            # There is one rung: the level after it is the last one.
            **({"reduction_factor": self.max_resource / self._level} if self.levels else {}),
        }

    def _leave(self, trial: int, *, failed: bool = False) -> None:
        self._last.pop(trial, None)
        self._kept.pop(trial, None)
        self._queue.settle(trial, failed=failed)

    def _enter(self, trial: int, value: float) -> Decision:
        """Compare a trial that has reached the level with all that did before."""
        self._queue.observe(trial, self._level, value)
        self._entries += 1
        entry = (value, trial)
        if value < inf:
            insort(self._best, entry)
            del self._best[self._k :]
        if entry not in self._best:
            return Decision("stop", self._why(value))
        self._kept[trial] = value
        self._queue.expect(trial, self.max_resource)
        return Decision("continue", self._why(value))

    def _overtaken(self, trial: int) -> Decision:
        """Stop a trial that was kept and is behind K others by now."""
        value = self._kept[trial]
        if len(self._best) == self._k and (value, trial) > self._best[-1]:
            return Decision("stop", self._why(value))
        return CONTINUE

    def _why(self, value: float) -> RungEntry:
        """Return a value beside that of the last of the best K."""
        cutoff = self._best[-1][0] if len(self._best) == self._k else None
        return RungEntry(self._level, value, self._entries, cutoff)
