"""The journal: one append-only file of JSON lines that holds all facts of an experiment.

The first line is the header with the experiment's inputs. Every further line is one fact:
a command before it is carried out, an event as it is observed, a report together with the
decision on it. A line's number is its sequence number. Results are derived from it, and a
restart replays it. Numbers that are not finite are the strings "nan", "inf" and "-inf".
"""

import os
from collections.abc import Callable, Iterator, Mapping
from math import inf, isfinite, nan
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from asynctune.events import (
    CapacityChanged,
    Cause,
    CheckpointRemoved,
    Ended,
    Event,
    Failed,
    Paused,
    Report,
    Started,
)
from asynctune.exceptions import JournalError
from asynctune.ledger import WENT_ON, Launch, Promise, Seen
from asynctune.schedulers.base import RungEntry
from asynctune.searchers.base import Fit, Proposal

FORMAT: Final = 1
Line = dict[str, Any]
_BUFFER: Final = 1 << 16  # bytes to a write where a lost tail does no harm
_WORDS: Final = {kind: kind.__name__.lower() for kind in (Started, Paused, Ended, Failed)}
_BOUNDS: Final = b'"event":"bounds"'  # within a text the quotes would be escaped
_HEADER: Final = b'{"event":"header","format":%d,' % FORMAT


def encode_number(x: float) -> float | str:
    """Return `x` as a JSON value: itself if it is finite, else "nan", "inf" or "-inf"."""
    return x if isfinite(x) else str(float(x))


def decode_number(x: float | str) -> float:
    """Return the number that `encode_number` made a JSON value of."""
    return {"nan": nan, "inf": inf, "-inf": -inf}[x] if isinstance(x, str) else x


def rung_line(why: RungEntry) -> Line:
    """Return what is written of a rung's word on a trial."""
    level, value, entries, cutoff = why
    return {
        "level": level,
        "value": value if isfinite(value) else encode_number(value),
        "entries": entries,
        "cutoff": cutoff if cutoff is None or isfinite(cutoff) else encode_number(cutoff),
    }


def _json_numbers(numbers: Mapping[str, float]) -> Mapping[str, float | str]:
    for x in numbers.values():
        if not isfinite(x):
            return {name: encode_number(value) for name, value in numbers.items()}
    return numbers if isinstance(numbers, dict) else dict(numbers)


def event_line(event: Event, seen: Seen) -> Line:  # noqa: C901 - one piece, as it runs so often
    """Return the line of an event and of what became of it."""
    if isinstance(event, Report):
        time, trial, attempt, index, resource, metrics, cost, source, seconds = event
        line: Line = {
            "t": time,
            "event": "report",
            "trial": trial,
            "attempt": attempt,
            "index": index,
            "resource": resource,
            "metrics": _json_numbers(metrics),
            "cost": cost,
            "source": source,
            "status": seen[0],
        }
        if seconds is not None:
            line["seconds"] = seconds
        if seen is WENT_ON:  # as nearly all are
            line["decision"] = "continue"
        elif (decision := seen[1]) is not None:
            line["decision"] = decision.action
            if decision.why is not None:
                line["rung"] = rung_line(decision.why)
        return line
    if isinstance(event, Paused):  # the next most frequent
        return {
            "t": event.time,
            "event": "paused",
            "trial": event.trial,
            "attempt": event.attempt,
            "resource": event.resource,
            "cost": event.cost,
            "state": str(seen.status),
        }
    if isinstance(event, CapacityChanged):
        return {"t": event.time, "event": "capacity", "n": event.n, "reason": event.reason}
    if isinstance(event, CheckpointRemoved):
        removed = {"trial": event.trial, "size": event.size}
        return {"t": event.time, "event": "checkpoint_removed", **removed}
    line = {
        "t": event.time,
        "event": _WORDS[type(event)],
        "trial": event.trial,
        "attempt": event.attempt,
    }
    if isinstance(event, Failed):
        line["cause"] = str(event.cause)
        # What a script wrote last may be anything, and JSON takes only what UTF-8 can tell.
        line["message"] = event.message.encode(errors="replace").decode()
        line["resource"] = event.resource
    if not isinstance(event, Started):
        line["cost"] = event.cost
    line["state"] = str(seen.status)
    return line


def line_event(line: Mapping[str, Any]) -> Event | None:
    """Return the event of a line; None if the line is not of an event."""
    t = line["t"]
    match line["event"]:
        case "report":
            metrics = {name: decode_number(value) for name, value in line["metrics"].items()}
            return Report(
                t,
                line["trial"],
                line["attempt"],
                line["index"],
                line["resource"],
                metrics,
                line["cost"],
                line["source"],
                line.get("seconds"),
            )
        case "started":
            return Started(t, line["trial"], line["attempt"])
        case "paused":
            return Paused(t, line["trial"], line["attempt"], line["resource"], line["cost"])
        case "ended":
            return Ended(t, line["trial"], line["attempt"], line["cost"])
        case "failed":
            return Failed(
                t,
                line["trial"],
                line["attempt"],
                Cause(line["cause"]),
                line["message"],
                line["resource"],
                line["cost"],
            )
        case "capacity":
            return CapacityChanged(t, line["n"], line["reason"])
        case "checkpoint_removed":
            return CheckpointRemoved(t, line["trial"], line["size"])
        case _:
            return None


def launch_line(now: float, launch: Launch, ready: float | None = None) -> Line:
    """Return the line of a command to start an attempt, whose script will run at `ready`."""
    (trial, attempt, slot, _, from_resource, until, _), why = launch
    line: Line = {
        "t": now,
        "event": "start",
        "trial": trial,
        "attempt": attempt,
        "slot": slot,
        "from": from_resource,
        "until": until,
    }
    if ready is not None:
        line["ready"] = ready
    if why is not None:
        line["rung"] = rung_line(why)
    return line


