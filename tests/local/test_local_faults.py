"""Whatever goes wrong with a trial has a stated outcome, and a cause."""

import re
import stat
from math import isnan

import anyio
import pytest
from trials import LEVELS, Bench, benchmark, descriptors, gone, order, run, script

from asynctune import files
from asynctune.backends.base import BackendRequest
from asynctune.backends.local import local_backend, process
from asynctune.events import Cause, Ended, Failed, Paused, Report, Started
from asynctune.exceptions import UsageError
from asynctune.stopping import RetryPolicy
from asynctune.trainable import Script

REPORT = """printf '{"values": {"epoch": %s, "loss": %s}}\\n' "$1" "$2" >> "$ASYNCTUNE_REPORT"
"""


def shell(folder, text, name="train.sh"):
    """Write a shell script, which starts faster than Python: `report LEVEL LOSS` is there."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nreport() {{\n{REPORT}}}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Script(path=path)


def end_of(tmp_path, text, *, begin=0, until=LEVELS, **options):
    """Run a shell script as an attempt and return its last event."""

    async def main():
        async with Bench(tmp_path / "experiment", shell(tmp_path, text), **options) as bench:
            await bench.backend.start(order(begin=begin, until=until))
            return await bench.end_of()

    return anyio.run(main)


SAVE = 'mkdir -p "$ASYNCTUNE_CHECKPOINT_DIR"; echo 1 > "$ASYNCTUNE_CHECKPOINT_DIR/state"\n'
USER, MACHINE, TIMEOUT = Cause.USER_ERROR, Cause.INFRASTRUCTURE, Cause.TIMEOUT
FAULTS = {
    "crash": ("echo first; echo 'it was me' >&2; exit 3", USER, "exit status 3.*it was me", 0),
    "crash, silent": ("echo 'printed'; exit 3", USER, "exit status 3.*printed", 0),
    "crash after a report": ("report 1 0.5; exit 3", USER, "exit status 3", 0),
    "crash after a checkpoint": (f"{SAVE} report 4 0.5; exit 3", USER, "exit status 3", 4),
    "killed": ("kill -9 $$", MACHINE, "killed by SIGKILL; .*kernel", 0),
    "killed with its group": ("kill -9 0; sleep 9", MACHINE, "killed by SIGKILL", 0),
    "ended from outside": ("kill -TERM $$; sleep 9", MACHINE, "killed by SIGTERM", 0),
    "bad memory access": ("kill -SEGV $$", USER, "killed by SIGSEGV", 0),
    "disk full": ("cat /etc/passwd > /dev/full || exit 1", MACHINE, "the disk is full", 0),
    "no report": ("echo done", USER, "without any report.*done", 0),
    "no command": ("/no/such/program", USER, "exit status 127 .not found.", 0),
    "no JSON": ('echo "epoch 1" >> "$ASYNCTUNE_REPORT"', USER, "a line of reports.*epoch 1", 0),
    "no object": ('echo "[1]" >> "$ASYNCTUNE_REPORT"', USER, r"a line of reports.*\[1\]", 0),
    "no epoch": ("report '1, \"epoch\": null' 1", USER, "'epoch' .*must be a number; got None", 0),
    "no number": ("report 1 '\"low\"'", USER, "'loss' .*must be a number; got 'low'", 0),
    "a truth": ("report 1 true", USER, "'loss' .*must be a number; got True", 0),
    "epoch 0": ("report 0 1", USER, "a whole number from 1; got 0", 0),
    "half an epoch": ("report 1.5 1", USER, "a whole number from 1; got 1.5", 0),
    "infinitely many epochs": ("report '\"inf\"' 1", USER, "a whole number from 1; got inf", 0),
    "no metric": (
        """echo '{"values": {"epoch": 1, "accuracy": 1}}' >> "$ASYNCTUNE_REPORT" """,
        USER,
        "must have 'loss'; got epoch, accuracy",
        0,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_cause_and_its_words(tmp_path, name):
    text, cause, message, level = FAULTS[name]
    event = end_of(tmp_path, text)
    assert isinstance(event, Failed)
    assert event.cause is cause
    assert event.resource == level
    assert re.search(message, event.message, re.DOTALL), event.message


ORDERLY = {
    "a rung": (f"{SAVE} report 3 0.5", 3, Paused, 3),
    "a rung without a checkpoint": ("report 3 0.5", 3, Paused, 0),
    "all levels": (f"{SAVE} report 9 0.5", 9, Ended, None),
    "fewer levels": ("report 4 0.5", 9, Ended, None),
}


@pytest.mark.parametrize("name", ORDERLY)
def test_an_end_in_order(tmp_path, name):
    text, until, kind, level = ORDERLY[name]
    event = end_of(tmp_path, text, until=until)
    assert isinstance(event, kind)
    assert level is None or event.resource == level


def test_values_that_are_not_finite_are_reports(tmp_path):
    async def main():
        text = "report 1 '\"nan\"'; report 2 '\"inf\"'; report 3 0.5"
        async with Bench(tmp_path / "experiment", shell(tmp_path, text)) as bench:
            await bench.backend.start(order())
            await bench.end_of()
            return [e.metrics["loss"] for e in bench.seen if isinstance(e, Report)]

    nan, inf, number = anyio.run(main)
    assert isnan(nan)
    assert (inf, number) == (float("inf"), 0.5)


@pytest.mark.parametrize("ending", ["", "trap '' TERM; "])
def test_a_hang_is_a_timeout(tmp_path, ending):
    event = end_of(
        tmp_path, f"{ending}{SAVE} report 2 0.5; sleep 1000", report_timeout=0.5, grace_period=0.2
    )
    assert isinstance(event, Failed)
    assert (event.cause, event.resource) == (TIMEOUT, 2)
    assert "report_timeout, 0.5 s" in event.message
    assert 0.5 <= event.time < 30


def test_what_is_shown_of_a_trial_that_was_ended_is_its_own(tmp_path):
    event = end_of(tmp_path, "echo hello >&2; no-such-program; exec sleep 1000", report_timeout=0.5)
    message, _, wrote = event.message.partition("; it wrote last:\n")
    assert message == "it has not reported for longer than report_timeout, 0.5 s"
    assert wrote.startswith("hello\n")
    assert "no-such-program" in wrote.splitlines()[-1]


def test_who_is_to_pause_and_trains_to_the_end_has_the_checkpoint_that_there_is(tmp_path):
    text = 'report 1 0.5; echo > "$ASYNCTUNE_WAKE"; until [ -e "$0.go" ]; do sleep 0.01; done'
    text += "; report 9 0.1"

    async def main():
        async with Bench(tmp_path / "experiment", shell(tmp_path, text)) as bench:
            await bench.backend.start(order())
            await bench.until(lambda e: isinstance(e, Report))
            await bench.backend.pause(0, 0)
            (tmp_path / "train.sh.go").touch()
            return await bench.end_of()

    event = anyio.run(main)
    assert isinstance(event, Paused)
    assert event.resource == 0


def test_a_trial_may_take_so_long_in_all(tmp_path):
    text = "report 1 0.5; sleep 0.6"

    async def main():
        bench = Bench(tmp_path / "experiment", shell(tmp_path, text), trial_timeout=1.0)
        async with bench:
            for attempt in range(2):
                await bench.backend.start(order(attempt=attempt))
                await bench.end_of(attempt=attempt)
            return [type(e) for e in bench.seen if not isinstance(e, Report)]

    assert anyio.run(main) == [Started, Ended, Started, Failed]


def test_an_attempt_may_take_so_long(tmp_path):
    text = "while true; do report 1 0.5; sleep 0.05; done"
    event = end_of(tmp_path, text, trial_timeout=0.7, report_timeout=100.0)
    assert (event.cause, event.resource) == (TIMEOUT, 0)
    assert "trial_timeout, 0.7 s" in event.message


def test_a_machine_that_starts_no_process(tmp_path, monkeypatch):
    def spawn(*arguments, **named):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process, "spawn", spawn)
    event = end_of(tmp_path, "true")
    assert isinstance(event, Failed)
    assert event.cause is MACHINE
    assert "cannot be started" in event.message


def test_a_full_disk_ends_the_run_and_the_same_goes_on_when_there_is_room(tmp_path, monkeypatch):
    text = f'{SAVE} report 3 0.5; [ -e "$0.room" ] || exit 1; report 9 0.4'
    settings = {"method": "RS", "bounds": {"max_trials": 2}}
    with monkeypatch.context() as patch:
        patch.setattr(files, "_LITTLE", 1 << 80)
        with pytest.raises(OSError, match="No space left") as caught:
            run(tmp_path / "e", shell(tmp_path, text), **settings)
    assert files.tells_of_no_room(caught.value)
    (tmp_path / "train.sh.room").touch()
    metadata, lines = run(tmp_path / "e", shell(tmp_path, text), **settings)
    assert (metadata["stopped_by"], metadata["n_trials"]) == ("max_trials", 2)
    assert not [line for line in lines if line["event"] == "failed"]
    starts = [line["from"] for line in lines if line["event"] == "start" and line["attempt"]]
    assert set(starts) == {3}


def test_a_disk_too_full_to_start_a_process_ends_the_run(tmp_path, monkeypatch):
    def spawn(*arguments, **named):
        raise OSError(28, "No space left on device")

    settings = {"method": "RS", "bounds": {"max_trials": 2}}
    with monkeypatch.context() as patch:
        patch.setattr(process, "spawn", spawn)
        with pytest.raises(OSError, match="No space left"):
            run(tmp_path / "e", shell(tmp_path, "report 9 0.5"), **settings)
    metadata, lines = run(tmp_path / "e", shell(tmp_path, "report 9 0.5"), **settings)
    assert metadata["n_reports"] == 2
    assert not [line for line in lines if line["event"] == "failed"]


def test_a_machine_without_room_for_a_trials_files(tmp_path):
    async def main():
        async with Bench(tmp_path, shell(tmp_path, "report 9 0.5")) as bench:
            (tmp_path / "trials" / "000000").touch()  # where a folder is to be
            before = descriptors()
            await bench.backend.start(order())
            assert isinstance(await bench.end_of(), Failed)
            (tmp_path / "trials" / "000000").unlink()
            (tmp_path / "trials" / "000000" / "reports.0.jsonl").mkdir(parents=True)
            await bench.backend.start(order())
            assert isinstance(await bench.end_of(), Failed)
            assert descriptors() == before
            await bench.backend.start(order(attempt=1))
            return await bench.end_of(attempt=1), bench.seen

    end, seen = anyio.run(main)
    assert isinstance(end, Ended)
    assert all("cannot be started" in e.message for e in seen if isinstance(e, Failed))
    assert [e.cause for e in seen if isinstance(e, Failed)] == [MACHINE, MACHINE]


def test_nothing_is_left_behind(tmp_path):
    text = 'sleep 1000 & echo $! > "$0.pid"; (sleep 1000 & echo $! > "$0.pid2"); report 1 1'
    end_of(tmp_path, text)
    for name in ("train.sh.pid", "train.sh.pid2"):
        assert gone((tmp_path / name).read_text().strip())


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_who_does_not_listen_is_killed_with_all_its_own(tmp_path, command):
    text = f"""trap '' TERM USR1
{SAVE} sleep 1000 & echo $! > "$0.pid"; report 2 0.5; echo > "$ASYNCTUNE_WAKE"
while true; do sleep 0.01; done"""

    async def main():
        experiment = tmp_path / "experiment"
        async with Bench(experiment, shell(tmp_path, text), grace_period=0.2) as bench:
            await bench.backend.start(order())
            await bench.until(lambda e: isinstance(e, Report))
            await getattr(bench.backend, command)(0, 0)
            return await bench.end_of()

    event = anyio.run(main)
    if command == "pause":
        assert isinstance(event, Paused)
        assert event.resource == 2
    else:
        assert isinstance(event, Ended)
    assert gone((tmp_path / "train.sh.pid").read_text().strip())


def test_retries_have_their_budget_and_are_on_record(tmp_path):
    text = "report 1 0.5; exit 7"
    _, lines = run(
        tmp_path / "experiment",
        shell(tmp_path, text),
        method="RS",
        bounds={"max_trials": 2},
        retries=RetryPolicy(user_error=2, max_failures=10),
    )
    failed = [line for line in lines if line["event"] == "failed"]
    assert sorted((f["trial"], f["attempt"]) for f in failed) == [
        (trial, attempt) for trial in range(2) for attempt in range(3)
    ]
    assert {f["cause"] for f in failed} == {"user_error"}
    assert {f["state"] for f in failed if f["attempt"] == 2} == {"failed"}
    statuses = [line["status"] for line in lines if line["event"] == "report"]
    assert sorted(statuses) == ["repeated"] * 4 + ["running"] * 2


def test_epochs_that_repeat_or_go_back_are_on_record(tmp_path):
    text = "report 1 0.5; report 1 0.4; report 3 0.3; report 2 0.2; report 4 0.1"
    metadata, lines = run(
        tmp_path / "experiment", shell(tmp_path, text), method="RS", bounds={"max_trials": 1}
    )
    reports = [(e["resource"], e["status"]) for e in lines if e["event"] == "report"]
    assert reports == [
        (1, "running"),
        (1, "repeated"),
        (3, "running"),
        (2, "repeated"),
        (4, "running"),
    ]
    assert metadata["best_metric"] == 0.1


def backend_of(trainable, **options):
    return local_backend(BackendRequest(benchmark(trainable), "", 1, 0, options))


def test_what_cannot_be_run_is_said_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"must be a file; got .*nowhere\.py"):
        backend_of(Script(path=tmp_path / "nowhere.py"))
    plain = tmp_path / "train"
    plain.write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match="must be executable"):
        backend_of(Script(path=plain))
    plain.chmod(stat.S_IRWXU)
    backend_of(Script(path=plain))
    with pytest.raises(UsageError, match="no-such-launcher is to run"):
        backend_of(Script(path=plain, prefix=("no-such-launcher",)))
    with pytest.raises(UsageError, match="small has none"):
        backend_of(None)


@pytest.mark.parametrize(
    "options",
    [
        {"grace_period": -1},
        {"report_timeout": 0},
        {"trial_timeout": "soon"},
        {"disk_budget": float("inf")},
        {"on_interrupt": "panic"},
        {"no_such_option": 1},
    ],
)
def test_settings_out_of_range(tmp_path, options):
    (name,) = options
    with pytest.raises(UsageError, match=name):
        backend_of(script(tmp_path), **options)
