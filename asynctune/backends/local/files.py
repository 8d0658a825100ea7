"""Where the files of a trial are: ``EXPERIMENT/trials/000012``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

TRIALS: Final = "trials"
_BLOCK: Final = 1 << 13


def trial_folder(experiment: Path, trial: int) -> Path:
    """Return the folder of a trial within its experiment's."""
    return experiment / TRIALS / f"{trial:06d}"


class AttemptFiles:
    """The files of one attempt.

    Attributes:
        folder: The trial's folder.
        checkpoint: Folder of the trial's checkpoint, the same for all of its attempts.
        config: The config, where the script wants it as a file; the same for all attempts.
        reports: The attempt's reports, one JSON line each.
        stdout: What it printed.
        stderr: What it complained of.
        process: Which process it is, and when it is over the exit status.
        answers: Pipe by which it is told what is decided on its reports; there while it runs.
        interrupted: There if it was ended because the tuner was interrupted.
    """

    __slots__ = (
        "answers",
        "checkpoint",
        "config",
        "folder",
        "interrupted",
        "process",
        "reports",
        "stderr",
        "stdout",
    )

    def __init__(self, experiment: Path, trial: int, attempt: int) -> None:
        self.folder = folder = trial_folder(experiment, trial)
        self.checkpoint = folder / "checkpoint"
        self.config = folder / "config.json"
        self.reports = folder / f"reports.{attempt}.jsonl"
        self.stdout = folder / f"stdout.{attempt}.log"
        self.stderr = folder / f"stderr.{attempt}.log"
        self.process = folder / f"process.{attempt}"
        self.answers = folder / f"answers.{attempt}"
        self.interrupted = folder / f"interrupted.{attempt}"

    def last_change(self) -> float:
        """Return when something was last written to them, in seconds of the wall clock."""
        paths = (self.process, self.reports, self.stdout, self.stderr)
        return max((p.stat().st_mtime for p in paths if p.exists()), default=0.0)


def attempts_of(folder: Path) -> list[int]:
    """Return the numbers of the attempts that a trial's folder has reports of, ascending."""
    return sorted(_numbers(folder))


def _numbers(folder: Path) -> Iterator[int]:
    for path in folder.glob("reports.*.jsonl"):
        number = path.name.split(".")[1]
        if number.isdigit():
            yield int(number)


def tail_of(path: Path, n_lines: int) -> str:
    """Return the last lines of a text file, or what fits into a few thousand bytes of them."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _BLOCK))
            text = file.read(_BLOCK).decode(errors="replace")
    except FileNotFoundError:
        return ""
    # A progress bar is one line that was written many times.
    lines = [line.rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]
    return "\n".join(lines[-n_lines:])
