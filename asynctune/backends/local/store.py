"""The checkpoints of trials that do not run: kept while they can be of use, within a budget."""

import os
import re
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import inf, isfinite
from pathlib import Path
from typing import Final, NamedTuple

from asynctune.backends.local.files import TRIALS, AttemptFiles, attempts_of, trial_folder
from asynctune.backends.local.reports import Wanted, read_report
from asynctune.exceptions import UsageError

_REMOVED: Final = "removed"
# What `asynctune.files.replaced_atomically` leaves behind when its process is killed.
_TEMPORARY: Final = re.compile(r"\..+\.\d+")


class Removed(NamedTuple):
    """A checkpoint that had to make room: whose it was, and the bytes that it took."""

    trial: int
    size: int


class _Kept(NamedTuple):
    level: int
    value: float  # signed: smaller is better
    size: int


class CheckpointStore:
    """Removes checkpoints that nobody wants, and the least promising ones where room is short.

    A complete trial's checkpoint goes first, for nobody trains on from there; then those of the
    lowest level, and of these the worst. The best trial's is never removed for want of room.

    Args:
        experiment: The experiment's folder.
        budget: Bytes that the checkpoints may take; None: any.
        wanted: What reports have.
        sign: 1.0 if the metric is minimised, -1.0 if it is maximised.
        max_level: Resource level at which a trial is complete.
    """

    def __init__(
        self, experiment: Path, budget: int | None, wanted: Wanted, sign: float, max_level: int
    ) -> None:
        self._experiment = experiment
        self._bin = experiment / TRIALS / _REMOVED
        self._budget = budget
        self._wanted = wanted
        self._sign = sign
        self._max = max_level
        self._kept: dict[int, _Kept] = {}
        self._total = 0
        self._best = inf, -1
        self._numbers = count()
        self._thread: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Take stock of what an earlier tuner has left."""
        shutil.rmtree(self._bin, ignore_errors=True)
        self._bin.mkdir()  # now, for later the disk may be full
        if self._budget is None:
            return
        for folder in sorted((self._experiment / TRIALS).iterdir()):
            if folder.name.isdigit() and holds_something(folder / "checkpoint"):
                self._take_stock(int(folder.name))

    def reported(self, trial: int, value: float) -> None:
        """Learn of a report, in order to know which trial is the best."""
        value *= self._sign
        if value < self._best[0]:
            self._best = value, trial

    def borrow(self, trial: int, *, scratch: bool) -> None:
        """Learn that a trial starts; from scratch it must not find a checkpoint."""
        self._forget(trial)
        if scratch:
            self._remove(trial)

    def keep(self, trial: int, level: int, value: float) -> list[Removed]:
        """Take a checkpoint back that was last reported of with `value`, signed as reported.

        Returns:
            What had to be removed to make room.
        """
        folder = trial_folder(self._experiment, trial) / "checkpoint"
        _remove_temporaries(folder)
        if self._budget is None or not holds_something(folder):
            return []
        self._add(trial, level, value)
        removed = []
        while self._total > self._budget and (victim := self._least()) is not None:
            removed.append(Removed(victim, self._kept[victim].size))
            self.discard(victim)
        return removed

    def discard(self, trial: int) -> None:
        """Remove a trial's checkpoint, if there is one."""
        self._forget(trial)
        self._remove(trial)

    def discard_others(self, wanted: Collection[int]) -> None:
        """Remove all checkpoints but those of the trials named; the store may be closed before."""
        self._bin.mkdir(exist_ok=True)
        for folder in (self._experiment / TRIALS).iterdir():
            if folder.name.isdigit() and int(folder.name) not in wanted:
                self.discard(int(folder.name))

    def close(self) -> None:
        """Wait until all that was removed is gone."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._bin.is_dir():
            self._bin.rmdir()

    def _take_stock(self, trial: int) -> None:
        level, value = 0, inf
        for attempt in attempts_of(trial_folder(self._experiment, trial)):
            path = AttemptFiles(self._experiment, trial, attempt).reports
            for line in path.read_bytes().split(b"\n"):
                try:
                    level, metrics, _ = read_report(line, self._wanted)
                except UsageError:
                    continue
                value = metrics[self._wanted.metric]
                self.reported(trial, value)
        self._add(trial, level, value)

    def _add(self, trial: int, level: int, value: float) -> None:
        signed = self._sign * value
        size = _size(trial_folder(self._experiment, trial) / "checkpoint")
        self._kept[trial] = _Kept(level, signed if isfinite(signed) else inf, size)
        self._total += size

    def _forget(self, trial: int) -> None:
        kept = self._kept.pop(trial, None)
        if kept is not None:
            self._total -= kept.size

    def _least(self) -> int | None:
        """Return the trial that can be done without most easily; None if there is none."""
        others = [trial for trial in self._kept if trial != self._best[1]]
        return min(others, key=self._worth, default=None)

    def _worth(self, trial: int) -> tuple[bool, int, float]:
        kept = self._kept[trial]
        return kept.level < self._max, kept.level, -kept.value

    def _remove(self, trial: int) -> None:
        """Take a checkpoint out of the way at once; a thread frees the room, which takes longer."""
        folder = trial_folder(self._experiment, trial) / "checkpoint"
        if not folder.exists():
            return
        aside = self._bin / str(next(self._numbers))
        folder.rename(aside)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "asynctune-checkpoints")
        self._thread.submit(shutil.rmtree, aside, ignore_errors=True)


def holds_something(folder: Path) -> bool:
    """Return whether there is a checkpoint in its folder, and not just the beginning of one."""
    try:
        with os.scandir(folder) as entries:
            return any(not _TEMPORARY.fullmatch(entry.name) for entry in entries)
    except FileNotFoundError:
        return False


def _remove_temporaries(folder: Path) -> None:
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
