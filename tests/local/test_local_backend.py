"""Trials as processes: they report, pause, stop and end, from scripts and from functions."""

import anyio
import pytest
from trials import FUNCTION, LEVELS, PATIENCE, Bench, run, script

from asynctune.testing import check_backend


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