def stop_line(now: float, trial: int, attempt: int) -> Line:
    """Return the line of a command to stop an attempt that no report gave rise to."""
    return {"t": now, "event": "stop", "trial": trial, "attempt": attempt}


def promise_line(now: float, promise: Promise) -> Line:
    """Return the line of a promotion whose start must wait for the confirmation of its pause."""
    return {
        "t": now,
        "event": "promise",
        "trial": promise.trial,
        "until": promise.until,
        "rung": rung_line(promise.why),
    }


def bounds_line(now: float, bounds: Mapping[str, Any]) -> Line:
    """Return the line that an experiment goes on after within other bounds."""
    return {"t": now, "event": "bounds", "stopping": dict(bounds)}


def request_line(now: float, k: int, seen: int, *, ahead: bool) -> Line:
    """Return the line of a request for a proposal."""
    line: Line = {"t": now, "event": "proposal_requested", "k": k, "seen": seen}
    return line | {"ahead": True} if ahead else line


def proposal_line(now: float, proposal: Proposal, cost: float, request: Line | None = None) -> Line:
    """Return the line of a proposal that is ready.

    Args:
        now: The time.
        proposal: The proposal.
        cost: Seconds that it took.
        request: What asks for it, if that has no line of its own because it was answered at once;
            it becomes the line of both.
    """
    k, config, fit, origin = proposal
    line: Line = {"t": now, "event": "proposal_ready", "k": k} if request is None else request
    line["event"] = "proposal_ready"
    line["config"] = config if config is None or isinstance(config, dict) else dict(config)
    line["origin"] = origin
    if fit is not None:
        line["fit"] = {
            "parameters": [encode_number(p) for p in fit.parameters],
            "observations": fit.observations,
        }
    if cost:
        line["cost"] = cost
    return line


def line_proposal(line: Mapping[str, Any]) -> Proposal:
    """Return the proposal of a line."""
    fit = line.get("fit")
    return Proposal(
        line["k"],
        line["config"],
        None if fit is None else _line_fit(fit),
        line["origin"],
    )


def _line_fit(line: Mapping[str, Any]) -> Fit:
    return Fit(tuple(map(decode_number, line["parameters"])), line["observations"])


class JournalWriter:
    """Appends lines to a journal. The lines of one instant are one write.

    Args:
        path: The file; its folder exists.
        durable: Write each instant at once, so that a killed process loses at most the
            instant at hand; `sync` then asks the disk as well. If False lines are gathered
            into larger writes, which is enough where a lost tail is simulated again.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.durable: Final = durable
        self._file: BinaryIO = path.open("ab", buffering=_BUFFER)
        self._lines: list[bytes] = []  # of the instant at hand
        self._add: Callable[[bytes], object] = self._lines.append if durable else self._file.write

    def append(self, line: Line) -> None:
        """Append a line to the instant at hand."""
        self._add(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def commit(self) -> None:
        """Write the lines of the instant at hand, or leave them to a larger write."""
        if self.durable:
            self._write()

    def sync(self) -> None:
        """Write, and where the journal is durable wait until the disk has it."""
        if self.durable:
            self._write()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left and close the file."""
        self._write()
        self._file.close()

    def _write(self) -> None:
        if self._lines:
            text = b"".join(self._lines)
            self._lines.clear()  # what cannot be written must not come twice when there is room
            self._file.write(text)
            self._file.flush()  # a write to the buffer is whole where one to the file may be cut


def header_line(inputs: Mapping[str, Any]) -> Line:
    """Return the first line of a journal."""
    return {"event": "header", "format": FORMAT, "inputs": dict(inputs)}


def read_header(path: Path) -> Mapping[str, Any] | None:
    """Return the inputs in a journal's header; None if there is no journal, or a torn header only.

    Raises:
        JournalError: If the file does not begin with a header of a format known here.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        first = file.readline()
    if not first.endswith(b"\n") and _HEADER.startswith(first[: len(_HEADER)]):
        return None
    try:
        line = orjson.loads(first)
        known = line["event"] == "header" and line["format"] == FORMAT and "inputs" in line
    except (orjson.JSONDecodeError, KeyError, TypeError):
        known = False
    if not known:
        raise JournalError(
            f"{path} must begin with a journal header of format {FORMAT}; got {first[:80]!r}"
        )
    inputs: Mapping[str, Any] = line["inputs"]
    return inputs


def read_bounds(path: Path) -> Mapping[str, Any]:
    """Return the bounds of the experiment of a journal: those that it went on within last.

    Raises:
        JournalError: If the file does not begin with a header of a format known here.
    """
    header = read_header(path)
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as text:
        at = text.rfind(_BOUNDS)
        if at >= 0:
            text.seek(text.rfind(b"\n", 0, at) + 1)
            line = text.readline()
            if line.endswith(b"\n"):
                bounds: Mapping[str, Any] = orjson.loads(line)["stopping"]
                return bounds
    return {} if header is None else header["stopping"]


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines after the header; a torn last line is left out.

    Raises:
        JournalError: If a line that is not the last one is no JSON.
    """
    with path.open("rb") as file:
        file.readline()
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                yield orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                raise JournalError(f"{path}, line {number} is no JSON: {raw[:80]!r}") from error


def cut_torn_tail(path: Path) -> None:
    """Cut off what follows the last complete line of a journal, as a killed writer leaves it."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        block = 1 << 16
        end = size
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
