"""The command line with a training script of one's own."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from asynctune import files
from asynctune.experiment import JOURNAL, METADATA
from asynctune.journal import read_header

SCRIPT = """
import argparse, json, sys, time
from asynctune import checkpoint_dir, report
parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--x", type=float)
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--fail", action="store_true")
given = parser.parse_args()
x = given.x if given.config is None else json.load(open(given.config))["x"]
path = checkpoint_dir() / "epoch"
epoch = int(path.read_text()) if path.exists() else 0
print("from epoch", epoch)
print("a warning", file=sys.stderr)
if given.fail:
    raise ArithmeticError("no luck")
while epoch < 4:
    time.sleep(given.pause)
    epoch += 1
    path.write_text(str(epoch))
    print("epoch", epoch)
    if report(epoch=epoch, loss=(x - 0.3) ** 2 + 1 / epoch):
        break
"""
SPACE = "x: {uniform: [0, 1]}\n"
RUN = "run --backend local --script train.py --space space.yaml --metric loss --max-resource 4"
FEW = [*RUN.split(), "--n-workers", "2", "--method", "ASHA", "--max-trials", "4"]


@pytest.fixture
def call(call, tmp_path):
    """Return a function that calls the command line in a folder with a script and a space."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "space.yaml").write_text(SPACE)
    return call


def test_run_logs_and_run_again(call, tmp_path):
    done = call(*FEW, "--random-seed", "3")
    assert done.status == 0, done.err
    folder = tmp_path / "results" / "train" / "ASHA-2w-0"
    metadata = json.loads((folder / "metadata.json").read_bytes())
    best = metadata["best_trial"]
    assert metadata["profile"] == "local"
    assert f"(trial {best}, epoch 4) of 4 trials" in done.out
    assert "best config: x=0." in done.out
    checkpoint = folder / "trials" / f"{best:06d}" / "checkpoint"
    assert f"its checkpoint: {checkpoint}" in done.out
    assert (checkpoint / "epoch").read_text() == "4"
    command = f"logs results/train/ASHA-2w-0 {best}"
    assert command in done.out

    whole = call(*command.split()).out
    assert whole.startswith("from epoch 0\nepoch 1\n")
    assert whole.endswith("epoch 4\n")
    assert call("logs", "train/ASHA-2w-0", str(best)).out == whole
    assert call(*command.split(), "--tail", "2").out == "".join(whole.splitlines(True)[-2:])
    assert call(*command.split(), "--follow").out == whole
    assert "a warning" in call(*command.split(), "--stderr").out

    before = (folder / JOURNAL).read_bytes()
    again = call(*FEW)
    assert again.out.splitlines()[0].startswith("complete before")
    assert again.out.splitlines()[1:] == done.out.splitlines()[5:]  # without the rung table
    assert (folder / JOURNAL).read_bytes() == before


def test_a_script_that_has_changed_is_noticed(call, tmp_path):
    assert call(*FEW, "--random-seed", "3").status == 0
    assert call(*FEW).err == ""
    (tmp_path / "train.py").write_text(SCRIPT + "# mended\n")
    changed = "asynctune: train.py has changed since results/train/ASHA-2w-0 was begun; "
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        done = call(*FEW)
        assert done.err.splitlines() == [changed + "nothing runs anew, unless under another tag"]
        more = call(*FEW, "--max-trials", "5")
        assert changed + "results of both versions are mixed" in more.err
    assert "of 5 trials" in more.out


def test_each_attempt_has_logs_of_its_own(call, tmp_path):
    slow = ["--method-option", "continue_in_place=false", "--method-option", "grace_period=1"]
    done = call(*FEW, *slow, "--random-seed", "3")
    assert done.status == 0, done.err
    trials = tmp_path / "results" / "train" / "ASHA-2w-0" / "trials"
    trial = next(int(path.parent.name) for path in trials.glob("*/stdout.1.log"))
    whole = call("logs", "train/ASHA-2w-0", str(trial)).out
    assert "--- attempt 1 ---\nfrom epoch" in whole
    assert call("logs", "train/ASHA-2w-0", str(trial), "--attempt", "0").out in whole
    assert "attempt 1" not in call("logs", "train/ASHA-2w-0", str(trial), "--attempt", "1").out


