"""What all tests have in common."""

import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a loaded machine stops any example at times
settings.load_profile("patient")

# Started in the background, a shell's children ignore Ctrl-C, and some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Result:
    """What a call of the command line gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> object:
    """Return a function that calls the command line in an empty folder."""
    from asynctune.cli import main

    monkeypatch.chdir(tmp_path)

    def function(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["asynctune", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        captured = capfd.readouterr()
        return Result(status, captured.out, captured.err)

    return function
