"""A local run that is over goes on within larger bounds."""

from collections import Counter

import functions
import pytest
from trials import LEVELS, processes_of, run, script

from asynctune.explain import explain
from asynctune.trainable import Function


@pytest.mark.parametrize("kind", ["script", "function"])
@pytest.mark.parametrize("bound", ["max_evaluations", "max_trials"])
def test_it_goes_on(tmp_path, kind, bound):
    trainable = Function(function=functions.resumes) if kind == "function" else script(tmp_path)
    settings = {"seconds": 0.02, "method_options": {"continue_in_place": False}}
    few, more = {"max_evaluations": (9, 40), "max_trials": (5, 9)}[bound]
    folder = tmp_path / "experiment"
    first, begun = run(folder, trainable, bounds={bound: few}, **settings)
    metadata, lines = run(folder, trainable, bounds={bound: more}, **settings)
    assert first["stopped_by"] == metadata["stopped_by"] == bound
    assert lines[: len(begun)] == begun
    assert lines[len(begun)]["event"] == "bounds"
    assert lines[-1]["t"] == metadata["experiment_seconds"] > first["experiment_seconds"]
    assert (metadata["n_failed"], processes_of(folder)) == (0, [])
    # Who had not reported yet when the run was over, that is.
    assert {line["cause"] for line in lines if line["event"] == "failed"} <= {"preemption"}
    configs = [line["config"] for line in lines if line["event"] == "proposal_ready"]
    reports = [line for line in lines if line["event"] == "report"]
    assert all(
        line["metrics"]["loss"] == (configs[line["trial"]]["x"] - 0.3) ** 2 + 1 / line["resource"]
        for line in reports
    )
    known = Counter((r["trial"], r["resource"]) for r in reports if r["status"] == "running")
    assert set(known.values()) == {1}
    # What waited had its checkpoint removed when the run was over, and trains it anew.
    removed = {line["trial"] for line in lines if line["event"] == "checkpoint_removed"}
    story = "\n".join(explain(folder, min(removed)))
    assert "its checkpoint was no longer kept" in story
    for line in lines[len(begun) :]:
        if line["event"] == "start" and line["trial"] in removed:
            assert line["from"] == 0
            removed.discard(line["trial"])


def test_a_run_that_ended_amid_training_trains_it_to_the_end(tmp_path):
    trainable, folder = script(tmp_path), tmp_path / "experiment"
    settings = {"seconds": 0.05, "method": "RS"}
    _, begun = run(folder, trainable, bounds={"max_evaluations": 5}, **settings)
    metadata, lines = run(folder, trainable, bounds={"max_trials": 2}, **settings)
    assert (metadata["n_trials"], metadata["n_failed"]) == (2, 0)
    for trial in range(2):
        # An epoch that was killed on its way to the report is not told of.
        levels = [r["resource"] for r in lines if r["event"] == "report" and r["trial"] == trial]
        assert levels == sorted(set(levels))
        assert levels[-1] == LEVELS
    again = {line["trial"]: line for line in lines[len(begun) :] if line["event"] == "start"}
    for trial, line in again.items():  # from the checkpoint of its last report, if there was one
        before = [r["resource"] for r in begun if r["event"] == "report" and r["trial"] == trial]
        assert line["from"] >= max(before, default=0)  # some were not read any more
    assert any(line["from"] for line in again.values())
