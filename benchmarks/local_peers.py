"""The timed trials, run by other tuners, each in its own environment."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.local_timing import Work, command
from benchmarks.peers.process import ENVIRONMENTS, ROOT, PeerError

OPTUNA: Final = "Optuna"
RAY: Final = "Ray Tune"
PYTHONS: Final = {
    OPTUNA: ENVIRONMENTS / "optuna" / "bin" / "python",
    RAY: ENVIRONMENTS / "ray" / "bin" / "python",
}
"""The interpreter of each."""


def installed(name: str) -> bool:
    """Return whether there is an environment to run it in; a line on standard error if not."""
    found = PYTHONS[name].exists()
    if not found:
        print(f"{name} is not installed: run make peers", file=sys.stderr)
    return found


def run_optuna(work: Work, times: Path) -> list[float]:
    """Have Optuna start them, a process of its own a worker; return how long decisions took.

    Raises:
        PeerError: If one of its processes fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers"
        started = [
            _start(
                OPTUNA,
                ["optuna_local", f"{scratch}/journal", str(trials), str(answers)],
                command(work, times),
            )
            for n in range(work.workers)
            if (trials := len(range(n, work.trials, work.workers)))
        ]
        return _answers(OPTUNA, started, answers)


def run_ray(work: Work, times: Path, way: str) -> list[float]:
    """Have Ray Tune run them in one of the ways of `ray_local`; return how long decisions took.

    Raises:
        PeerError: If it fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers"
        arguments = ["ray_local", way, str(work.trials), str(work.workers), str(answers)]
        return _answers(RAY, [_start(RAY, arguments, command(work, times))], answers)


def _start(name: str, arguments: list[str], trained: list[str]) -> subprocess.Popen[bytes]:
    module, *others = arguments
    return subprocess.Popen(
        [PYTHONS[name], "-m", f"benchmarks.peers.{module}", *others, *trained],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # where they warn
    )


def _answers(name: str, started: list[subprocess.Popen[bytes]], answers: Path) -> list[float]:
    """Return the seconds that the processes wrote down, once all are over."""
    for process in started:
        if status := process.wait():
            raise PeerError(f"{name} ended with status {status}")
    # Without the file there was no report but a trial's last.
    text = answers.read_text(encoding="utf-8") if answers.exists() else ""
    return [float(line) for line in text.splitlines()]
