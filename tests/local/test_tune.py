"""Tuning from Python: scripts, functions, notebooks."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import functions
import pytest
from trials import processes_of, run, script

from asynctune import AsynctuneWarning, NoResultError, Tuned, UsageError, reporting, tune, uniform
from asynctune.backends.local import gpus
from asynctune.opening import default_workers, open_experiment, own_problem
from asynctune.tuning import ending

FEW = {
    "space": {"x": uniform(0, 1), "seconds": 0.0},
    "metric": "loss",
    "max_resource": functions.LEVELS,
    "method": "ASHA",
    "n_workers": 2,
    "max_trials": 4,
    "random_seed": 3,
}


def test_a_function(tmp_path):
    tuned = tune(functions.trained, results_dir=tmp_path, **FEW)
    assert tuned.folder == tmp_path / "trained" / "ASHA-2w-0"
    assert list(tuned.config) == ["x", "seconds"]
    assert tuned.config["seconds"] == 0.0
    reports = tuned.reports()
    assert tuned.value == reports["loss"].min()
    of_best = reports.filter(trial_id=tuned.trial)
    assert set(of_best["config_x"]) == {tuned.config["x"]}
    assert tuned.checkpoint is None
    assert tuned.metadata["n_trials"] == 4
    assert "metadata" not in repr(tuned)


def test_a_script_and_its_checkpoint_and_once_more(tmp_path):
    path = script(tmp_path).path
    (tmp_path / "space.yaml").write_text("x: {uniform: [0, 1]}\nseconds: 0.0\n")
    settings = FEW | {"space": tmp_path / "space.yaml"}
    tuned = tune(str(path), results_dir=tmp_path / "results", **settings)
    assert (tuned.checkpoint / "epoch").read_text() == "9"
    assert tuned.folder.parent.name == "train"
    begin = time.monotonic()
    again = tune(path, results_dir=tmp_path / "results", **settings | {"random_seed": None})
    assert time.monotonic() - begin < 20
    assert isinstance(again, Tuned)
    assert again == tuned


def test_the_failure_told_is_one_for_good(tmp_path):
    text = """
    import argparse, os
    from asynctune import checkpoint_dir, report
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float)
    parser.add_argument("--seconds")
    given, hung = parser.parse_args(), checkpoint_dir() / "hung"
    if given.x == 0.5:
        raise ArithmeticError("no luck")
    if not hung.exists():
        hung.touch()
        report(epoch=1, loss=1.0)
        os.kill(os.getpid(), 9)
    report(epoch=9, loss=given.x)
    """
    trainable = script(tmp_path, textwrap.dedent(text))
    _, lines = run(tmp_path / "e", trainable, method="RS", bounds={"max_trials": 2}, n_workers=1)
    assert [line["trial"] for line in lines if line["event"] == "failed"] == [0, 1]
    trial, cause, message = ending(tmp_path / "e", None).failure
    assert (trial, cause) == (0, "user_error")
    assert "no luck" in message


def test_other_inputs_need_another_tag(tmp_path):
    tune(functions.returns, results_dir=tmp_path, **FEW)
    with pytest.raises(UsageError, match="another tag"):
        tune(functions.returns, results_dir=tmp_path, **FEW | {"mode": "max"})
    tuned = tune(functions.returns, results_dir=tmp_path, **FEW | {"mode": "max"}, tag="largest")
    assert tuned.folder.parent.name == "largest"
    assert tuned.value == tuned.reports()["loss"].max()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (functions.raises, "4 trials failed; the last, trial "),
        (functions.raises, "ArithmeticError: no luck with"),
        (functions.raises, ": user_error, exit status 1"),
        (functions.raises, " --stderr\n"),
        (functions.misses, "got an unexpected keyword argument"),
        (functions.yields_numbers, "a function must yield dicts such as {'loss': ...}; got 0."),
        (functions.diverges, "no trial has reported a finite loss"),
    ],
)
def test_nothing_but_failures(tmp_path, function, message):
    with pytest.raises(NoResultError) as caught:
        tune(function, results_dir=tmp_path, **FEW | {"method": "RS"})
    assert message in str(caught.value)
    tuned = caught.value.result
    assert (tuned.config, tuned.value, tuned.trial, tuned.checkpoint) == (None,) * 4
    assert tuned.metadata["n_trials"] == 4


def test_some_failures(tmp_path):
    settings = FEW | {"method": "RS", "max_trials": 6}
    with pytest.warns(
        AsynctuneWarning, match="trials failed; the last, trial .: user_error"
    ) as caught:
        tuned = tune(functions.raises_sometimes, results_dir=tmp_path, **settings)
    assert caught[0].filename == __file__
    assert 0 < tuned.metadata["n_failed"] < 6
    assert tuned.config["x"] >= 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "least"}, "mode must be min or max; got 'least'"),
        ({"n_workers": 0}, "n_workers must be at least 1; got 0"),
        ({"max_resource": 0}, "max_resource"),
        ({"method": "magic"}, "got 'magic'"),
        ({"space": {"x": [1]}}, "'x' must be a domain"),
        ({"space": "nothing.yaml"}, "nothing.yaml"),
        (
            {"patience": 3},
            "options are: gpus, gpus_per_trial, trials_per_gpu, threads, grace_period, ",
        ),
        ({"tag": "a_b"}, "got 'a_b'"),
        ({"bounds": {"max_trials": 0}}, "max_trials must be a number above 0"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(UsageError) as error:
        tune(functions.trained, results_dir=tmp_path / "results", **FEW | changes)
    assert message in str(error.value)
    assert not (tmp_path / "results").exists()


def test_a_function_that_has_changed_is_noticed(tmp_path, monkeypatch):
    tune(functions.trained, results_dir=tmp_path, **FEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inspect.getsource", lambda _: "def trained(): return 3")
        with pytest.warns(AsynctuneWarning, match="functions.trained has changed since"):
            tune(functions.trained, results_dir=tmp_path, **FEW)

    def nothing(_):
        raise OSError

    monkeypatch.setattr("inspect.getsource", nothing)  # as of what is made at a prompt
    tune(functions.trained, results_dir=tmp_path, **FEW)


def test_a_lambda_is_no_function_to_tune(tmp_path):
    with pytest.raises(UsageError, match="top of a module"):
        tune(lambda x: {"loss": x}, results_dir=tmp_path, **FEW)


def test_an_hour_if_there_is_no_bound(tmp_path):
    problem = own_problem(
        functions.trained, space={"x": uniform(0, 1)}, metric="loss", max_resource=9
    )
    opened = open_experiment(problem, method="RS", results_dir=tmp_path, backend="local", tag="a")
    assert opened.experiment.stopping.describe() == {"max_wallclock_time": 3600.0}
    opened = open_experiment(
        problem, method="RS", results_dir=tmp_path, backend="local", bounds={"max_trials": 3}
    )
    assert opened.experiment.stopping.describe() == {"max_trials": 3}
    assert not opened.complete


def test_workers_by_default(monkeypatch):
    monkeypatch.setattr(gpus, "read_gpus", lambda: ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert 1 <= default_workers({}) <= 4
    eight = tuple(gpus.Gpu(n, f"GPU-{n}", 1000) for n in range(8))
    monkeypatch.setattr(gpus, "read_gpus", lambda: eight)
    assert default_workers({}) == 8
    assert default_workers({"gpus": "0,2", "trials_per_gpu": 3}) == 6
    assert default_workers({"gpus_per_trial": 4}) == 2
    assert 1 <= default_workers({"gpus": "none"}) <= 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,5,7")
    assert default_workers({}) == 3


def test_where_a_loop_runs_already(tmp_path):
    async def cell():
        return tune(functions.trained, results_dir=tmp_path, **FEW)

    tuned = asyncio.run(cell())
    assert tuned.metadata["status"] == "complete"
    assert threading.active_count() == 1


def test_errors_come_out_of_the_thread(tmp_path):
    async def cell():
        return tune(functions.trained, results_dir=tmp_path, **FEW | {"grace_period": -1})

    with pytest.raises(UsageError, match="grace_period must be at least 0"):
        asyncio.run(cell())


PROGRAM = """
    import asyncio, sys
    from asynctune import report, tune, uniform

    def slow(x):
        import time
        for epoch in range(1, 10):
            time.sleep(0.5)
            yield {"loss": x + 1 / epoch}

    async def cell():
        return tune(
            slow, space={"x": uniform(0, 1)}, metric="loss", max_resource=9, max_trials=2,
            n_workers=2, method="RS", tag="slow", on_interrupt="stop",
        )

    if __name__ == "__main__":
        asyncio.run(cell())
