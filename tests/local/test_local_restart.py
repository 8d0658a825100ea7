"""A tuner that dies, is interrupted, or leaves: nothing is lost, nothing counted twice."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from trials import (
    LEVELS,
    PATIENCE,
    Bench,
    gone,
    lines_of,
    order,
    processes_of,
    run,
    script,
)

from asynctune.backends.local.files import AttemptFiles
from asynctune.backends.local.process import begun
from asynctune.events import Ended, Failed, Paused, Report, Started
from asynctune.exceptions import UsageError
from asynctune.experiment import JOURNAL
from asynctune.orders import Expected

# Reports epoch after epoch, each when a file "go.EPOCH" beside it asks for it.
LED = """
import os, sys, time
from pathlib import Path
from asynctune import checkpoint_dir, report
here = Path(__file__).parent
for epoch in range(1, 10):
    while not (here / f"go.{epoch}").exists():
        time.sleep(0.002)
    (checkpoint_dir() / "epoch").write_text(str(epoch))
    if report(epoch=epoch, loss=1 / epoch):
        break
"""


def expect(item, reports=0, commands=(), *, running=True):
    return [Expected(item, 0.0, running, reports, tuple(commands))]


def go(folder, *epochs):
    for epoch in epochs:
        (folder / f"go.{epoch}").touch()


async def leave(bench):
    """Leave as a killed tuner does, but for the descriptors."""
    await bench.backend.aclose(leave_running=True)


async def start_and_leave(folder, trainable):
    """Be the tuner that starts the attempt, and dies as soon as it runs."""
    async with detached(folder, trainable) as bench:
        await bench.backend.start(order())
        await bench.until(lambda e: isinstance(e, Started))
        await leave(bench)


def detached(folder, trainable):
    return Bench(folder / "experiment", trainable, on_interrupt="detach")


def test_a_running_attempt_is_adopted(tmp_path):
    trainable = script(tmp_path, LED)

    async def first():
        bench = detached(tmp_path, trainable)
        async with bench:
            await bench.backend.start(order())
            go(tmp_path, 1, 2)
            await bench.until(lambda e: isinstance(e, Report) and e.resource == 2)
            await leave(bench)

    async def second():
        bench = detached(tmp_path, trainable)
        async with bench:
            fates = await bench.backend.recover(expect(order(), reports=1))
            assert fates == {(0, 0): "running"}
            go(tmp_path, *range(4, LEVELS + 1))
            assert isinstance(await bench.end_of(), Ended)
            return bench.seen

    anyio.run(first)
    go(tmp_path, 3)  # while nobody listens
    time.sleep(0.2)
    seen = anyio.run(second)
    reports = [(e.index, e.resource) for e in seen if isinstance(e, Report)]
    assert reports == [(level - 1, level) for level in range(2, LEVELS + 1)]  # 2 was not on record
    assert not any(isinstance(e, Started) for e in seen)
    # 2 and 3 are read at one time, but were not made at one.
    seconds = [e.seconds for e in seen if isinstance(e, Report)]
    assert all(a < b for a, b in pairwise([0.0, *seconds]))


@pytest.mark.parametrize(
    ("text", "commands", "kind", "detail"),
    [
        ("", (), Ended, None),
        ("sys.exit(3)", (), Failed, "exit status 3"),
        ("os.killpg(0, 9)", (), Failed, "nobody saw how"),
        ("os.killpg(0, 9)", (("stop", 0.0),), Ended, None),
        ("os.killpg(0, 9)", (("pause", 0.0),), Paused, None),
    ],
)
def test_an_attempt_that_ended_meanwhile(tmp_path, text, commands, kind, detail):
    trainable = script(tmp_path, LED.replace("range(1, 10)", "range(1, 3)") + text)
    written = tmp_path / "experiment" / "trials" / "000000" / "process.0"

    async def first():
        bench = detached(tmp_path, trainable)
        async with bench:
            await bench.backend.start(order())
            await bench.until(lambda e: isinstance(e, Started))
            while not (written.exists() and written.read_text()):  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await leave(bench)

    async def second():
        async with detached(tmp_path, trainable) as bench:
            fates = await bench.backend.recover(expect(order(), commands=commands))
            assert fates == {(0, 0): "ended"}
            return await bench.end_of(), bench.seen

    anyio.run(first)
    go(tmp_path, 1, 2)
    assert gone(written.read_text().split()[0])
    event, seen = anyio.run(second)
    assert isinstance(event, kind)
    assert detail is None or detail in event.message
    assert [e.resource for e in seen if isinstance(e, Report)] == [1, 2]


def test_a_start_that_was_written_down_and_not_carried_out(tmp_path):
    async def main():
        async with Bench(tmp_path / "experiment", script(tmp_path)) as bench:
            return await bench.backend.recover(expect(order(), running=False))

    assert anyio.run(main) == {(0, 0): "unknown"}


def test_an_attempt_that_is_just_writing_down_who_it_is_is_adopted(tmp_path):
    trainable = script(tmp_path, LED)
    process = AttemptFiles(tmp_path / "experiment", 0, 0).process

    async def second():
        with anyio.fail_after(PATIENCE):
            while begun(process) is None:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)
        line = process.read_bytes()
        process.write_bytes(b"")

        async def write():
            await anyio.sleep(0.1)
            process.write_bytes(line)

        async with detached(tmp_path, trainable) as bench, anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            fates = await bench.backend.recover(expect(order(), commands=[("stop", 0.0)]))
            assert fates == {(0, 0): "running"}
            return await bench.end_of()

    anyio.run(start_and_leave, tmp_path, trainable)
    assert isinstance(anyio.run(second), Ended)


def test_a_command_given_before_is_given_again(tmp_path):
    trainable = script(tmp_path, LED)

    async def second():
        async with detached(tmp_path, trainable) as bench:
            fates = await bench.backend.recover(expect(order(), commands=[("stop", 0.0)]))
            assert fates == {(0, 0): "running"}
            return await bench.end_of()

    anyio.run(start_and_leave, tmp_path, trainable)
    assert isinstance(anyio.run(second), Ended)


def test_two_tuners_do_not_share_a_folder(tmp_path):
    async def main():
        async with Bench(tmp_path, script(tmp_path)):
            with pytest.raises(UsageError, match="another tuner is at work"):
                await Bench(tmp_path, script(tmp_path)).__aenter__()

    anyio.run(main)


class TunerProcess:
    """An experiment that another process runs."""

    def __init__(self, folder, trainable, **settings):
        self.folder = folder
        self.command = [
            sys.executable,
            str(Path(__file__).parent / "tuner_process.py"),
            str(folder),
            str(trainable.path),
            json.dumps(settings),
        ]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE)
        return self

    def wait_for(self, event, n=1):
        """Wait until the journal holds so many lines of an event."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (self.folder / JOURNAL).exists():
                text = (self.folder / JOURNAL).read_text()
                if text.count(f'"event":"{event}"') >= n:
                    return
            time.sleep(0.01)
        raise AssertionError(f"no {n} lines of {event}")

    def end(self, *signals):
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.3)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors.decode()


