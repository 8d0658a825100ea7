"""How the workers of an experiment spent their time, added up from its journal."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

from asynctune.journal import Line


class WorkerTime(NamedTuple):
    """How the workers of an experiment spent their time; all times are seconds of one worker.

    Attributes:
        n_workers: Number of workers.
        seconds: How long the experiment took, or has taken so far.
        finished: Whether it is over.
        starting: From a start command until the training script ran.
        training: While the script ran and was to go on.
        ending: From a pause, a stop or the last report until the worker was free.
        idle: Without an attempt, by reason.
    """

    n_workers: int
    seconds: float
    finished: bool
    starting: float
    training: float
    ending: float
    idle: Mapping[str, float]


def worker_time(n_workers: int, lines: Iterable[Line]) -> WorkerTime:
    """Add up how the workers spent their time, up to the last line.

    Args:
        n_workers: Number of workers.
        lines: The journal's lines after the header.
    """
    clock = _Clock()
    for line in lines:
        clock.take(line)
    return clock.total(n_workers)


class _Attempt:
    """An attempt that holds a worker: when it began, ran, and was to end."""

    __slots__ = ("began", "halted", "running")

    def __init__(self, began: float, running: float) -> None:
        self.began = began
        self.running = running
        self.halted = inf


class _Clock:
    def __init__(self) -> None:
        self._now = 0.0
        self._busy: dict[int, _Attempt] = {}
        self._starting = self._training = self._ending = 0.0
        self._idle: dict[str, float] = {}
        self._idle_workers: dict[str, int] = {}
        self._idle_since = 0.0
        self._finished = False

    def take(self, line: Line) -> None:
        """Take a line of the journal."""
        t = line["t"]
        self._now = max(self._now, t)
        match line["event"]:
            case "start":
                self._busy[line["trial"]] = _Attempt(t, line.get("ready", inf))
            case "started" | "report":
                attempt = self._busy[line["trial"]]
                attempt.running = min(attempt.running, t)
                if line.get("decision", "continue") != "continue":
                    attempt.halted = t
            case "paused" | "ended" | "failed":
                self._release(self._busy.pop(line["trial"]), t)
            case "idle":
                self._charge_idle(t)
                self._idle_workers = line["workers"]
            case "finished":
                self._finished = True
            case "bounds":
                self._finished = False

    def total(self, n_workers: int) -> WorkerTime:
        """Return the sums; what is under way counts up to the last line."""
        for attempt in self._busy.values():
            self._release(attempt, self._now)
        self._busy.clear()
        self._charge_idle(self._now)
        return WorkerTime(
            n_workers,
            self._now,
            self._finished,
            self._starting,
            self._training,
            self._ending,
            self._idle,
        )

    def _release(self, attempt: _Attempt, t: float) -> None:
        halted = min(attempt.halted, t)
        running = min(attempt.running, halted)
        self._starting += running - attempt.began
        self._training += halted - running
        self._ending += t - halted

    def _charge_idle(self, t: float) -> None:
        for reason, count in self._idle_workers.items():
            self._idle[reason] = self._idle.get(reason, 0.0) + count * (t - self._idle_since)
        self._idle_since = t
