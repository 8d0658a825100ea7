"""Timed trials on this machine: run by asynctune or by nobody, and read afterwards."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from asynctune import Benchmark, Experiment, Script, StoppingCriterion, uniform
from asynctune.experiment import JOURNAL, run_experiment
from asynctune.journal import read_lines
from asynctune.ledger import Ledger
from asynctune.methods import METHODS, Pair, Problem
from asynctune.schedulers.fifo import FIFO
from asynctune.searchers.base import Proposal, Snapshot

SCRIPT: Final = Path(__file__).with_name("timed_training.py")
# Reports once; a shell starts in less time than Python does.
_SHORTEST: Final = """#!/bin/sh
printf '{"values":{"epoch":1,"loss":1}}\\n' >> "$ASYNCTUNE_REPORT"
"""


class Work(NamedTuple):
    """Trials to run.

    Attributes:
        trials: How many.
        workers: How many at once.
        levels: Reports of a trial.
        seconds: Seconds of a level.
    """

    trials: int
    workers: int
    levels: int
    seconds: float


class Times(NamedTuple):
    """What the processes of a run wrote down, seconds of the machine's monotonic clock.

    Attributes:
        begun: When each began its first line, in order.
        last: When each called its last report.
        waited: How long each report took to be answered, in the order of their calls.
        called: When each report was called.
    """

    begun: list[float]
    last: list[float]
    waited: list[float]
    called: list[float]

    def handovers(self) -> list[float]:
        """Return seconds from each last report to the next first line, of one worker."""
        return [b - a for a, b in zip(self.last, self.begun[1:], strict=False)]

    def span(self) -> float:
        """Return the seconds from the first line of all to the last report of all."""
        return max(self.last) - self.begun[0]


def read_times(folder: Path) -> Times:
    """Return what the processes that wrote into `folder` did."""
    begun, last, answers = [], [], []
    for path in folder.iterdir():
        first, *rows = [line.split() for line in path.read_text().splitlines()]
        begun.append((float(first[0]), float(rows[-1][0])))
        answers += [(float(row[0]), float(row[1])) for row in rows if len(row) > 1]
    begun.sort()
    answers.sort()
    last = [end for _, end in begun]
    called = [a for a, _ in answers]
    return Times([b for b, _ in begun], last, [b - a for a, b in answers], called)


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Return the median and the 95 % quantile, in milliseconds, and their number."""
    median, high = np.quantile(np.asarray(seconds) * 1e3, [0.5, 0.95])
    return {"median_ms": float(median), "p95_ms": float(high), "n": len(seconds)}


def command(work: Work, times: Path) -> list[str]:
    """Return the command of a trial that asynctune does not run; it lacks its config."""
    numbers = {"levels": work.levels, "seconds": work.seconds, "times": times}
    flags = [f"--{name}={value}" for name, value in numbers.items()]
    return [sys.executable, str(SCRIPT), *flags]


def run_bare(work: Work, times: Path) -> None:
    """Start the processes one after the other, as soon as they are over."""
    trained = command(work, times)

    def train(x: int) -> None:
        subprocess.run([*trained, f"--x={x}"], check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(work.workers) as threads:
        list(threads.map(train, range(work.trials)))


def run_asynctune(
    work: Work,
    times: Path,
    folder: Path,
    method: str = "RS",
    *,
    script: Path = SCRIPT,
    observer: Callable[[Ledger, float], None] | None = None,
) -> None:
    """Tune the script."""
    constants = {"levels": work.levels, "seconds": work.seconds, "times": str(times)}
    benchmark = Benchmark(
        name="overhead",
        space={"x": uniform(0.0, 1.0), **constants},
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=work.levels,
        max_wallclock_time=1e6,
        n_workers=work.workers,
        trainable=Script(path=script),
    )
    experiment = Experiment(
        tag="overhead",
        method=method,
        benchmark=benchmark,
        n_workers=work.workers,
        seed=0,
        scheduler_seed=0,
        backend="local",
        stopping=StoppingCriterion(max_trials=work.trials),
    )
    run_experiment(experiment, folder, observer=observer)


class SlowSearcher:
    """Proposes what another does, after keeping the interpreter busy; notes when."""

    needs_data: Final = True

    def __init__(self, inner: Any, seconds: float) -> None:  # noqa: ANN401 - any searcher
        self._inner = inner
        self._seconds = seconds
        self.busy: list[tuple[float, float]] = []

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:
        """Return proposal `k`, late."""
        begin = time.monotonic()
        while time.monotonic() < begin + self._seconds:
            pass
        self.busy.append((begin, time.monotonic()))
        found: Proposal = self._inner.propose(snapshot, k)
        return found

    def describe(self) -> Mapping[str, Any]:
        """Return the other's settings."""
        found: Mapping[str, Any] = self._inner.describe()
        return found


def waits_during_proposals(work: Work, seconds: float, folder: Path, times: Path) -> list[float]:
    """Return how long reports waited for their answers while a proposal was being computed."""
    searchers: list[SlowSearcher] = []

    def slow(problem: Problem, options: Mapping[str, Any]) -> Pair:
        searchers.append(SlowSearcher(METHODS["RS"](problem, options).searcher, seconds))
        return Pair(FIFO(max_resource=problem.max_resource), searchers[-1])

    METHODS["slow"] = slow
    try:
        run_asynctune(work, times, folder, "slow")
    finally:
        del METHODS["slow"]
    found = read_times(times)
    busy = [interval for searcher in searchers for interval in searcher.busy]
    return [
        wait
        for wait, at in zip(found.waited, found.called, strict=True)
        if any(begin <= at < end for begin, end in busy)
    ]


def run_many(trials: int, workers: int, folder: Path, every: int) -> list[dict[str, Any]]:
    """Run many of the shortest trials, and return after each so many how the tuner is."""
    script = folder / "shortest.sh"
    script.write_text(_SHORTEST, encoding="utf-8")
    script.chmod(0o755)
    rows: list[dict[str, Any]] = []
    used = time.process_time()

    def observe(ledger: Ledger, now: float) -> None:
        if len(ledger.trials) >= (len(rows) + 1) * every:
            rows.append(
                {
                    "trials": len(ledger.trials),
                    "seconds": now,
                    "cpu_seconds": time.process_time() - used,
                    "rss_mib": _resident() / 2**20,
                    "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
                }
            )

    work = Work(trials, workers, 1, 0.0)
    run_asynctune(work, folder, folder / "experiment", script=script, observer=observe)
    latencies = list(_latencies(folder / "experiment" / JOURNAL))
    for n, row in enumerate(rows):
        row.update(summary(latencies[n * every : (n + 1) * every]))
    return rows


def _latencies(journal: Path) -> Iterator[float]:
    """Yield the seconds from each trial's report to the start of the next process in its slot."""
    slots: dict[int, int] = {}
    reported: dict[int, float] = {}
    for line in read_lines(journal):
        if line["event"] == "start":
            slots[line["trial"]] = line["slot"]
        elif line["event"] == "report":
            reported[slots[line["trial"]]] = line["t"]
        elif line["event"] == "started" and (slot := slots[line["trial"]]) in reported:
            yield line["t"] - reported.pop(slot)


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
