"""Kill trials and the tuner at random, many times, and check that nothing is lost or left.

    python -m benchmarks.local_soak --trials 1000 --kills 60 --workers 4 --json FILE

Short trials run under ASHA as real processes. At random moments the tuner is killed and started
again, or a trial is: its shell, its script, or all of it; with or without a tuner to see it.
In the end every report that was written must be in the journal, once, and nothing else;
every trial must have its epochs; and no process, descriptor or temporary file may be left.
"""

import argparse
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from asynctune import Benchmark, Experiment, RetryPolicy, Script, StoppingCriterion, uniform
from asynctune.experiment import JOURNAL, run_experiment

LEVELS: Final = 9
_PATIENCE: Final = 120.0  # seconds without progress after which the soak has failed
_TEMPORARY: Final = re.compile(r"answers\..*|wake|removed|\..+\.\d+")
_TRAINING: Final = """
import argparse, time
from asynctune import checkpoint_dir, report
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--seconds", type=float)
given = parser.parse_args()
path = checkpoint_dir() / "epoch"
epoch = int(path.read_text()) if path.exists() else 0
while epoch < 9:
    time.sleep(given.seconds)
    epoch += 1
    told = report(epoch=epoch, loss=given.x + 1 / epoch)
    path.with_suffix(".new").write_text(str(epoch))
    path.with_suffix(".new").replace(path)
    if told:
        break
"""


def soak_experiment(folder: Path, trials: int, workers: int) -> Experiment:
    """Return the experiment; its training script is written into the folder."""
    script = folder / "train.py"
    script.write_text(_TRAINING, encoding="utf-8")
    benchmark = Benchmark(
        name="soak",
        space={"x": uniform(0.0, 1.0), "seconds": 0.005},
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=LEVELS,
        max_wallclock_time=1e6,
        n_workers=workers,
        trainable=Script(path=script),
    )
    return Experiment(
        tag="soak",
        method="ASHA",
        benchmark=benchmark,
        n_workers=workers,
        seed=0,
        scheduler_seed=1,
        backend="local",
        stopping=StoppingCriterion(max_trials=trials),
        retries=RetryPolicy(infrastructure=1000, backoff=0.01),
    )


class Soak:
    """One experiment, and what is killed of it."""

    def __init__(self, folder: Path, *, trials: int, kills: int, workers: int, seed: int) -> None:
        self.folder = folder
        self._arguments = [str(folder), str(trials), str(workers)]
        self._random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        moments = self._random.choice(np.arange(1, trials), size=min(kills, trials - 1))
        self._moments = sorted(int(m) for m in moments)
        self.killed: Counter[str] = Counter()
        self.most_descriptors = 0
        self._tuner: subprocess.Popen[bytes]
        self._read = 0
        self._started = 0

    def run(self) -> None:
        """Run to the end; raises if there is no progress, or the tuner fails by itself."""
        self._start_tuner()
        progress = time.monotonic()
        while (status := self._tuner.poll()) is None:
            if self._look():
                progress = time.monotonic()
            elif time.monotonic() - progress > _PATIENCE:
                self._tuner.kill()
                raise TimeoutError(f"nothing was started for {_PATIENCE} s; see {self.folder}")
            while self._moments and self._moments[0] <= self._started:
                self._moments.pop(0)
                self._strike()
            time.sleep(0.005)
        if status:
            raise RuntimeError(f"the tuner has ended with status {status}; see {self.folder}")

    def _start_tuner(self) -> None:
        command = [sys.executable, "-m", "benchmarks.local_soak", "--tuner", *self._arguments]
        self._tuner = subprocess.Popen(command)

    def _look(self) -> bool:
        """Count what was started since; returns whether something was."""
        with suppress(FileNotFoundError), (self.folder / JOURNAL).open("rb") as file:
            file.seek(self._read)
            lines = file.read()
            self._read += len(lines)
            new = lines.count(b'"event":"start"')
            self._started += new
            with suppress(FileNotFoundError, ProcessLookupError):
                n = len(list(Path(f"/proc/{self._tuner.pid}/fd").iterdir()))
                self.most_descriptors = max(self.most_descriptors, n)
            return new > 0
        return False

    def _strike(self) -> None:
        time.sleep(self._random.uniform(0.0, 0.05))
        # Where no trial runs just then it is the tuner's turn: every strike kills something.
        if self._random.uniform() < 0.5 and self._kill_trial():
            return
        self._tuner.kill()
        self._tuner.wait()
        self.killed["tuner"] += 1
        if self._random.uniform() < 0.5:
            self._kill_trial()
        time.sleep(self._random.uniform(0.0, 0.3))
        with suppress(FileNotFoundError):  # the tuner cuts a torn line off
            self._read = min(self._read, (self.folder / JOURNAL).stat().st_size)
        self._start_tuner()

    def _kill_trial(self) -> bool:
        """Kill a trial that runs, one of its processes or all of them; False if there is none."""
        running = sorted(processes_of(self.folder))
        if not running:
            return False
        victim = running[int(self._random.integers(len(running)))]
        with suppress(ProcessLookupError):
            if self._random.uniform() < 0.5:
                os.killpg(os.getpgid(victim), signal.SIGKILL)
                self.killed["trial"] += 1
            else:
                os.kill(victim, signal.SIGKILL)
                self.killed["process of a trial"] += 1
            return True
        return False


