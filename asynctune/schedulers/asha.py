"""ASHA: asynchronous successive halving, of promotion and of stopping type.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2
(promotion); Li et al., "Massively Parallel Hyperparameter Tuning", arXiv 1810.05934, for the
stopping type. The cut-off is a quantile over all entries of a rung, so of two entries the
better one may already go on.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from math import inf
from typing import Any, Final, Literal

from asynctune.exceptions import UsageError
from asynctune.schedulers.base import (
    COMPLETE,
    CONTINUE,
    Action,
    Decision,
    Exhausted,
    Propose,
    Resume,
    RungEntry,
    Start,
    Wait,
)
from asynctune.schedulers.queue import ProposalQueue
from asynctune.schedulers.rungs import Rung, rung_levels
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import Config

TYPES: Final = ("promotion", "stopping")
_rung_entry: Final = partial(tuple.__new__, RungEntry)  # as there are so many


class ASHA:
    """Asynchronous successive halving.

    *Promotion*: a trial pauses at every rung. A free worker looks from the top rung down for the
    best trial that was not promoted yet; if its value is at or below the rung's cut-off it goes
    on to the next rung, otherwise a new trial starts. *Stopping*: a trial goes on at a rung if its
    value is at or below the cut-off, and is stopped for good otherwise.

    A report beyond a rung's level, from a script that does not report every level, enters that
    rung with the value it brings; one at `max_resource` completes the trial, whatever rungs it
    has passed by. A trial whose value is not finite goes no further.

    Args:
        max_resource: Resource level at which a trial is complete.
        type: "promotion" or "stopping".
        grace_period: Level of the lowest rung.
        reduction_factor: Ratio of one rung's level to the one below.
        continue_in_place: For the promotion type: a trial that is promoted the instant it
            reaches its rung goes on without giving its worker back. If False, every trial ends by
            itself at its rung and a promotion is a new attempt.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        type: Literal["promotion", "stopping"] = "promotion",  # noqa: A002 - the field's name
        grace_period: int = 1,
        reduction_factor: float = 3,
        continue_in_place: bool = True,
    ) -> None:
        if type not in TYPES:
            raise UsageError(f"type must be one of {', '.join(TYPES)}; got {type!r}")
        self.levels = rung_levels(max_resource, grace_period, reduction_factor)
        self.rungs = [
            Rung(level, level / following)
            for level, following in pairwise((*self.levels, max_resource))
        ]
        self._milestones = (*self.levels, max_resource)
        self._type = type
        self._in_place = continue_in_place
        self._settings = {
            "scheduler": "ASHA",
            "type": type,
            "max_resource": max_resource,
            "grace_period": grace_period,
            "reduction_factor": reduction_factor,
            "continue_in_place": continue_in_place,
        }
        self.max_resource = max_resource
        self._queue = ProposalQueue()
        self._next: dict[int, int] = {}  # of each active trial, the number of its next milestone
        self._last: dict[int, float] = {}  # of each active trial, its value since its last rung
        self._paused: dict[int, int] = {}  # of each paused trial, the number of its rung
        self._promotable: int | None = None  # the topmost rung that has a trial to promote

    def next(self, *, new: bool = True) -> Action:
        """Say what a free worker should do: promotions first, from the top rung down."""
        rung = self._promotable
        if rung is not None:
            why, promoted = self._promote(rung)
            return Resume(promoted, self._until(rung + 1), why)
        if not new:
            return Wait("draining") if self._next else Exhausted()
        queue = self._queue
        trial = queue.take()
        if trial is not None:
            self._next[trial] = 0
            return Start(trial, self._until(0))
        if queue.asked:
            return Wait("proposal")
        if not queue.exhausted:
            return queue.ask()
        return Wait("exhausted") if self._next else Exhausted()

    def ahead(self, lookahead: int) -> Propose | None:
        """Ask for a proposal in advance."""
        return self._queue.ahead(lookahead)

    def snapshot(self) -> Snapshot:
        """Return what a proposal asked for now may depend on."""
        return self._queue.snapshot()

    def accept(self, proposal: Proposal) -> None:
        """Take the proposal that was asked for."""
        self._queue.accept(proposal, self._milestones[0])

    def report(self, trial: int, resource: int, value: float) -> Decision:
        """Take a report; at a rung, decide whether the trial goes on."""
        rung = self._next[trial]
        if resource < self._milestones[rung]:
            self._last[trial] = value
            return CONTINUE
        self._last.pop(trial, None)
        if resource >= self.max_resource:
            return self._complete(trial, rung, value)
        decision = CONTINUE
        while decision.action == "continue" and resource >= self._milestones[rung]:
            self._queue.observe(trial, self._milestones[rung], value)
            decision = self._decide(trial, rung, value)
            rung += 1
        return decision

    def finished(self, trial: int, *, failed: bool) -> None:
        """Learn that a trial is over; one that ended by itself counts with its last value."""
        rung = self._next.get(trial)
        last = self._last.get(trial)
        if rung is not None and last is not None and not failed:
            self._queue.observe(trial, self._milestones[rung], last)
        paused = self._paused.pop(trial, None)
        if paused is not None:  # it was stopped while it paused
            self.rungs[paused].withdraw(trial)
            self._look()
        self._leave(trial, failed=failed)

    def config(self, trial: int) -> Config:
        """Return the config of a trial."""
        return self._queue.configs[trial]

    def describe(self) -> Mapping[str, Any]:
        """Return the settings for the journal's header."""
        return self._settings

    def _until(self, rung: int) -> int:
        """Return where an attempt on its way to milestone `rung` is to end by itself."""
        if self._type == "stopping" or self._in_place:
            return self.max_resource
        return self._milestones[rung]

    def _complete(self, trial: int, rung: int, value: float) -> Decision:
        """Enter a trial that is complete into the rungs that it has passed by unreported."""
        for passed in self.rungs[rung:]:
            self._queue.observe(trial, passed.level, value)
            passed.enter(value)
        self._look()
        self._queue.observe(trial, self.max_resource, value)
        self._leave(trial)
        return COMPLETE

    def _leave(self, trial: int, *, failed: bool = False) -> None:
        self._next.pop(trial, None)
        self._last.pop(trial, None)
        self._queue.settle(trial, failed=failed)

    def _decide(self, trial: int, number: int, value: float) -> Decision:
        """Enter the trial into rung `number` and say whether it goes on from there."""
        rung = self.rungs[number]
        entries = rung.enter(value)
        cutoff = rung.cutoff()
        why = _rung_entry((rung.level, value, entries, cutoff))
        if self._type == "stopping":
            # NaN and infinities are handed over as inf: a diverged trial never goes on.
            if value == inf or (cutoff is not None and value > cutoff):
                self._leave(trial)
                return Decision("stop", why)
            self._advance(trial, number + 1)
            return Decision("continue", why)
        # Whether a free worker's look for a promotion would come to this very trial.
        topmost = self._promotable is None or self._promotable <= number
        wins = cutoff is not None and value <= cutoff
        if wins and topmost and self._in_place and rung.promotes(trial, value):
            self._look_at(number)
            self._advance(trial, number + 1)
            return Decision("continue", why)
        rung.wait(trial, value)
        self._look_at(number)
        del self._next[trial]
        self._paused[trial] = number
        self._queue.settle(trial)
        return Decision("pause", why)

    def _look_at(self, number: int) -> None:
        """Note whether rung `number`, the only one that has changed, is the topmost to promote."""
        topmost = self._promotable
        if self.rungs[number].promotable() is not None:
            if topmost is None or topmost < number:
                self._promotable = number
        elif topmost == number:
            self._look()

    def _look(self) -> None:
        """Find the topmost rung that has a trial to promote, after a rung has changed."""
        number = len(self.rungs) if self._type == "promotion" else 0
        while number:
            number -= 1
            if self.rungs[number].promotable() is not None:
                self._promotable = number
                return
        self._promotable = None

    def _promote(self, number: int) -> tuple[RungEntry, int]:
        """Promote the best waiting trial of rung `number`."""
        rung = self.rungs[number]
        best = rung.promotable()
        assert best is not None  # noqa: S101 - the caller has just found it
        trial = rung.promote()
        self._look_at(number)
        del self._paused[trial]
        self._advance(trial, number + 1)
        return RungEntry(rung.level, best[0], len(rung), rung.cutoff()), trial

    def _advance(self, trial: int, number: int) -> None:
        self._next[trial] = number
        self._queue.expect(trial, self._milestones[number])