"""
AS_NOTEBOOKS_DO = "asyncio.new_event_loop().run_until_complete(cell())"

WITHOUT_A_LOOP = "cell().send(None)"


@pytest.mark.parametrize("call", ["asyncio.run(cell())", AS_NOTEBOOKS_DO, WITHOUT_A_LOOP])
def test_an_interruption_leaves_nothing_behind(tmp_path, call):
    text = textwrap.dedent(PROGRAM).replace("asyncio.run(cell())", call)
    (tmp_path / "program.py").write_text(text)
    program = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    )
    journal = tmp_path / "results" / "slow" / "RS-2w-0" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not journal.exists() or b'"report"' not in journal.read_bytes():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGINT)
    _, error = program.communicate(timeout=60)
    assert b"KeyboardInterrupt" in error
    if call == WITHOUT_A_LOOP:
        assert error.count(b"Traceback") == 1
        assert b"the same call goes on" in error.splitlines()[-1]
    assert processes_of(journal.parent) == []
    metadata = json.loads((journal.parent / "metadata.json").read_bytes())
    assert metadata["status"] == "running"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, r'must be under `if __name__ == "__main__":`; got line 18 of '),
        # What is imported by what defines the function, say, is told by its trials.
        ({reporting.CHANNEL: "reports"}, "put the call under `if __name__"),
    ],
)
def test_a_program_that_calls_without_the_guard_is_told(tmp_path, where, message):
    unguarded = textwrap.dedent(PROGRAM).replace('if __name__ == "__main__":', "if True:")
    (tmp_path / "program.py").write_text(unguarded)
    environment = os.environ | where
    ran = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert message in ran.stderr
    assert not Path(tmp_path / "results").exists()
