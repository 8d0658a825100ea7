import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from asynctune import UsageError, reporting
from asynctune.reporting import (
    ANSWERS,
    BEGAN,
    CHANNEL,
    CHECKPOINTS,
    WAKE,
    checkpoint_dir,
    report,
)


def test_outside_a_tuner_a_report_is_a_line_of_json(monkeypatch, capsys):
    monkeypatch.delenv(CHANNEL, raising=False)
    report(epoch=3, val_loss=5.5)
    assert json.loads(capsys.readouterr().out) == {"epoch": 3, "val_loss": 5.5}


@pytest.mark.parametrize("by", ["descriptor", "path"])
def test_reports_go_to_the_channel_numbered(monkeypatch, capsys, tmp_path, by):
    path = tmp_path / "reports"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    monkeypatch.setenv(CHANNEL, f"fd:{descriptor}" if by == "descriptor" else str(path))
    report(epoch=1, val_loss=float("nan"))
    report(epoch=2, val_loss=np.float32(1.5))
    os.close(descriptor)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["type"] == "report"
    assert first["values"] == {"epoch": 1, "val_loss": "nan"}
    assert second["values"] == {"epoch": 2, "val_loss": 1.5}
    assert second["index"] == first["index"] + 1
    assert capsys.readouterr().out == ""


def test_a_report_tells_how_long_was_trained_for(monkeypatch, tmp_path):
    path, wake, answers = (tmp_path / name for name in ("reports", "wake", "answers"))
    for variable, file in ((CHANNEL, path), (WAKE, wake), (ANSWERS, answers)):
        monkeypatch.setenv(variable, str(file))
    os.mkfifo(wake)
    os.mkfifo(answers)
    # A tuner that has been stopped: it is there, and says nothing.
    held = [os.open(pipe, os.O_RDWR | os.O_NONBLOCK) for pipe in (wake, answers)]
    monkeypatch.setattr(reporting, "_PATIENCE", 0.5)
    # Other tests of this process may have waited, and have been told something.
    monkeypatch.setattr(reporting, "_waited", 0.0)
    monkeypatch.setattr(reporting, "_told", reporting.Told.GO_ON)
    began = time.monotonic() - 10.0
    monkeypatch.setenv(BEGAN, str(began))
    report(epoch=1, val_loss=1.0)
    report(epoch=2, val_loss=1.0)
    taken = time.monotonic() - began
    for descriptor in held:
        os.close(descriptor)
    first, second = (json.loads(line)["seconds"] for line in path.read_text().splitlines())
    assert 10.0 < first < second < taken - 0.9


@pytest.mark.parametrize("values", [{}, {"loss": [1.0]}, {"loss": np.ones(2)}])
def test_what_is_no_report_is_refused(values):
    with pytest.raises(UsageError, match="must"):
        report(**values)


def test_a_channel_must_be_one(monkeypatch):
    monkeypatch.setenv(CHANNEL, "fd:three")
    with pytest.raises(UsageError, match="fd:three"):
        report(epoch=1)


def test_the_checkpoint_folder_is_the_tuners(monkeypatch, tmp_path):
    monkeypatch.delenv(CHECKPOINTS, raising=False)
    assert checkpoint_dir() is None
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "trial" / "7"))
    assert checkpoint_dir() == tmp_path / "trial" / "7"
    assert (tmp_path / "trial" / "7").is_dir()


def test_importing_it_is_light():
    code = "import asynctune.reporting, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(ran.stdout.split()) & {"numpy", "polars", "torch", "altair", "anyio", "orjson"}
