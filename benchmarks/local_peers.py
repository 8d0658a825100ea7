"""The timed trials, run by other tuners, each in its own environment."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
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
    shares = [len(range(n, work.trials, work.workers)) for n in range(work.workers)]
    return _run(
        OPTUNA,
        lambda scratch, answers: [
            ["optuna_local", f"{scratch}/journal", str(share), answers, *command(work, times)]
            for share in shares
            if share
        ],
    )


def run_ray(work: Work, times: Path, way: str) -> list[float]:
    """Have Ray Tune run them in one of the ways of `ray_local`; return how long decisions took.

    Raises:
        PeerError: If it fails.
    """
    of_all = ["ray_local", way, str(work.trials), str(work.workers)]
    return _run(RAY, lambda _, answers: [[*of_all, answers, *command(work, times)]])


def _run(name: str, arguments: Callable[[str, str], list[list[str]]]) -> list[float]:
    """Run modules of the peers at once; return the seconds that they wrote down.

    Args:
        name: The tuner's.
        arguments: Returns the module and its arguments for each process, given a folder for
            scratch and the file of the answers.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answers, errors = Path(scratch) / "answers", Path(scratch) / "errors"
        answers.touch()
        with errors.open("w") as stream:
            started = [
                subprocess.Popen(
                    [PYTHONS[name], "-m", f"benchmarks.peers.{module}", *others],
                    cwd=ROOT,
                    stdout=subprocess.DEVNULL,
                    stderr=stream,
                )
                for module, *others in arguments(scratch, str(answers))
            ]
            statuses = [process.wait() for process in started]
        if status := next(filter(None, statuses), 0):
            said = errors.read_text(errors="replace").strip()[-2000:]
            raise PeerError(f"{name} ended with status {status}: {said}")
        return [float(line) for line in answers.read_text(encoding="utf-8").splitlines()]
