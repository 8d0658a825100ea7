"""The command line, as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asynctune.experiment import JOURNAL

STUDY = ["study", "--experiment-tag", "s", "--benchmark", "transformer_wikitext2"]
SHORT = ["--n-workers", "2", "--max-wallclock-time", "900", "--profile", "local"]


def test_study_plot_table_findings_explain(call, tmp_path: Path) -> None:
    done = call(*STUDY, *SHORT, "--method", "RS,ASHA", "--num-seeds", "2", "--random-seed", "7")
    assert done.status == 0, done.err
    plotted = call("plot", "s")
    assert plotted.status == 0
    for ending in ("html", "png", "svg"):
        assert f"comparison.{ending}" in plotted.out
        assert (tmp_path / "results" / "s" / f"comparison.{ending}").stat().st_size > 1000
    table = call("table", "s", "--json")
    rows = json.loads(table.out)
    assert {(r["method"], r["n_workers"]) for r in rows} == {("RS", 2), ("ASHA", 2)}
    assert "RS" in call("table", "s").out
    assert call("table", "s", "--csv").out.count("\n") == 3
    found = call("findings", "s")
    assert found.out.startswith("- ")
    assert "comparison.png" in found.out
    story = call("explain", "s/ASHA-2w-0", "0")
    assert story.status == 0
    assert "trial 0" in story.out.lower()
    assert call("explain", "s/ASHA-2w-0").status == 0


def test_flags_with_underscores_are_the_same(call) -> None:
    flags = "--experiment_tag s --n_workers 2 --num_seeds 1 --random_seed 7 --method RS"
    more = "--benchmark transformer_wikitext2 --scale_max_wallclock_time 1 --profile local"
    done = call("study", *flags.split(), *more.split(), "--max_wallclock_time", "900")
    assert done.status == 0, done.err


def test_run_shows_rungs_and_the_end(call) -> None:
    arguments = ["--experiment-tag", "s", "--benchmark", "transformer_wikitext2", *SHORT]
    done = call("run", "--method", "ASHA", *arguments, "--random-seed", "7")
    assert done.status == 0, done.err
    assert "27" in done.out.splitlines()[5]  # the top rung stands in the table
    assert "ended by max_wallclock_time" in done.out
    assert "best config: batch_size=" in done.out.splitlines()[-1]
    again = call("run", "--method", "ASHA", *arguments)
    assert again.status == 0
    assert "ended by max_wallclock_time" in again.out


def test_methods_are_listed_in_any_case_and_one_is_the_default(call) -> None:
    arguments = ["--benchmark", "transformer_wikitext2", "--max-trials", "2"]
    assert "MOBSTER with 4 workers" in call("run", *arguments).out
    assert "RS with 4 workers" in call("run", *arguments, "--method", "rs").out
    assert call("study", *STUDY[1:3], *arguments, "--method", "rs,Rs").status == 0
    assert json.loads(call("table", "s", "--json").out)[0]["method"] == "RS"
    for command in ("run", "study"):
        assert "Hyperband, HyperTune, OneEpoch" in " ".join(call(command, "--help").out.split())


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--num-seeds=two", "'two' is not a valid integer."),
        ("--num-seeds=0", "0 is not in the range x>=1."),
        ("--max-wallclock-time=soon", "'soon' is not a valid number."),
    ],
)
def test_numbers_are_called_numbers(call, flag: str, message: str) -> None:
    done = call(*STUDY, flag)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.rstrip().endswith(message)


def test_json_log(call) -> None:
    done = call(*STUDY, *SHORT, "--method", "RS", "--log-format", "json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["event"] for event in events] == [
        "random_seed",
        "study_started",
        "experiment_complete",
        "study_complete",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n-workers", "0"], "at least 1; got 0"),
        (["--n-workers", "two"], "whole numbers"),
        (["--num-seeds", "0"], "num-seeds"),
        (["--max-wallclock-time", "0"], "max-wallclock-time"),
        (["--method", "magic"], "got 'magic'"),
        (["--method", "RS,"], "got 'RS,'"),
        (["--benchmark", "nope"], "got 'nope'"),
        (["--backend", "nope"], "got 'nope'"),
        (["--profile", "nope"], "got 'nope'"),
        (["--experiment-tag", "a_b"], "got 'a_b'"),
        (["--set", "startup_delay"], "NAME=VALUE"),
        (["--set", "nope=1"], "got 'nope'"),
        (["--instance-type", "ml.nope"], "got 'ml.nope'"),
        (["--method", "ASHA", "--method-option", "type=nope"], "got 'nope'"),
        (["--method", "ASHA", "--method-option", "grace_period=0"], "got 0"),
        (["--no-such-flag"], "no-such-flag"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = call(*STUDY, *SHORT, *arguments)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert message in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["plot", "table", "findings"])
def test_an_unknown_study_is_one_line_and_status_2(call, command: str) -> None:
    done = call(command, "nothing")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "nothing" in done.err


def test_losses_that_are_no_numbers(call) -> None:
    call(*STUDY, *SHORT, "--method", "RS", "--random-seed", "7")
    done = call("table", "s", "--losses", "low")
    assert done.status == 2
    assert "got 'low'" in done.err


def test_list_names_what_is_installed(call) -> None:
    listed = call("list").out
    for name in ("MOBSTER", "transformer_wikitext2", "simulated", "sagemaker", "local"):
        assert name in listed


def test_help_explains_every_flag(call) -> None:
    for command in ("study", "run"):
        text = call(command, "--help").out
        assert "[default:" in text
        for flag in ("--profile", "--warm-pool", "--random-seed", "--max-wallclock-time"):
            assert flag in text


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to a process there")
def test_ctrl_c_leaves_a_study_that_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from asynctune.cli import main; main()", *STUDY]
    command += ["--n-workers", "4,8", "--num-seeds", "3", "--random-seed", "7"]
    command += ["--method", "RS,ASHA", "--profile", "local", "--jobs", "1"]
    whole = tmp_path / "whole"
    subprocess.run([*command, "--results-dir", str(whole)], check=True, capture_output=True)
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [*command, "--results-dir", str(cut)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that the signal can go to the whole group, as a terminal's
    )
    while not list(cut.glob(f"s/*/{JOURNAL}")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    subprocess.run([*command, "--results-dir", str(cut)], check=True, capture_output=True)
    found = {p.parent.name: p.read_bytes() for p in cut.glob(f"s/*/{JOURNAL}")}
    assert found == {p.parent.name: p.read_bytes() for p in whole.glob(f"s/*/{JOURNAL}")}