def test_json_config_arguments_and_launcher(call, tmp_path):
    launcher = ["--config-as", "json", "--launcher", f"{sys.executable} -X faulthandler"]
    done = call(*FEW, *launcher, "--mode", "max", "--", "--pause", "0.001")
    assert done.status == 0, done.err
    header = read_header(tmp_path / "results" / "train" / "ASHA-2w-0" / JOURNAL)
    backend = header["backend"]
    assert backend["config_as"] == "json"
    assert backend["arguments"] == ["--pause", "0.001"]
    assert backend["prefix"][1:] == ["-X", "faulthandler"]
    assert header["mode"] == "max"


def test_only_what_decides_must_be_the_same_again(call):
    assert call(*FEW, "--disk-budget", "1MB", "--on-interrupt", "stop").status == 0
    assert call(*FEW, "--grace-period", "3").status == 0
    other = call(*FEW, "--trial-timeout", "60")
    assert other.status == 2
    assert "trial_timeout" in other.err


def test_when_every_trial_fails(call):
    done = call(*FEW, "--", "--fail")
    assert done.status == 1
    assert "best loss none of" in done.out
    assert "ArithmeticError: no luck" in done.err
    assert "--stderr" in done.err.splitlines()[-2]
    assert "the same again begins anew" in done.err.splitlines()[-1]


def test_a_full_disk_is_told_in_a_line(call, monkeypatch):
    monkeypatch.setattr(files, "_LITTLE", 1 << 80)
    done = call(*FEW, "--", "--fail")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "the disk is full; when there is room, the same command goes on" in done.err
    # Some tell it in words alone.
    assert files.tells_of_no_room(ValueError("IO error: No space left on device (os error 28)"))
    assert not files.tells_of_no_room(OSError(2, "No such file", "No space left on device"))


