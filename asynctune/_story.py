"""One trial's story, told while the journal is read."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, final

from asynctune._rung_words import RungWords
from asynctune.backends.local.verdict import WROTE_LAST
from asynctune.journal import Line, decode_number
from asynctune.wording import plural, readable_time

_ORIGINS: Final = {
    "points": "a config to begin with: given, or the midpoint of the space if none was",
    "random": "drawn at random from the config space",
}
_STATE_AFTER: Final = {
    "pause": "was being paused",
    "stop": "was being stopped",
    "complete": "was about to end, complete",
}
_SHORT: Final = 60.0  # seconds: in an experiment that ended before, whole ones say little
_FOR_PROMOTION: Final = "waiting for its promotion"
_FOR_A_WORKER: Final = "waiting for a worker"


@final
class Story:
    """One trial's story.

    Args:
        name: Name of the experiment.
        inputs: Its inputs, from the journal's header.
        trial: Number of the trial.

    Attributes:
        config: The trial's config; None as long as the journal has not told of it.
    """

    def __init__(self, name: str, inputs: Mapping[str, Any], trial: int) -> None:
        self.config: Mapping[str, Any] | None = None
        self._name = name
        self._inputs = inputs
        self._trial = trial
        self._metric: str = inputs["metric"]
        self._resource: str = inputs["resource"]
        self._rungs = RungWords(inputs)
        self._lines: list[tuple[float, str]] = []
        self._calm: list[Line] = []  # reports in a row that nothing was decided on
        self._seen = 0  # observations at hand when its config was asked for
        self._origin = ""
        self._workers: list[int] = []
        self._began: float | None = None  # when the attempt at hand was started
        self._since = 0.0  # when the last attempt was over
        self._waiting = ""  # what it has been waiting for since
        self._command = ""
        self._ready: float | None = None  # when its script is to run, if that was known
        self._state = "was not started yet"
        self._final = False
        self._rung: tuple[int, float] | None = None
        self._highest = 0
        self._best: tuple[float, int] | None = None
        self._reports = {"running": 0, "late": 0, "repeated": 0}
        self._failures: dict[str, int] = {}
        self._seconds = 0.0
        self._cost = 0.0
        self._attempt_cost = 0.0
        self._now = 0.0
        self._over: str | None = None

    def take(self, line: Line) -> None:
        """Take a line of the journal."""
        event = line["event"]
        self._now = max(self._now, line["t"])
        if "rung" in line:
            self._rungs.take(line)
        if event == "finished":
            self._over = line["reason"]
        elif event == "bounds":
            self._over = None
        elif line.get("k") == self._trial:
            if event == "proposal_requested":
                self._seen = line["seen"]
            elif line["config"] is not None:
                self._proposed(line)
        elif line.get("trial") == self._trial:
            self._take_own(event, line)

    def told(self) -> list[str]:
        """Return the story, once the trial's config is known."""
        self._flush()
        self._note_running(self._now)
        inputs, config = self._inputs, self.config or {}
        values = ", ".join(f"{name} {_plain(value)}" for name, value in config.items())
        workers = plural(inputs["n_workers"], "worker")
        heading = f"{inputs['method']} on {inputs['benchmark']}, {workers}"
        return [
            f"trial {self._trial} of {self._name} ({heading})",
            f"config: {values}",
            f"from: {self._origin}",
            "",
            *(f"{_stamp(t, exact=self._now < _SHORT)}  {text}" for t, text in self._lines),
            "",
            *self._summary(),
        ]

    def _take_own(self, event: str, line: Line) -> None:
        if event != "report":
            self._flush()
        self._note_running(line["t"])
        match event:
            case "start":
                self._start(line)
            case "started":
                self._runs(line["t"])
            case "report":
                self._report(line)
            case "promise":
                promoted = self._rungs.promotion(line["rung"])
                self._say(line["t"], f"{promoted}; it goes on once its pause is confirmed")
                self._command = "promise"
            case "paused":
                self._paused(line)
            case "ended":
                self._ended(line)
            case "checkpoint_removed":
                why = "made room for more promising ones" if line["size"] else "was no longer kept"
                self._say(line["t"], f"its checkpoint {why}")
            case "failed":
                self._failed(line)

    def _say(self, t: float, text: str) -> None:
        self._lines.append((t, text))

    def _proposed(self, line: Line) -> None:
        self.config = line["config"]
        self._seen = line.get("seen", self._seen)  # asked for and answered at once
        fit, origin = line.get("fit"), line["origin"]
        self._origin = _ORIGINS.get(origin, f"proposed by the {origin}")
        if fit is not None:
            known = plural(self._seen, "observation")
            self._origin += f", fitted to {fit['observations']} of {known}"
        if line.get("cost"):
            self._origin += f"; computed in {readable_time(line['cost'])}"
        self._origin += f"; ready at {readable_time(line['t'])}"

    def _start(self, line: Line) -> None:
        t, level = line["t"], line["from"]
        where = f"on worker {line['slot']}"
        goal = f"to {self._resource} {line['until']} at most"
        if line["attempt"] == 0:
            idle = ", and no paused trial could be promoted" if self._rungs.promotes else ""
            self._say(t, f"started {where}, {goal}: the worker was free{idle}")
        else:
            if "rung" in line:
                self._say(t, self._rungs.promotion(line["rung"]))
            start = f"from the checkpoint of {self._resource} {level}" if level else "from scratch"
            if level < self._highest:
                start += f", {self._levels(level + 1, self._highest)} once more"
            waited = f"after {readable_time(t - self._since)} {self._waiting}"
            attempt = f"attempt {line['attempt'] + 1}"
            self._say(t, f"resumed {where} ({attempt}) {start}, {goal}, {waited}")
        self._workers.append(line["slot"])
        self._began, self._attempt_cost, self._command = t, 0.0, ""
        self._state, self._ready = "was starting up", line.get("ready")

    def _note_running(self, now: float) -> None:
        """Tell that its script has begun to run, once the time that was known has come."""
        if self._ready is not None and self._ready <= now:
            self._runs(self._ready)

    def _runs(self, t: float) -> None:
        lasted = readable_time(t - (self._began or 0.0))
        self._say(t, f"runs, after {lasted} of start-up")
        self._ready = None
        self._note_state()

    def _note_state(self) -> None:
        if self._state == "was starting up":
            self._state = "was running"

    def _report(self, line: Line) -> None:
        status, decision = line["status"], line.get("decision", "continue")
        self._reports[status] += 1
        self._attempt_cost = line["cost"]
        self._note_state()
        if self._calm and self._calm[-1]["status"] != status:
            self._flush()
        if status == "running":
            self._note_best(line)
        if decision == "continue" and "rung" not in line:
            self._calm.append(line)
            return
        self._flush()
        if decision != "continue":
            self._command, self._state = decision, _STATE_AFTER[decision]
        text = f"{self._values([line])}; "
        if "rung" in line:
            said = line["rung"]
            self._rung = (said["level"], decode_number(said["value"]))
            text += self._rungs.verdict(line)
        else:
            text += f"complete, as this is {self._resource} {self._inputs['max_resource']}"
        self._say(line["t"], text)

    def _note_best(self, line: Line) -> None:
        self._highest = line["resource"]
        value = decode_number(line["metrics"][self._metric])
        signed = value if self._inputs["mode"] == "min" else -value
        if isfinite(value) and (self._best is None or signed < self._best[0]):
            self._best = (signed, line["resource"])

    def _flush(self) -> None:
        """Tell of the reports in a row that nothing was decided on."""
        if not self._calm:
            return
        status, text = self._calm[0]["status"], self._values(self._calm)
        if status == "late":
            doing = "stopped" if self._command == "stop" else "paused"
            text += f"; late, while it was being {doing}: recorded, and nothing follows"
        elif status == "repeated":
            text += "; repeated: recorded, and the value told first stands"
        self._say(self._calm[-1]["t"], text)
        self._calm = []

    def _values(self, lines: list[Line]) -> str:
        ends = [lines[0], lines[-1]]
        values = [f"{decode_number(line['metrics'][self._metric]):.6g}" for line in ends]
        values = values[:1] if len(lines) == 1 else values
        levels = self._levels(*(line["resource"] for line in ends))
        return f"{levels}: {self._metric} {' to '.join(values)}"

    def _levels(self, first: int, last: int) -> str:
        return f"{self._resource} {first}" + (f" to {last}" if last > first else "")

    def _paused(self, line: Line) -> None:
        level = line["resource"]
        kept = f"the checkpoint of {self._resource} {level}" if level else "no checkpoint"
        self._close(line, f"paused with {kept}")

    def _ended(self, line: Line) -> None:
        if not self._highest and line["state"] in ("failed", "queued"):
            self._count_failure(line, "user_error", "it ended without any report")
            return
        if self._command in ("pause", "promise"):
            text = "ended by itself when it was to pause, which is as good"
        elif self._command == "stop":
            text = "stopped"
        elif self._command == "complete":
            text = "ended, complete"
        else:
            text = f"ended by itself at {self._resource} {self._highest}"
        self._close(line, text)

    def _failed(self, line: Line) -> None:
        cause = line["cause"]
        message = _in_a_line(line["message"])
        if not self._command and line["state"] != "ended":
            self._count_failure(line, cause, message)
            return
        doing = self._state.removeprefix("was ")
        self._close(line, f"failed while {doing} ({cause}: {message}), which changes nothing")

    def _count_failure(self, line: Line, cause: str, message: str) -> None:
        """Tell of a failure that counts against the budget of its cause."""
        policy = self._inputs["retries"]
        count = self._failures[cause] = self._failures.get(cause, 0) + 1
        budget = policy[cause]
        text = f"failed ({cause}: {message})"
        waiting = _FOR_A_WORKER
        if line["state"] == "queued":
            text += f", retry {count} of {budget} follows"
            if cause == "infrastructure":
                delay = readable_time(policy["backoff"] * 2.0 ** (count - 1))
                text += f" after a back-off of {delay}"
                waiting = f"waiting for its back-off of {delay} and for a worker"
        else:
            allowed = plural(budget, "retry", "retries")
            text += f" for good: {allowed} allowed after this cause"
        self._close(line, text, waiting)

    def _close(self, line: Line, text: str, waiting: str = "") -> None:
        """Tell that an attempt is over, and take down what it cost and what comes next."""
        freed = f"worker {self._workers[-1]} free after {self._lasted(line)}"
        self._say(line["t"], f"{text}; {freed}")
        self._seconds += line["t"] - (self._began or 0.0)
        self._cost += line["cost"]
        self._began, self._attempt_cost, self._since = None, 0.0, line["t"]
        state = line["state"]
        self._waiting = waiting or (_FOR_PROMOTION if state == "paused" else _FOR_A_WORKER)
        self._final = state in ("ended", "failed")
        if state == "ended":
            self._state = {"stop": "was stopped", "complete": "is complete"}.get(
                self._command, "ended by itself"
            )
        else:
            self._state = {"paused": "was paused", "failed": "failed for good"}.get(
                state, self._waiting.replace("waiting", "was waiting", 1)
            )

    def _lasted(self, line: Line) -> str:
        return readable_time(line["t"] - (self._began or 0.0))

    def _summary(self) -> list[str]:
        seconds, cost = self._seconds, self._cost + self._attempt_cost
        if self._began is not None:
            seconds += self._now - self._began
        end = (
            f"the experiment ended ({self._over})" if self._over else "the unfinished journal ends"
        )
        at = readable_time(self._now)
        told = [f"end: it {self._state}" + ("" if self._final else f" when {end} at {at}")]
        if self._state == "was paused" and self._rung is not None:
            told.append(f"needed: {self._rungs.needed(self._trial, *self._rung)}")
        if self._best is not None:
            value, level = self._best
            told.append(
                f"best: {self._metric} {self._rungs.number(value)} at {self._resource} {level}"
            )
        n_reports = self._reports
        extra = "".join(f", {n_reports[k]} {k}" for k in ("repeated", "late") if n_reports[k])
        told.append(f"reports: {n_reports['running']}{extra}")
        told.append(f"attempts: {len(self._workers)}{self._where()}")
        if self._failures:
            listed = ", ".join(f"{n} by {cause}" for cause, n in self._failures.items())
            told.append(f"failures: {listed}")
        return [*told, f"cost: {readable_time(seconds)} of a worker, ${cost:.2f}"]

    def _where(self) -> str:
        workers = list(dict.fromkeys(self._workers))
        if not workers:
            return ""
        return f", on {'worker' if len(workers) == 1 else 'workers'} {', '.join(map(str, workers))}"


def _stamp(t: float, *, exact: bool) -> str:
    seconds = int(t)
    stamp = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{stamp:>9}" + (f".{int(t * 100) % 100:02}" if exact else "")


def _in_a_line(message: str) -> str:
    """Return what went wrong, and of what the script wrote the last line, which tells most."""
    lines = [line.strip() for line in message.strip().splitlines()] or ["no message"]
    if lines[0].endswith(WROTE_LAST):
        return f"{lines[0]} {lines[-1]}"
    return lines[-1]


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
