"""What there is to say when trials of one's own scripts are over: what the scripts did wrong.

A script that ignores what `report` returns, or keeps no checkpoint, is tuned all the same, only
at a loss that nobody would see.
"""

from collections.abc import Iterable, Mapping
from math import isfinite, isnan
from typing import Any, Final

from asynctune.journal import Line, decode_number
from asynctune.wording import plural

# Reports that came while no tuner ran are read at once; nobody was told anything in between.
_SECONDS_TO_LISTEN: Final = 1.0


def remarks(inputs: Mapping[str, Any], lines: Iterable[Line], grace_period: float) -> list[str]:
    """Return sentences about what the scripts of a real experiment did wrong; none if all is well.

    Args:
        inputs: The experiment's inputs, from the journal's header.
        lines: The journal's lines after the header.
        grace_period: Seconds that a trial had for its checkpoint when it was told to pause.
    """
    watch = _Watch(inputs["metric"], grace_period)
    for line in lines:
        watch.take(line)
    return watch.told(inputs["resource"])


class _Watch:
    def __init__(self, metric: str, grace_period: float) -> None:
        self._metric = metric
        self._grace = grace_period
        self._reports = self._nan = self._infinite = 0
        self._attempt: dict[int, int] = {}
        self._level: dict[int, int] = {}  # the highest that the attempt has reported
        self._told: dict[int, tuple[str, float]] = {}  # what a trial was told last, and when
        self._deaf: set[int] = set()
        self._removed: set[int] = set()  # who lost its checkpoint by no fault of its own
        self._again: dict[int, int] = {}  # reports that were repeated, by trial

    def take(self, line: Line) -> None:
        """Take a line of the journal."""
        match line["event"]:
            case "start":
                self._attempt[line["trial"]] = line["attempt"]
                self._level[line["trial"]] = 0
                self._told.pop(line["trial"], None)
            case "report":
                self._report(line)
            case "paused" | "ended" | "failed":
                command, since = self._told.pop(line["trial"], ("", 0.0))
                if command == "pause" and line["t"] - since >= self._grace:
                    self._deaf.add(line["trial"])
            case "checkpoint_removed":
                self._removed.add(line["trial"])

    def _report(self, line: Line) -> None:
        trial, decision = line["trial"], line.get("decision", "continue")
        value = decode_number(line["metrics"][self._metric])
        further = line["resource"] > self._level[trial]  # or the script itself says it twice
        self._level[trial] = max(line["resource"], self._level[trial])
        self._reports += 1
        self._nan += isnan(value)
        self._infinite += not isfinite(value) and not isnan(value)
        if decision != "continue":
            self._told[trial] = decision, line["t"]
        elif line["status"] == "late" and trial in self._told:
            if line["t"] - self._told[trial][1] > _SECONDS_TO_LISTEN:
                self._deaf.add(trial)
        elif line["status"] == "repeated" and self._resumed(trial) and further:
            self._again[trial] = self._again.get(trial, 0) + 1

    def _resumed(self, trial: int) -> bool:
        """Return whether a trial was to go on from a checkpoint that nobody has removed."""
        return self._attempt[trial] > 0 and trial not in self._removed

    def told(self, resource: str) -> list[str]:
        """Return the sentences."""
        found = []
        if self._reports and self._nan + self._infinite == self._reports:
            kinds = [*["NaN"] * bool(self._nan), *["infinite"] * bool(self._infinite)]
            every = "the value" if self._reports == 1 else f"all {self._reports} values"
            was = "was" if self._reports == 1 else "were"
            found.append(f"{every} of {self._metric} {was} {' or '.join(kinds)}")
        if self._deaf:
            found.append(
                f"{plural(len(self._deaf), 'trial')} went on after being told to pause or stop; "
                "end the script when report() returns true"
            )
        if self._again:
            repeated = sum(self._again.values())
            found.append(
                f"{plural(len(self._again), 'trial')} began anew when resumed, and "
                f"{repeated} of {plural(self._reports, 'report')} came twice; write a checkpoint "
                f"into checkpoint_dir() before each {resource} is reported, and go on from there"
            )
        return found
