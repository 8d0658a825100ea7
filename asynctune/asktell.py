"""Ask and tell: a tuning method as an object, to be used from any code, without a tuner.

The caller asks for a trial, trains it in whatever way it likes, and tells what it measured;
several trials may be under way at once. There is no clock and no IO: the answers depend on
the calls and their order alone, so an object can be stored as JSON and taken up again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, Final, Literal, NamedTuple, Self, final

from asynctune.exceptions import IllegalEventError, JournalError, UsageError
from asynctune.journal import decode_number, encode_number, line_proposal, proposal_line
from asynctune.methods import Problem, make_method
from asynctune.schedulers.base import Exhausted, Propose, Resume, Start, Wait, WaitReason
from asynctune.searchers.base import Proposal
from asynctune.space import Config, ConfigSpace

FORMAT: Final = 1
Action = Literal["continue", "pause", "stop", "complete"]
State = Literal["running", "paused", "over"]
Entry = dict[str, Any]

_OF_PROPOSAL: Final = ("k", "config", "origin", "fit")

_STATE_AFTER: Final[dict[Action, State]] = {
    "continue": "running",
    "pause": "paused",
    "stop": "over",
    "complete": "over",
}


class AskedTrial(NamedTuple):
    """A trial that is to be trained now.

    Attributes:
        number: Number of the trial, from 0. A trial that was paused comes back under its number.
        config: Its config, constants included; shared, so not to be changed.
        from_resource: Resource level that it has reached before; its training goes on from
            there, and what is told next lies above. 0 for a new trial.
        until: Resource level at which it is over at the latest. If the method's option
            `continue_in_place` is False, this is the level of its next rung.
    """

    number: int
    config: Config
    from_resource: int
    until: int


class Best(NamedTuple):
    """The best value told so far.

    Attributes:
        trial: Number of the trial.
        config: Its config.
        resource: Resource level that the value was measured at.
        value: The metric's value, as told.
    """

    trial: int
    config: Config
    resource: int
    value: float


class _Known:
    """What is known of a trial: its last assignment, and how far it has come."""

    __slots__ = ("asked", "highest", "state", "value")

    def __init__(self, asked: AskedTrial) -> None:
        self.asked = asked
        self.state: State = "running"
        self.highest = 0
        self.value = inf  # the last one told, signed so that smaller is better


@final
class AskTell:
    """A tuning method that is asked for trials and told their values.

    Example::

        tuning = AskTell({"lr": loguniform(1e-6, 1)}, method="ASHA", max_resource=27, seed=1)
        while tuning.best is None or tuning.best.value > 0.1:
            trial = tuning.ask()
            for epoch in range(trial.from_resource + 1, trial.until + 1):
                loss = train_an_epoch(trial.config, epoch)
                if tuning.tell(trial, epoch, loss) != "continue":
                    break

    A call that raises leaves everything as it was. One thread at a time may use an object.

    Args:
        space: Config space, a dict of domains and constants.
        method: Name of the method: "RS", "BO", "ASHA" or "MOBSTER".
        metric_mode: "min" or "max".
        max_resource: Resource level at which a trial is complete; 1 if a trial has one value.
        seed: Seed of everything random, at least 0.
        points_to_evaluate: Configs to begin with. Missing values are set to the midpoint.
            None means one config of all midpoints, an empty list none.
        method_options: Settings of the method, such as ``{"grace_period": 3}``; JSON values.

    Raises:
        UsageError: If an argument is out of range.
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        *,
        method: str = "MOBSTER",
        metric_mode: Literal["min", "max"] = "min",
        max_resource: int,
        seed: int = 0,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        method_options: Mapping[str, Any] | None = None,
    ) -> None:
        if metric_mode not in ("min", "max"):
            raise UsageError(f"metric_mode must be min or max; got {metric_mode!r}")
        if not _is_whole(max_resource) or max_resource < 1:
            raise UsageError(f"max_resource must be a whole number above 0; got {max_resource!r}")
        full = ConfigSpace(space)
        options = dict(method_options or {})
        problem = Problem(full, int(max_resource), seed, points_to_evaluate)
        self._pair = make_method(method, problem, options)
        self._sign = 1.0 if metric_mode == "min" else -1.0
        self._max = int(max_resource)
        points = points_to_evaluate
        self._arguments: Final[Entry] = {
            "space": full.to_json(),
            "method": method,
            "metric_mode": metric_mode,
            "max_resource": self._max,
            "seed": int(seed),
            "points_to_evaluate": None
            if points is None
            else [dict(full.complete(p)) for p in points],
            "method_options": options,
        }
        self._trials: dict[int, _Known] = {}
        self._log: list[Entry] = []
        self._requested = -1  # number of the last proposal that the scheduler asked for
        self._best: Best | None = None
        self._why: WaitReason | None = None
        self._exhausted = False

    @property
    def best(self) -> Best | None:
        """The best finite value told so far, the earliest of equals; None if there is none."""
        return self._best

    @property
    def why(self) -> WaitReason | None:
        """Why the last `ask` returned None; None if it returned a trial.

        "exhausted": every config of the space was tried; "draining": no new trial was wanted.
        """
        return self._why

    @property
    def exhausted(self) -> bool:
        """Whether the last `ask` found that nothing can start any more, whatever is told."""
        return self._exhausted

    @property
    def running(self) -> tuple[AskedTrial, ...]:
        """The trials under way, by number: asked for, and neither paused nor over."""
        known = sorted(self._trials.items())
        return tuple(trial.asked for _, trial in known if trial.state == "running")

    def ask(self, *, new: bool = True) -> AskedTrial | None:
        """Return a trial to train: one that was paused and may go on, or a new one.

        Args:
            new: Whether a new trial may be started. If False only paused ones go on.

        Returns:
            The trial, or None if nothing can start now; then `why` and `exhausted` say more.
        """
        scheduler, searcher = self._pair
        return self._ask(new=new, propose=lambda k: searcher.propose(scheduler.snapshot(), k))

    def tell(self, trial: AskedTrial | int, resource: int, value: float) -> Action:
        """Take a value of a running trial and say what is to become of the trial.

        A level may be left out; a rung that was passed takes the next value. NaN and
        infinite values are allowed and never win.

        Args:
            trial: The trial, or its number.
            resource: Resource level that the value was measured at, from 1 to `max_resource`
                and above all that was told of this trial before.
            value: Value of the metric.

        Returns:
            "continue": train on. "pause": keep a checkpoint and give up the worker; `ask` may
            return the trial later. "stop": it is over early. "complete": it has reached
            `max_resource`. After the last three nothing more can be told until it comes back.

        Raises:
            UsageError: If `resource` or `value` is no number that they can be.
            IllegalEventError: If the trial is not running, or has told of this level already.
        """
        known = self._running(trial)
        number = known.asked.number
        if not _is_whole(resource) or not 1 <= resource <= self._max:
            raise UsageError(
                f"resource must be a whole number from 1 to {self._max}; got {resource!r}"
            )
        level, told = int(resource), _number(value)
        if level <= known.highest:
            raise self._illegal(f"resource must be above {known.highest}; got {level}", number)
        signed = self._sign * told if isfinite(told) else inf
        action: Action = self._pair.scheduler.report(number, level, signed).action
        known.highest, known.value = level, signed
        if isfinite(told) and (self._best is None or signed < self._sign * self._best.value):
            self._best = Best(number, known.asked.config, level, told)
        if action in ("stop", "complete"):
            self._pair.scheduler.finished(number, failed=False)
        # With all levels told there is nothing left to pause or stop, whatever a rung thinks.
        action = "complete" if level == self._max else action
        known.state = _STATE_AFTER[action]
        entry = {"event": "tell", "trial": number, "resource": level, "value": encode_number(told)}
        self._log.append(entry | {"action": action})
        return action

    def finish(self, trial: AskedTrial | int) -> None:
        """Learn that a running trial has ended by itself before `max_resource`.

        Its last value counts as its final one. A trial of which nothing was told has failed.

        Raises:
            IllegalEventError: If the trial is not running.
        """
        known = self._running(trial)
        self._end(known, "finish", failed=known.highest == 0)

    def fail(self, trial: AskedTrial | int) -> None:
        """Learn that a running trial has failed for good; its config is not proposed again.

        To try it again instead, train it once more and go on telling above what was told.

        Raises:
            IllegalEventError: If the trial is not running.
        """
        self._end(self._running(trial), "fail", failed=True)

    def to_json(self) -> Entry:
        """Return the whole state as JSON values: the arguments, and what was asked and told."""
        return {"format": FORMAT, **self._arguments, "log": [dict(entry) for entry in self._log]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the object that `to_json` turned into `data`.

        The proposals are taken from the log, not computed again.

        Raises:
            JournalError: If the log does not fit: it is damaged, or of another version.
        """
        if data.get("format") != FORMAT:
            raise JournalError(f"format must be {FORMAT}; got {data.get('format')!r}")
        arguments = {k: v for k, v in data.items() if k not in ("format", "log", "space")}
        self = cls(ConfigSpace.from_json(data["space"]), **arguments)
        for number, entry in enumerate(data["log"]):
            self._replay(entry)
            if len(self._log) != number + 1 or self._log[-1] != entry:
                got = self._log[-1] if len(self._log) > number else "nothing"
                raise JournalError(f"log entry {number} says {entry}; replaying it gives {got}")
        return self

    def _replay(self, entry: Entry) -> None:
        """Make the call that an entry of the log tells of."""
        match entry["event"]:
            case "ask":
                recorded = iter(entry["proposals"])
                with suppress(StopIteration):  # the call was interrupted while it computed
                    self._ask(new=entry["new"], propose=lambda _: line_proposal(next(recorded)))
            case "tell":
                self.tell(entry["trial"], entry["resource"], decode_number(entry["value"]))
            case "finish":
                self.finish(entry["trial"])
            case "fail":
                self.fail(entry["trial"])
            case event:
                raise JournalError(f"a log entry must be an ask, tell, finish or fail; got {event}")

    def _ask(self, *, new: bool, propose: Callable[[int], Proposal]) -> AskedTrial | None:
        entry: Entry = {"event": "ask", "new": new, "proposals": [], "trial": None}
        try:
            asked, changed = self._advance(entry, propose)
        except BaseException:
            # The scheduler goes on waiting for the proposal; the next call computes it.
            self._log.append(entry)
            raise
        if asked is not None:
            entry["trial"] = asked.number
        if changed or entry["proposals"]:
            self._log.append(entry)
        return asked

    def _advance(
        self, entry: Entry, propose: Callable[[int], Proposal]
    ) -> tuple[AskedTrial | None, bool]:
        """Ask the scheduler until it starts something or nothing can start.

        Returns:
            The trial that was started, and whether the scheduler has changed.
        """
        scheduler = self._pair.scheduler
        changed = False
        while True:
            action = scheduler.next(new=entry["new"])
            if isinstance(action, Propose) or action == Wait("proposal"):
                if isinstance(action, Propose):
                    self._requested = action.k
                proposal = propose(self._requested)
                scheduler.accept(proposal)
                line = proposal_line(0.0, proposal, 0.0)
                entry["proposals"].append({k: v for k, v in line.items() if k in _OF_PROPOSAL})
            elif isinstance(action, Resume) and self._trials[action.trial].highest == self._max:
                self._promote_on_paper(action.trial)
                changed = True
            elif isinstance(action, Start | Resume):
                self._why, self._exhausted = None, False
                return self._assign(action.trial, action.until), True
            else:
                self._exhausted = isinstance(action, Exhausted)
                self._why = action.reason if isinstance(action, Wait) else "exhausted"
                return None, changed

    def _assign(self, number: int, until: int) -> AskedTrial:
        """Take down that a trial runs now."""
        config = self._pair.scheduler.config(number)
        known = self._trials.get(number)
        if known is None:
            known = self._trials[number] = _Known(AskedTrial(number, config, 0, until))
        else:
            # What was told may lie beyond the rung that the trial is on its way to.
            until = max(until, known.highest + 1)
            known.asked = AskedTrial(number, config, known.highest, until)
            known.state = "running"
        return known.asked

    def _promote_on_paper(self, number: int) -> None:
        """Tell the scheduler again of a trial that it resumes and that is complete already.

        A trial that told of `max_resource` without the rungs below stands on its first rung.
        """
        scheduler = self._pair.scheduler
        decision = scheduler.report(number, self._max, self._trials[number].value)
        if decision.action == "complete":
            scheduler.finished(number, failed=False)

    def _running(self, trial: AskedTrial | int) -> _Known:
        number = trial.number if isinstance(trial, AskedTrial) else trial
        known = self._trials.get(number)
        if known is None:
            raise self._illegal("no such trial was asked for", number)
        if known.state != "running":
            raise self._illegal(f"the trial must be running; it is {known.state}", number)
        return known

    def _end(self, known: _Known, event: Literal["finish", "fail"], *, failed: bool) -> None:
        number = known.asked.number
        self._pair.scheduler.finished(number, failed=failed)
        known.state = "over"
        self._log.append({"event": event, "trial": number})

    def _illegal(self, message: str, number: int) -> IllegalEventError:
        return IllegalEventError(message, number, tuple(self._story(number)))

    def _story(self, number: int) -> Iterator[str]:
        for entry in self._log:
            if entry["trial"] != number:
                continue
            match entry["event"]:
                case "ask":
                    yield "asked for"
                case "tell":
                    yield f"told at {entry['resource']}: {entry['action']}"
                case "finish" | "fail" as event:
                    yield f"{event}ed"


def _is_whole(x: object) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool)


def _number(x: object) -> float:
    if not isinstance(x, Real):
        raise UsageError(f"a value told must be a number; got {x!r}")
    return float(x)