def test_mended_the_same_command_begins_anew(call, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("raise ArithmeticError")
    assert call(*FEW).status == 1
    script.write_text(SCRIPT)
    other = [word.replace("loss", "loss2") for word in FEW]
    assert "must have 'loss2'; got epoch, loss" in call(*other).err
    done = call(*FEW)
    assert done.status == 0, done.err
    assert "of 4 trials" in done.out

    script.write_text(SCRIPT.replace('print("epoch", epoch)', "1 / (2 - epoch)"))
    later = [*FEW, "--method", "RS"]
    assert "remove results/train/RS-2w-0 or use another tag" in call(*later).err
    assert "complete before" in call(*later).out


def test_what_scripts_do_wrong_is_said_at_the_end(call, tmp_path):
    (tmp_path / "train.py").write_text("""
import time
from asynctune import report
for epoch in range(1, 5):
    report(epoch=epoch, loss=1 / epoch)
    time.sleep(0.6)
""")
    (tmp_path / "space.yaml").write_text("x: {uniform: [0, 1]}\n")
    done = call(*FEW, "--method-option", "continue_in_place=false")
    assert done.status == 0
    assert "went on after being told to pause or stop" in done.err


def test_when_no_value_is_a_number(call, tmp_path):
    text = "from asynctune import report\nreport(epoch=1, loss=float('nan'))\n"
    (tmp_path / "train.py").write_text(text)
    (tmp_path / "space.yaml").write_text("x: 0.5\n")
    done = call(*FEW)
    assert done.status == 1
    assert "ended as no other config was left to try" in done.out
    assert "the value of loss was NaN" in done.err
    assert call(*FEW, "--log-format", "json").status == 1


def test_constants_alone_are_the_best_config(call, tmp_path):
    (tmp_path / "space.yaml").write_text("x: 0.5\n")
    assert "best config: x=0.5\n" in call(*FEW).out


def test_the_logs_named_are_those_that_say_something(call, tmp_path):
    (tmp_path / "train.py").write_text("print('hello')\n")
    done = call(*FEW)
    pointer = next(line for line in done.err.splitlines() if line.startswith("all it wrote: "))
    assert "it wrote last:\nhello\n" in done.err
    assert call(*pointer.split()[4:]).out == "hello\n"


def test_a_best_value_that_is_not_the_checkpoints_is_told_apart(call, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT.replace("1 / epoch)", "abs(epoch - 2) + 5)"))
    done = call(*FEW, "--method", "RS", "--random-seed", "3")
    assert re.search(r"best loss 5\.[0-9]+ \(trial [0-3], epoch 2\)", done.out)
    (folder,) = re.findall(r"^its checkpoint, of epoch 4: (.*)$", done.out, re.MULTILINE)
    assert (Path(folder) / "epoch").read_text() == "4"
    best = json.loads(call(*FEW, "--method", "RS", "--log-format", "json").out.splitlines()[-1])
    assert (best["level"], best["last_level"]) == (2, 4)
    more = call(*FEW, "--method", "RS", "--mode", "max", "--experiment-tag", "largest")
    assert re.search(r"\(trial [0-3], epoch 4\)", more.out)


def test_a_second_tuner_is_refused_before_anything_is_told(call, tmp_path):
    assert call(*FEW, "--random-seed", "3").status == 0
    trials = tmp_path / "results" / "train" / "ASHA-2w-0" / "trials"
    held = os.open(trials, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    refused = call(*FEW, "--max-trials", "5")
    os.close(held)
    assert (refused.status, refused.out) == (2, "")
    assert "another tuner is at work in results/train/ASHA-2w-0/trials" in refused.err


def test_json_lines(call):
    done = call(*FEW, "--log-format", "json")
    events = [json.loads(line) for line in done.out.splitlines()]
    kinds = ["random_seed", "study_started", "experiment_complete", "best"]
    assert [event["event"] for event in events] == kinds
    seed, _, done, best = events
    assert done["trials"] == 4
    assert best["value"] == done["best"]
    assert list(best["config"]) == ["x"]
    assert (Path(best["checkpoint"]) / "epoch").exists()
    metadata = json.loads((Path(best["folder"]) / METADATA).read_bytes())
    assert seed["random_seed"] == metadata["random_seed"]


def test_a_seed_that_is_drawn_is_told_once(call, tmp_path):
    first, *_ = call(*FEW).out.splitlines()
    study = json.loads((tmp_path / "results" / "train" / "study.json").read_bytes())
    assert first == f"random seed {study['random_seed']}"
    assert "random seed" not in call(*FEW).out
    assert "random seed" not in call(*FEW, "--experiment-tag", "own", "--random-seed", "3").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "transformer_wikitext2"], "got both"),
        (["--script", "nothing.py"], "must be a file; got nothing.py"),
        (["--space", "nothing.yaml"], "nothing.yaml: No such file"),
        (["--max-resource", "0"], "max-resource"),
        (["--mode", "least"], "'least'"),
        (["--disk-budget", "much"], "must be a size such as 500MB or 20GB; got 'much'"),
        (["--on-interrupt", "cry"], "'cry'"),
        (["--trial-timeout", "0"], "trial-timeout"),
        (["--launcher", "no-such-program"], "no-such-program is to run"),
        (["--experiment-tag", "a_b"], "got 'a_b'"),
        (["--method", "magic"], "got 'magic'"),
        (["--backend", "simulated"], "blackbox"),
        (["--set", "nope=1"], "'nope'"),
        (["--profile", "nosuch"], "--profile belongs to a simulation, and this trains"),
        (["--warm-pool", "1"], "--warm-pool belongs to a simulation"),
        (["--decision-cost", "1"], "--decision-cost belongs to a simulation"),
        (["--instance-type", "ml.m4"], "--instance-type belongs to a simulation"),
        (["--scale-max-wallclock-time", "1"], "belongs to a --benchmark; got a --script"),
        (["--metric", ""], "metric must name what is reported; got ''"),
        (["--resource", ""], "resource must name what is reported; got ''"),
        (["--", "--x=3"], "must not be in the config space, too; got --x=3"),
        (["--max-cost", "3"], "this machine has no price; got 3.0"),
    ],
)
def test_bad_input_is_one_line_and_status_2(call, tmp_path, arguments, message):
    done = call(*FEW, *arguments)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert message in done.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("missing", ["--space", "--metric", "--max-resource"])
def test_what_a_script_needs(call, missing):
    at = FEW.index(missing)
    done = call(*FEW[:at], *FEW[at + 2 :])
    assert done.status == 2
    assert f"a --script must have {missing}; got none" in done.err


def test_what_belongs_to_scripts_only(call):
    simulated = ["run", "--method", "ASHA", "--benchmark", "transformer_wikitext2"]
    assert "--metric belongs to a --script" in call(*simulated, "--metric", "loss").err
    assert "got --fast" in call(*simulated, "--", "--fast").err
    assert "got neither" in call(*simulated[:3]).err