def check_books(lines):
    """Check that no report is missing or there twice, and that each attempt is over once."""
    reports = Counter(
        (e["trial"], e["attempt"], e["index"]) for e in lines if e["event"] == "report"
    )
    assert set(reports.values()) <= {1}
    last = Counter((trial, attempt) for trial, attempt, _ in reports)
    assert all((*key, n - 1) in reports for key, n in last.items())
    over = Counter(
        (e["trial"], e["attempt"]) for e in lines if e["event"] in ("paused", "ended", "failed")
    )
    started = Counter((e["trial"], e["attempt"]) for e in lines if e["event"] == "start")
    assert over == started
    assert set(started.values()) <= {1}


SLOW = {"seconds": 0.1, "bounds": {"max_trials": 4}}


NO_NOHUP = pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="whoever ignores it is left alone"
)


def test_a_killed_tuner_goes_on_with_what_still_runs(tmp_path):
    trainable = script(tmp_path)
    tuner = TunerProcess(tmp_path / "experiment", trainable, **SLOW).start()
    tuner.wait_for("report", 2)
    assert tuner.end(signal.SIGKILL)[0] == -signal.SIGKILL
    before = len(lines_of(tmp_path / "experiment"))
    metadata, lines = run(tmp_path / "experiment", trainable, **SLOW)
    assert metadata["n_trials"] == 4
    assert metadata["n_failed"] == 0
    check_books(lines)
    # What ran goes on: nothing had to be started again.
    attempts = [e["attempt"] for e in lines[before:] if e["event"] == "failed"]
    assert attempts == []
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("policy", "number"),
    [
        ("pause", signal.SIGINT),
        ("stop", signal.SIGTERM),
        ("detach", signal.SIGINT),
        pytest.param("pause", signal.SIGHUP, marks=NO_NOHUP),
    ],
)
def test_an_interrupted_tuner_can_go_on(tmp_path, policy, number):
    trainable, folder = script(tmp_path), tmp_path / "experiment"
    settings = SLOW | {"options": {"on_interrupt": policy}, "method": "RS"}
    settings["bounds"] = {"max_trials": 3}
    tuner = TunerProcess(folder, trainable, **settings).start()
    tuner.wait_for("report", 2)
    status, errors = tuner.end(number)
    assert status != 0
    assert "KeyboardInterrupt" in errors
    left = processes_of(folder)
    assert bool(left) == (policy == "detach")
    metadata, lines = run(folder, trainable, **settings)
    assert (metadata["n_trials"], metadata["n_failed"]) == (3, 0)
    check_books(lines)
    paused = [e for e in lines if e["event"] == "paused"]
    assert bool(paused) == (policy != "detach")
    levels = [e["resource"] for e in lines if e["event"] == "report" and e["trial"] == 0]
    # Each epoch was trained once; one that was killed on its way to the report is not told of.
    assert levels == (sorted(set(levels)) if policy == "stop" else list(range(1, LEVELS + 1)))
    assert levels[-1] == LEVELS
    assert processes_of(tmp_path) == []


