"""``asynctune logs``: what a trial's script wrote."""

import sys
import time
from pathlib import Path
from typing import Final

import click

from asynctune.cli import options
from asynctune.exceptions import UsageError

_SECONDS_BETWEEN_LOOKS: Final = 0.2


@click.command()
@click.argument("experiment", type=click.Path(path_type=Path))
@click.argument("trial", type=options.Integer(min=0))
@click.option("--stderr", is_flag=True, help="Show standard error instead of standard output.")
@click.option(
    "--attempt", type=options.Integer(min=0), default=None, help="This attempt's.  [default: all]"
)
@click.option(
    "--tail", type=options.Integer(min=0), default=None, metavar="N", help="The last N lines only."
)
@click.option(
    "--follow", is_flag=True, help="Go on with what is being written, until the experiment ends."
)
@options.results_dir
def logs(
    experiment: Path,
    trial: int,
    attempt: int | None,
    tail: int | None,
    results_dir: Path,
    *,
    stderr: bool,
    follow: bool,
) -> None:
    """Show what a TRIAL of a real EXPERIMENT wrote.

    EXPERIMENT is a folder, or TAG/NAME below the results folder. Each time that a trial was
    started or went on is an attempt of its own.
    """
    from asynctune.backends.local.files import attempts_of, trial_folder

    folder = options.experiment_folder(experiment, results_dir)
    place = trial_folder(folder, trial)
    if not place.is_dir() and (not follow or _over(folder)):  # else it may be started yet
        raise UsageError(f"a trial must have been started on this machine; {folder} has no {trial}")
    if attempt is not None and attempt not in attempts_of(place):
        raise UsageError(f"trial {trial} has the attempts {attempts_of(place)}; got {attempt}")
    stream = "stderr" if stderr else "stdout"
    reader = _Reader(place, stream, attempt)
    data = b"".join(reader.new())
    _write(data if tail is None else _last_lines(data, tail))
    if not follow and not reader.size:
        complaints = _Reader(place, "stderr", attempt)
        more = "; see --stderr" if complaints.new() and complaints.size else ""
        click.echo(f"trial {trial} wrote nothing on {stream}{more}", err=True)
    if follow:
        try:
            _follow(reader, folder)
        except KeyboardInterrupt:
            sys.stdout.write("\n")


class _Reader:
    """Reads the logs of a trial's attempts one after the other, as they grow."""

    def __init__(self, folder: Path, stream: str, attempt: int | None) -> None:
        self._folder = folder
        self._stream = stream
        self._attempt = attempt
        self._read: dict[int, int] = {}  # bytes by attempt

    @property
    def size(self) -> int:
        """Bytes that have been read."""
        return sum(self._read.values())

    def new(self) -> list[bytes]:
        """Return what has been written since the last call."""
        from asynctune.backends.local.files import attempts_of

        found = []
        known = attempts_of(self._folder) if self._attempt is None else [self._attempt]
        for attempt in known:
            path = self._folder / f"{self._stream}.{attempt}.log"
            if not path.exists():
                continue
            begun = attempt in self._read
            with path.open("rb") as file:
                file.seek(self._read.get(attempt, 0))
                data = file.read()
            self._read[attempt] = self._read.get(attempt, 0) + len(data)
            if attempt > 0 and not begun and self._attempt is None:
                found.append(f"--- attempt {attempt} ---\n".encode())
            found.append(data)
        return found


def _follow(reader: _Reader, folder: Path) -> None:
    """Write what is new until the experiment is over."""
    while True:
        over = _over(folder)
        _write(b"".join(reader.new()))
        if over:
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _over(folder: Path) -> bool:
    from asynctune.experiment import read_metadata

    metadata = read_metadata(folder)
    return metadata is None or metadata["status"] == "complete"


def _last_lines(data: bytes, n: int) -> bytes:
    return b"".join(data.splitlines(keepends=True)[-n:]) if n else b""


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