def processes_of(folder: Path) -> Iterator[int]:
    """Yield the numbers of the processes that train in a folder."""
    wanted = b"ASYNCTUNE_WAKE=" + str(folder.resolve()).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                state = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
                if state != "Z" and wanted in (entry / "environ").read_bytes():
                    yield int(entry.name)


def problems(folder: Path, trials: int) -> list[str]:
    """Return what is wrong with a folder in which a soak has come to its end."""
    text = (folder / JOURNAL).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()[1:]]
    found = _wrong_reports(folder, lines) + _wrong_trials(lines, trials)
    time.sleep(0.5)  # for what was killed last
    found += [f"process {pid} still runs" for pid in processes_of(folder)]
    for path in folder.rglob("*"):
        if _TEMPORARY.fullmatch(path.name) or stat.S_ISFIFO(path.stat().st_mode):
            found.append(f"{path} was left")
    return found


def _wrong_reports(folder: Path, lines: list[dict[str, Any]]) -> list[str]:
    """Compare what trials have written with what the journal says."""
    found = []
    told: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for line in lines:
        if line["event"] == "report":
            reports = told.setdefault((line["trial"], line["attempt"]), [])
            if line["index"] != len(reports):
                found.append(f"report {line['index']} is the {len(reports)}th of {line}")
            reports.append((line["resource"], line["metrics"]["loss"]))
    for path in folder.glob("trials/*/reports.*.jsonl"):
        key = int(path.parent.name), int(path.name.split(".")[1])
        values = [json.loads(line)["values"] for line in path.read_text().splitlines()]
        written = [(v["epoch"], v["loss"]) for v in values]
        if written != told.pop(key, []):
            found.append(f"{path} has {written}, which the journal does not")
    return found + [f"nobody has written the reports of {key}" for key in told]


def _wrong_trials(lines: list[dict[str, Any]], trials: int) -> list[str]:
    """Check that all trials are there, each attempt over once, and no epoch missing or twice."""
    found = []
    configs = {e["k"]: e["config"] for e in lines if e["event"] == "proposal_ready"}
    started = Counter((e["trial"], e["attempt"]) for e in lines if e["event"] == "start")
    over = Counter(
        (e["trial"], e["attempt"]) for e in lines if e["event"] in ("paused", "ended", "failed")
    )
    if started != over or set(started.values()) != {1}:
        found.append(f"attempts started and over differ: {(started - over) + (over - started)}")
    if len({trial for trial, _ in started}) != trials:
        found.append(f"{len({trial for trial, _ in started})} trials were started")
    epochs: dict[int, list[int]] = {}
    for e in lines:
        if e["event"] == "report" and e["status"] != "repeated":
            epochs.setdefault(e["trial"], []).append(e["resource"])
            if e["metrics"]["loss"] != configs[e["trial"]]["x"] + 1 / e["resource"]:
                found.append(f"a wrong result: {e}")
    for trial, levels in epochs.items():
        if levels != list(range(1, len(levels) + 1)):
            found.append(f"trial {trial} has the epochs {levels}")
    if len(epochs) != trials:
        found.append(f"{trials - len(epochs)} trials have no report")
    return found


def soak(folder: Path, *, trials: int, kills: int, workers: int, seed: int) -> dict[str, Any]:
    """Run a soak in an empty folder and return what was done and what went wrong."""
    began = time.monotonic()
    run = Soak(folder, trials=trials, kills=kills, workers=workers, seed=seed)
    run.run()
    seconds = time.monotonic() - began
    wrong = problems(folder, trials)
    before, after = json.loads((folder / "descriptors.json").read_text())
    if before != after:
        wrong.append(f"the tuner had {before} descriptors open before and {after} after")
    text = (folder / JOURNAL).read_text(encoding="utf-8")
    return {
        "trials": trials,
        "workers": workers,
        "attempts": text.count('"event":"start"'),
        "reports": text.count('"event":"report"'),
        "killed": dict(run.killed),
        "most_descriptors": run.most_descriptors,
        "seconds": round(seconds, 1),
        "problems": wrong,
    }


def _run_tuner(folder: Path, trials: int, workers: int) -> None:
    """Be the tuner that is killed."""
    before = _descriptors(folder)
    run_experiment(soak_experiment(folder, trials, workers), folder)
    after = _descriptors(folder)
    (folder / "descriptors.json").write_text(json.dumps([before, after]))


def _descriptors(folder: Path) -> int:
    """Count what is open of the kinds that a tuner opens; the table of results opens others."""
    kinds = (str(folder.resolve()), "anon_inode:[pidfd]", "pipe:", "socket:")
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(path.readlink()).startswith(kinds)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tuner", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.tuner:
        folder, trials, workers = given.tuner
        _run_tuner(Path(folder), int(trials), int(workers))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = soak(
            Path(folder),
            trials=given.trials,
            kills=given.kills,
            workers=given.workers,
            seed=given.seed,
        )
    print(json.dumps(result, indent=2))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(bool(result["problems"]))


if __name__ == "__main__":
    main()
