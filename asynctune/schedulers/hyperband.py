"""Asynchronous Hyperband: successive halving in several brackets, which differ in where it begins.

Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization", JMLR 18, 2018, section 3, for the brackets; Li et al., "A System for
Massively Parallel Hyperparameter Tuning", MLSys 2020, for the asynchronous rungs. A bracket that
begins late compares fewer trials, at levels that say more. Where early levels mislead, it is what
saves the search.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any, Final, Literal, NamedTuple

import numpy as np

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
from asynctune.searchers.base import Fit, Proposal, Snapshot
from asynctune.space import Config

TYPES: Final = ("promotion", "stopping")
#: First part of the spawn keys of the draws of brackets; the second is the trial's number.
ROLE_BRACKET: Final = 2


class _Bracket(NamedTuple):
    """Where a trial of this bracket meets which rung.

    Attributes:
        rungs: Numbers of its rungs, from the lowest.
        milestones: The levels of these rungs, then the largest resource.
    """

    rungs: tuple[int, ...]
    milestones: tuple[int, ...]


def bracket_shares(milestones: Sequence[int], brackets: int) -> tuple[float, ...]:
    """Return the shares of new trials that belong to brackets 0, 1, ... and add up to 1.

    With S levels at which a trial can be compared or complete, bracket s begins at the level r_s
    and has S - s of them. Hyperband gives all brackets the same budget, so that the number of
    trials is in proportion to ``S / ((S - s) r_s)``.

    Args:
        milestones: The levels r_s, ascending, the largest resource at the end.
        brackets: How many brackets there are, at most S.
    """
    levels = len(milestones)
    weights = [levels / ((levels - s) * milestones[s]) for s in range(brackets)]
    return _normalised(weights)


class Hyperband:
    """Asynchronous Hyperband, of promotion and of stopping type.

    Each new trial belongs to a bracket, which is drawn at random: by the trial's number and the
    seed alone, unless `bracket_weights` has something to say. Bracket s is ASHA with its lowest
    rung at level ``grace_period * reduction_factor**s``; the last bracket that is possible has no
    rung, and its trials run to the end. What ASHA says about trials at rungs holds here: with one
    bracket this is ASHA. A free worker promotes the best trial of the topmost rung that has one
    to promote, whichever bracket it belongs to; of equally high rungs the one of the lower bracket
    comes first.

    Args:
        max_resource: Resource level at which a trial is complete.
        seed: Seed of the draws of brackets, at least 0.
        type: "promotion" or "stopping".
        grace_period: Level of the lowest rung of bracket 0.
        reduction_factor: Ratio of one rung's level to the one below.
        brackets: Number of brackets; None: as many as there can be, one more than rungs.
        shared_rungs: Whether trials of all brackets that meet at one level are compared with
            each other. If False every bracket has rungs of its own.
        continue_in_place: For the promotion type: a trial that is promoted the instant it
            reaches its rung goes on without giving its worker back. If False, every trial ends by
            itself at its rung and a promotion is a new attempt.
        bracket_weights: What the searcher's fit says about the brackets: weights that are not
            negative, one for each. It is asked with the fit that comes with a proposal; without
            a fit, or if all weights are 0, the shares of Hyperband hold.

    Raises:
        UsageError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        seed: int,
        type: Literal["promotion", "stopping"] = "promotion",  # noqa: A002 - the field's name
        grace_period: int = 1,
        reduction_factor: float = 3,
        brackets: int | None = None,
        shared_rungs: bool = False,
        continue_in_place: bool = True,
        bracket_weights: Callable[[Fit], Sequence[float]] | None = None,
    ) -> None:
        if type not in TYPES:
            raise UsageError(f"type must be one of {', '.join(TYPES)}; got {type!r}")
        if seed < 0:
            raise UsageError(f"seed must be at least 0; got {seed}")
        self.levels = rung_levels(max_resource, grace_period, reduction_factor)
        milestones = (*self.levels, max_resource)
        if brackets is None:
            brackets = len(milestones)
        if not 1 <= brackets <= len(milestones):
            raise UsageError(
                f"brackets must lie between 1 and {len(milestones)}, one more than there are "
                f"rungs; got {brackets}"
            )
        self.max_resource = max_resource
        self.shares = bracket_shares(milestones, brackets)
        self.rungs: list[Rung] = []
        self.brackets = self._build(milestones, brackets, shared=shared_rungs)
        # From the topmost rung down; the sort keeps the order of brackets at one level.
        self._scan = sorted(range(len(self.rungs)), key=lambda i: -self.rungs[i].level)
        self._seed = seed
        self._type = type
        self._in_place = continue_in_place
        self._bracket_weights = bracket_weights
        self._settings = {
            "scheduler": "Hyperband",
            "type": type,
            "max_resource": max_resource,
            "grace_period": grace_period,
            "reduction_factor": reduction_factor,
            "brackets": brackets,
            "shared_rungs": shared_rungs,
            "continue_in_place": continue_in_place,
        }
        self._queue = ProposalQueue()
        self._bracket: list[_Bracket] = []  # of each trial
        self._next: dict[int, int] = {}  # of each active trial, the number of its next milestone
        self._last: dict[int, float] = {}  # of each active trial, its value since its last rung
        self._paused: dict[int, int] = {}  # of each paused trial, the number of its rung

    def next(self, *, new: bool = True) -> Action:
        """Say what a free worker should do: promotions first, from the topmost rung down."""
        if self._type == "promotion" and (rung := self._find()) is not None:
            why, promoted = self._promote(rung)
            return Resume(promoted, self._until(promoted), why)
        if not new:
            return Wait("draining") if self._next else Exhausted()
        queue = self._queue
        trial = queue.take()
        if trial is not None:
            self._next[trial] = 0
            return Start(trial, self._until(trial))
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
        """Take the proposal that was asked for, and draw its trial's bracket."""
        bracket = self.brackets[self._draw(proposal)]
        self._queue.accept(proposal, bracket.milestones[0])
        if proposal.config is not None:
            self._bracket.append(bracket)

    def report(self, trial: int, resource: int, value: float) -> Decision:
        """Take a report; at a rung, decide whether the trial goes on."""
        bracket, position = self._bracket[trial], self._next[trial]
        if resource < bracket.milestones[position]:
            self._last[trial] = value
            return CONTINUE
        self._last.pop(trial, None)
        decision = CONTINUE
        while decision.action == "continue" and resource >= bracket.milestones[position]:
            self._queue.observe(trial, bracket.milestones[position], value)
            if position == len(bracket.rungs):
                self._leave(trial)
                return COMPLETE
            decision = self._decide(trial, bracket.rungs[position], value)
            position += 1
        return decision

    def finished(self, trial: int, *, failed: bool) -> None:
        """Learn that a trial is over; one that ended by itself counts with its last value."""
        position = self._next.get(trial)
        last = self._last.get(trial)
        if position is not None and last is not None and not failed:
            self._queue.observe(trial, self._bracket[trial].milestones[position], last)
        paused = self._paused.pop(trial, None)
        if paused is not None:  # it was stopped while it paused
            self.rungs[paused].withdraw(trial)
        self._leave(trial, failed=failed)

    def config(self, trial: int) -> Config:
        """Return the config of a trial."""
        return self._queue.configs[trial]

    def bracket(self, trial: int) -> int:
        """Return the number of a trial's bracket."""
        return self.brackets.index(self._bracket[trial])

    def describe(self) -> Mapping[str, Any]:
        """Return the settings for the journal's header."""
        return self._settings

    def _build(
        self, milestones: tuple[int, ...], brackets: int, *, shared: bool
    ) -> tuple[_Bracket, ...]:
        """Return the brackets, and fill `rungs` with what they need."""
        quantiles = [(level, level / following) for level, following in pairwise(milestones)]
        built = []
        for s in range(brackets):
            if s == 0 or not shared:
                self.rungs += [Rung(*quantile) for quantile in quantiles[s:]]
            numbers = range(len(self.rungs) - len(quantiles) + s, len(self.rungs))
            built.append(_Bracket(tuple(numbers), milestones[s:]))
        return tuple(built)

    def _draw(self, proposal: Proposal) -> int:
        """Return the number of the bracket of a proposal's trial."""
        shares = self.shares
        if self._bracket_weights is not None and proposal.fit is not None:
            weights = self._bracket_weights(proposal.fit)[: len(shares)]
            shares = _normalised(weights) if sum(weights) > 0 else shares
        key = np.random.SeedSequence(self._seed, spawn_key=(ROLE_BRACKET, proposal.k))
        left = float(np.random.Generator(np.random.PCG64(key)).random())
        for number, share in enumerate(shares):
            left -= share
            if left < 0:
                return number
        # The shares add up to a little less than 1.
        return max(number for number, share in enumerate(shares) if share > 0)

    def _until(self, trial: int) -> int:
        """Return where an attempt on its way to its next milestone is to end by itself."""
        if self._type == "stopping" or self._in_place:
            return self.max_resource
        return self._bracket[trial].milestones[self._next[trial]]

    def _leave(self, trial: int, *, failed: bool = False) -> None:
        self._next.pop(trial, None)
        self._last.pop(trial, None)
        self._queue.settle(trial, failed=failed)

    def _decide(self, trial: int, number: int, value: float) -> Decision:
        """Enter the trial into rung `number` and say whether it goes on from there."""
        rung = self.rungs[number]
        rung.enter(value)
        cutoff = rung.cutoff()
        why = RungEntry(rung.level, value, len(rung), cutoff)
        if self._type == "stopping":
            # A diverged trial never goes on, not even alone.
            if value == inf or (cutoff is not None and value > cutoff):
                self._leave(trial)
                return Decision("stop", why)
            self._advance(trial)
            return Decision("continue", why)
        # Whether the scan for promotions would come to this very trial.
        if self._in_place and rung.promotes(trial, value) and self._find(number) is None:
            self._advance(trial)
            return Decision("continue", why)
        rung.wait(trial, value)
        self._paused[trial] = number
        del self._next[trial]
        self._queue.settle(trial)
        return Decision("pause", why)

    def _find(self, before: int | None = None) -> int | None:
        """Return the number of the topmost rung, of those before one, that has whom to promote."""
        for number in self._scan:
            if number == before:
                return None
            if self.rungs[number].promotable() is not None:
                return number
        return None

    def _promote(self, number: int) -> tuple[RungEntry, int]:
        """Promote the best waiting trial of rung `number`."""
        rung = self.rungs[number]
        best = rung.promotable()
        assert best is not None  # noqa: S101 - the caller has just found it
        trial = rung.promote()
        del self._paused[trial]
        self._next[trial] = self._bracket[trial].rungs.index(number)
        self._advance(trial)
        return RungEntry(rung.level, best[0], len(rung), rung.cutoff()), trial

    def _advance(self, trial: int) -> None:
        """Send a trial from the milestone that it has reached on its way to the next one."""
        self._next[trial] = position = self._next[trial] + 1
        self._queue.expect(trial, self._bracket[trial].milestones[position])


def _normalised(weights: Sequence[float]) -> tuple[float, ...]:
    total = sum(weights)
    return tuple(weight / total for weight in weights)