def test_a_tuner_in_the_background_can_be_ended(tmp_path):
    folder = tmp_path / "experiment"
    settings = {"bounds": {"max_trials": 2}, "options": {"on_interrupt": "stop"}}
    tuner = TunerProcess(folder, script(tmp_path), seconds=0.1, **settings)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts it there
    try:
        tuner.start()
    finally:
        signal.signal(signal.SIGINT, before)
    tuner.wait_for("started", 2)
    assert "KeyboardInterrupt" in tuner.end(signal.SIGTERM)[1]


@pytest.mark.parametrize("policy", ["pause", "stop"])
def test_who_was_interrupted_before_the_first_report_trains_again(tmp_path, policy):
    trainable, folder = script(tmp_path, LED), tmp_path / "experiment"
    options = {"on_interrupt": policy, "grace_period": 0.2}
    settings = {"method": "RS", "bounds": {"max_trials": 2}, "options": options}
    tuner = TunerProcess(folder, trainable, **settings).start()
    tuner.wait_for("started", 2)
    tuner.end(signal.SIGINT)
    go(tmp_path, *range(1, LEVELS + 1))
    metadata, lines = run(folder, trainable, **settings)
    assert (metadata["n_trials"], metadata["n_failed"]) == (2, 0)
    assert metadata["n_reports"] == 2 * LEVELS
    check_books(lines)


def test_a_tuner_killed_when_all_is_over_leaves_nobody_running(tmp_path):
    trainable, folder = script(tmp_path, LED), tmp_path / "experiment"
    settings = {"bounds": {"max_evaluations": 1}}
    tuner = TunerProcess(folder, trainable, **settings).start()
    tuner.wait_for("started", 2)
    tuner.end(signal.SIGKILL)
    assert len(processes_of(folder)) >= 2
    with (folder / JOURNAL).open("a") as file:
        file.write('{"t":9.0,"event":"finished","reason":"max_evaluations"}\n')
    metadata, _ = run(folder, trainable, **settings)
    assert metadata["stopped_by"] == "max_evaluations"
    assert processes_of(folder) == []


def test_interrupted_twice_it_waits_for_nobody(tmp_path):
    text = LED.replace("        break\n", "        pass\n")
    trainable, folder = script(tmp_path, text), tmp_path / "experiment"
    tuner = TunerProcess(folder, trainable, bounds={"max_trials": 2}).start()
    go(tmp_path, 1)
    tuner.wait_for("report", 2)
    began = time.monotonic()
    status, _ = tuner.end(signal.SIGINT, signal.SIGINT)
    assert status != 0
    assert time.monotonic() - began < 25  # of a grace period of 30
    assert processes_of(folder) == []
