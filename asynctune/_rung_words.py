"""What rungs said of trials, in words."""

from bisect import bisect_left, insort
from collections.abc import Mapping
from math import inf, isfinite
from typing import Any, final

from asynctune.journal import Line, decode_number
from asynctune.schedulers.rungs import rung_levels
from asynctune.wording import plural


class _Rung:
    """The values that entered a rung, signed so that smaller is better, and who waits there."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.entries = 0
        self.cutoff: float | None = None
        self.waiting: dict[int, float] = {}


@final
class RungWords:
    """The rungs as far as the journal has been read, and sentences about them.

    Args:
        inputs: The experiment's inputs.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.promotes = inputs.get("type") == "promotion"
        self._in_place = inputs.get("continue_in_place", False)
        self._metric: str = inputs["metric"]
        self._down = inputs["mode"] == "min"
        self._rungs: dict[int, _Rung] = {}
        self._above: dict[int, int] = {}
        if "reduction_factor" in inputs:
            top = inputs["max_resource"]
            levels = rung_levels(top, inputs["grace_period"], inputs["reduction_factor"])
            self._above = dict(zip(levels, (*levels, top)[1:], strict=True))

    def take(self, line: Line) -> None:
        """Take a line of the journal that tells of a rung."""
        said = line["rung"]
        rung = self._rungs.setdefault(said["level"], _Rung())
        rung.entries, rung.cutoff = said["entries"], _cutoff(said)
        if line["event"] != "report":
            rung.waiting.pop(line["trial"], None)
            return
        value = decode_number(said["value"])
        insort(rung.values, value)
        if line["decision"] == "pause":
            rung.waiting[line["trial"]] = value

    def number(self, signed: float) -> str:
        """Return a scheduler's value, which is signed, as the metric that was reported."""
        if not isfinite(signed):
            return "not finite"
        return f"{signed if self._down else -signed:.6g}"

    def verdict(self, line: Line) -> str:
        """Say what a rung decided on a report, and why."""
        said, decision = line["rung"], line["decision"]
        level, value, cutoff = said["level"], decode_number(said["value"]), _cutoff(said)
        if value == inf:
            why = "a value that is not finite goes no further"
        elif cutoff is None:
            why = "one entry makes no cut-off yet"
        else:
            why = self._against(value, cutoff)
        outcome = {"pause": "paused", "stop": "stopped for good"}.get(decision, "goes on")
        if decision == "continue" and self.promotes:
            outcome = "promoted in place"
        elif decision == "pause" and cutoff is not None and value <= cutoff:
            outcome += ", another goes first" if self._in_place else " until a worker is free"
        if decision == "continue":
            outcome += f" to {self._above[level]}"
        return f"rung {level}: {self._place(level, value)}, {why}: {outcome}"

    def promotion(self, said: Mapping[str, Any]) -> str:
        """Say from which rung a trial was promoted, and why."""
        level, value, cutoff = said["level"], decode_number(said["value"]), _cutoff(said)
        against = "" if cutoff is None else f" is {self._against(value, cutoff)}"
        value_there = f"{self.number(value)}{against} ({self._place(level, value)})"
        return f"promoted from rung {level} to {self._above[level]}: {value_there}"

    def needed(self, trial: int, level: int, value: float) -> str:
        """Say what a trial lacked that is still paused at a rung at the end."""
        rung = self._rungs[level]
        place = f"its {self.number(value)} is {self._place(level, value)} of rung {level}"
        if value == inf:
            return "a finite value at its rung"
        if rung.cutoff is None:
            return f"a second entry of rung {level}, without which there is no cut-off"
        bound = f"{self._metric} {self._side} {self.number(rung.cutoff)}, the final cut-off"
        if value > rung.cutoff:
            return f"{bound}; {place}"
        ahead = sum((v, n) < (value, trial) for n, v in rung.waiting.items())
        turn = f"{plural(ahead, 'trial')} went before it" if ahead else "it was next in turn"
        return f"a free worker and time; {place}, {self._against(value, rung.cutoff)}, and {turn}"

    @property
    def _side(self) -> str:
        return "at or below" if self._down else "at or above"

    def _against(self, value: float, cutoff: float) -> str:
        """Say on which side of the cut-off a value lies."""
        beyond = "above" if self._down else "below"
        return f"{self._side if value <= cutoff else beyond} the cut-off {self.number(cutoff)}"

    def _place(self, level: int, value: float) -> str:
        """Return a value's rank among the entries.

        A trial that skips levels can enter several rungs at once, and its report tells of one
        of them; without the others there is no rank.
        """
        rung = self._rungs[level]
        rank = bisect_left(rung.values, value) + 1
        known = len(rung.values) == rung.entries
        entries = plural(rung.entries, "entry", "entries")
        return (f"rank {rank} of " if known else "one of ") + entries


def _cutoff(said: Mapping[str, Any]) -> float | None:
    return None if said["cutoff"] is None else decode_number(said["cutoff"])