def test_a_study_can_be_named_as_its_script_is(call, tmp_path):
    (tmp_path / "train.py").rename(tmp_path / "my_train.py")
    command = ["my_train.py" if word == "train.py" else word for word in FEW]
    assert "results: results/my-train/ASHA-2w-0\n" in call(*command).out
    for tag in ("my_train", "my-train"):
        assert call("logs", f"{tag}/ASHA-2w-0", "0").out.startswith("from epoch 0\n")
        assert call("explain", f"{tag}/ASHA-2w-0", "0").out.startswith("trial 0 of ASHA-2w-0")
        assert "ASHA" in call("table", tag).out
    assert "got my_train/RS-2w-0" in call("logs", "my_train/RS-2w-0", "0").err


def test_logs_that_hold_nothing_say_so(call, tmp_path):
    (tmp_path / "train.py").write_text("import sys\nprint('hello', file=sys.stderr)\n")
    call(*FEW)
    silent = call("logs", "train/ASHA-2w-0", "0")
    assert (silent.status, silent.out) == (0, "")
    assert silent.err == "trial 0 wrote nothing on stdout; see --stderr\n"
    assert call("logs", "train/ASHA-2w-0", "0", "--stderr").err == ""
    (tmp_path / "train.py").write_text("")
    call(*FEW, "--experiment-tag", "mute")
    assert call("logs", "mute/ASHA-2w-0", "0").err == "trial 0 wrote nothing on stdout\n"


def test_logs_of_what_is_not_there(call, tmp_path):
    assert "got train/x" in call("logs", "train/x", "0").err
    (tmp_path / "results" / "train" / "x" / "trials").mkdir(parents=True)
    assert "has no 7" in call("logs", "train/x", "7").err


def test_logs_are_followed_from_before_the_start_to_the_end(tmp_path):
    folder = tmp_path / "results" / "train" / "x"
    folder.mkdir(parents=True)
    (folder / METADATA).write_text('{"status": "running"}')
    program = [sys.executable, "-c", "from asynctune.cli import main; main()"]
    process = subprocess.Popen(
        [*program, "logs", str(folder), "3", "--follow"], stdout=subprocess.PIPE
    )
    trial = folder / "trials" / "000003"
    trial.mkdir(parents=True)
    (trial / "reports.0.jsonl").touch()
    (trial / "stdout.0.log").write_text("one\n")
    assert process.stdout.readline() == b"one\n"
    with (trial / "stdout.0.log").open("a") as file:
        file.write("two\n")
    assert process.stdout.readline() == b"two\n"
    (trial / "reports.1.jsonl").touch()
    (trial / "stdout.1.log").write_text("three")
    (folder / "new").write_text('{"status": "complete"}')
    (folder / "new").replace(folder / METADATA)
    rest, _ = process.communicate(timeout=60)
    assert rest == b"--- attempt 1 ---\nthree"
    assert process.returncode == 0


def interrupt(tmp_path, *command):
    """Start a command, interrupt it after its first report, and return (output, errors)."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from asynctune.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    journal = tmp_path / "results" / "train" / "ASHA-2w-0" / JOURNAL
    while not journal.exists() or b'"report"' not in journal.read_bytes():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().count("\n") == 0
    assert "the same command goes on" in err
    return out


def test_ctrl_c_and_the_same_command_again(call, tmp_path):
    command = [*FEW, "--random-seed", "3", "--", "--pause", "0.2"]
    out = interrupt(tmp_path, *command)
    assert re.search(r"best loss so far [0-9.]+ \(trial [01]\): x=0\.", out)
    assert "results so far: results/train/ASHA-2w-0; " in out
    journal = tmp_path / "results" / "train" / "ASHA-2w-0" / JOURNAL
    begun = journal.read_bytes()
    refused = call("table", "train")
    assert refused.status == 2
    assert "asynctune curves train/ASHA-2w-0" in refused.err
    done = call(*command)
    assert done.status == 0, done.err
    assert "ended by max_trials" in done.out
    assert journal.read_bytes().startswith(begun)


def test_trials_that_are_left_to_themselves_are_counted(call, tmp_path):
    command = [*FEW, "--on-interrupt", "detach", "--random-seed", "3", "--", "--pause", "0.2"]
    assert re.search(
        r"^(2 trials run|1 trial runs) on$", interrupt(tmp_path, *command), re.MULTILINE
    )
    assert call(*command).status == 0
