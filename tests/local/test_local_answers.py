"""The script's side of the pipes: what `report` returns, with a tuner and without."""

import os
import time
from contextlib import suppress

import pytest

from asynctune import reporting
from asynctune.reporting import ANSWERS, CHANNEL, RESOURCE, UNTIL, WAKE, Told, report, told


class Pipes:
    """The tuner's ends."""

    def __init__(self, folder):
        self.reports = folder / "reports"
        self.answers, self.wake = folder / "answers", folder / "wake"
        for path in (self.answers, self.wake):
            os.mkfifo(path)
        self.open()

    def open(self):
        self._answers = os.open(self.answers, os.O_RDWR | os.O_NONBLOCK)
        self._wake = os.open(self.wake, os.O_RDWR | os.O_NONBLOCK)

    def close(self):
        os.close(self._answers)
        os.close(self._wake)

    def answer(self, text):
        os.write(self._answers, text)

    def woken(self):
        return os.read(self._wake, 100)


@pytest.fixture
def pipes(tmp_path, monkeypatch):
    made = Pipes(tmp_path)
    monkeypatch.setenv(CHANNEL, str(made.reports))
    monkeypatch.setenv(ANSWERS, str(made.answers))
    monkeypatch.setenv(WAKE, str(made.wake))
    monkeypatch.setenv(RESOURCE, "epoch")
    monkeypatch.setenv(UNTIL, "9")
    for name, value in (("_told", Told.GO_ON), ("_pipe", None), ("_unread", b"")):
        monkeypatch.setattr(reporting, name, value)
    yield made
    if reporting._pipe is not None:
        os.close(reporting._pipe[1])


def test_an_answer_is_for_the_reports_so_far(pipes):
    pipes.answer(b"0 \n40 \n")  # on nothing; on less than what is to come
    pipes.answer(b"10000 \n")
    began = time.monotonic()
    assert report(epoch=1, loss=1.0) is Told.GO_ON
    assert time.monotonic() - began < reporting._PATIENCE
    assert pipes.woken() == b"\n"


def test_what_is_told_once_stays(pipes):
    pipes.answer(b"5 pause\n")
    assert report(epoch=1, loss=1.0) is Told.PAUSE
    pipes.close()
    assert report(epoch=2, loss=1.0) is Told.PAUSE
    assert bool(Told.PAUSE)
    assert bool(Told.STOP)
    assert not Told.GO_ON
    pipes.open()


def test_who_was_told_to_end_and_goes_on_does_not_wait(pipes, monkeypatch):
    pipes.answer(b"5 pause\n")
    assert report(epoch=1, loss=1.0) is Told.PAUSE
    monkeypatch.setattr(reporting, "_PATIENCE", 60.0)
    began = time.monotonic()
    assert report(epoch=2, loss=1.0) is Told.PAUSE
    assert time.monotonic() - began < 30


def test_pause_can_still_become_stop(pipes):
    pipes.answer(b"5 pause\n")
    assert report(epoch=1, loss=1.0) is Told.PAUSE
    pipes.answer(b"5 stop\n")
    assert report(epoch=2, loss=1.0) is Told.STOP


def test_a_script_may_ask_without_a_report(pipes):
    assert told() is Told.GO_ON
    pipes.answer(b"0 \n0 pause\n")
    assert told() is Told.PAUSE
    assert told() is Told.PAUSE
    pipes.answer(b"0 stop\n")
    assert told() is Told.STOP


def test_half_an_answer_is_waited_for(pipes, monkeypatch):
    monkeypatch.setattr(reporting, "_PATIENCE", 0.05)
    pipes.answer(b"10000 pa")
    assert report(epoch=1, loss=1.0) is Told.GO_ON
    pipes.answer(b"use\n")
    assert report(epoch=2, loss=1.0) is Told.PAUSE


def test_a_tuner_that_hangs_is_not_waited_for_long(pipes, monkeypatch):
    monkeypatch.setattr(reporting, "_PATIENCE", 0.05)
    assert report(epoch=1, loss=1.0) is Told.GO_ON
    assert len(pipes.reports.read_text().splitlines()) == 1


def test_without_a_tuner_a_script_goes_on_to_its_rung(pipes, monkeypatch):
    pipes.close()
    monkeypatch.setenv(UNTIL, "3")
    began = time.monotonic()
    assert [report(epoch=e, loss=1.0) for e in (1, 2, 3)] == ["", "", "pause"]
    assert time.monotonic() - began < reporting._PATIENCE
    assert len(pipes.reports.read_text().splitlines()) == 3
    pipes.open()


def test_a_full_pipe_holds_nobody_up(pipes, monkeypatch):
    monkeypatch.setattr(reporting, "_PATIENCE", 0.01)
    filling = os.open(pipes.wake, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(filling, bytes(4096))
    os.close(filling)
    assert report(epoch=1, loss=1.0) is Told.GO_ON


def test_of_several_processes_the_first_one_reports(pipes, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert report(epoch=1, loss=1.0) is Told.GO_ON
    assert not pipes.reports.exists()
