"""Trials as processes: they report, pause, stop and end, from scripts and from functions."""

import os
import subprocess
import sys

import anyio
import pytest
from trials import FUNCTION, LEVELS, PATIENCE, Bench, experiment, order, run, script

from asynctune.events import Ended, Paused
from asynctune.exceptions import UsageError
from asynctune.experiment import read_metadata, replay_experiment, run_experiment
from asynctune.space import uniform
from asynctune.stopping import RetryPolicy
from asynctune.testing import check_backend
from asynctune.trainable import Function


@pytest.mark.parametrize("kind", ["script", "function"])
def test_the_backend_keeps_to_its_protocol(tmp_path, kind):
    async def main():
        trainable = FUNCTION if kind == "function" else script(tmp_path)
        bench = Bench(tmp_path / "experiment", trainable, seconds=0.05)
        bench._origin = anyio.current_time()
        await check_backend(
            bench.backend,
            bench.clock,
            {"x": 0.5},
            metric="loss",
            max_resource=LEVELS,
            patience=PATIENCE,
        )

    anyio.run(main)


@pytest.mark.parametrize("kind", ["script", "function"])
def test_an_experiment_runs_to_its_end(tmp_path, kind):
    trainable = FUNCTION if kind == "function" else script(tmp_path)
    metadata, lines = run(tmp_path / "experiment", trainable)
    assert metadata["stopped_by"] == "max_trials"
    assert metadata["n_trials"] == 6
    assert metadata["n_failed"] == 0
    reports = [line for line in lines if line["event"] == "report"]
    assert {line["status"] for line in reports} == {"running"} or kind == "function"


@pytest.mark.parametrize("method", ["ASHA", "Hyperband"])
def test_replaying_the_journal_gives_the_same_decisions(tmp_path, method):
    tried = experiment(script(tmp_path), method=method, retries=RetryPolicy(backoff=0.01))
    metadata = run_experiment(tried, tmp_path / "experiment")
    ledger = replay_experiment(tried, tmp_path / "experiment")
    assert ledger.reports == metadata["n_reports"]
    assert ledger.best_metric == metadata["best_metric"]
    assert run_experiment(tried, tmp_path / "experiment") == read_metadata(tmp_path / "experiment")


def test_what_the_space_says_is_no_argument_as_well(tmp_path):
    for arguments in (("--se_conds", "3"), ("--x=3",)):
        trainable = script(tmp_path, arguments=arguments)
        space = {"space": {"x": uniform(0, 1), "se-conds": 0.0}}
        with pytest.raises(UsageError, match=f"too; got {arguments[0]}"):
            Bench(tmp_path / "e", trainable, problem=space)
    Bench(tmp_path / "e", script(tmp_path, arguments=("--data", "x", "--xs")))
    Bench(tmp_path / "e", script(tmp_path, arguments=("--x", "3"), config_as="json"))


PROGRAM = """
import sys
from pathlib import Path
from asynctune import Benchmark, Experiment, Function, StoppingCriterion, run_experiment, uniform

def train(x):
    print("training")
    for epoch in range(1, 4):
        yield {"loss": x / epoch}

print("imported")
if __name__ == "__main__":
    benchmark = Benchmark(
        name="mine", space={"x": uniform(0, 1)}, metric="loss", mode="min", resource="epoch",
        max_resource=3, max_wallclock_time=100.0, n_workers=1, trainable=Function(function=train),
    )
    experiment = Experiment(
        tag="t", method="RS", benchmark=benchmark, n_workers=1, seed=0, scheduler_seed=0,
        backend="local", stopping=StoppingCriterion(max_trials=1),
    )
    print(run_experiment(experiment, Path(sys.argv[1]))["n_reports"])
"""


def test_a_function_of_the_program_itself(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path / "experiment")]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["imported", "3"]
    log = tmp_path / "experiment" / "trials" / "000000" / "stdout.0.log"
    assert log.read_text().split() == ["imported", "training"]


def test_functions_that_another_process_cannot_import():
    def inner():
        """Be hidden."""

    with pytest.raises(UsageError, match=r"at the top of a module; got .*inner"):
        Function(function=inner)
    with pytest.raises(UsageError, match=r"at the top of a module; got .*<lambda>"):
        Function(function=lambda: None)


@pytest.mark.parametrize("prefix", [(), ("/usr/bin/env", "MARK=there", sys.executable)])
def test_what_a_script_finds_in_its_environment(tmp_path, prefix):
    text = """
import os, sys
from asynctune import report
print(os.environ.get("OWN"), os.environ.get("MARK"))
report(epoch=9, loss=1.0)
"""
    trainable = script(tmp_path, text, prefix=prefix, environment={"OWN": "mine"})
    run(tmp_path / "experiment", trainable, method="RS", bounds={"max_trials": 1})
    log = tmp_path / "experiment" / "trials" / "000000" / "stdout.0.log"
    assert log.read_text().split() == ["mine", "there" if prefix else "None"]


def test_a_system_that_does_not_tell_of_ends_is_asked(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")

    async def main():
        trainable = script(tmp_path)
        async with Bench(tmp_path / "experiment", trainable) as bench:
            await bench.backend.start(order(0))
            assert isinstance(await bench.end_of(0), Ended)
            await bench.backend.start(order(1, until=1))
            assert isinstance(await bench.end_of(1), Paused)

    anyio.run(main)
