"""An experiment that is over goes on within larger bounds."""

import json

import polars as pl
import pytest
from small_experiments import METHODS, small_experiment

from asynctune import UsageError
from asynctune.experiment import JOURNAL, RESULTS, replay_experiment, run_experiment
from asynctune.explain import explain_idle
from asynctune.inputs import extends
from asynctune.journal import read_bounds

MORE = {
    "max_wallclock_time": (700.0, 2000.0),
    "max_evaluations": (101, 300),
    "max_resource_total": (90, 250),
    "max_cost": (0.2, 0.6),
    "metric_value": (0.2, 0.06),
}


def lines_of(folder):
    lines = [json.loads(line) for line in (folder / JOURNAL).read_bytes().splitlines()]
    return [line for line in lines[1:] if line["event"] not in ("bounds", "finished")]


@pytest.mark.parametrize("bound", MORE)
@pytest.mark.parametrize("method", METHODS)
def test_it_goes_on_as_if_it_had_never_ended(method, bound, tmp_path):
    short, long = (
        small_experiment(**METHODS[method], bounds={bound: x}, landscape={"lock_step": True})
        for x in MORE[bound]
    )
    run_experiment(long, tmp_path / "long")
    first = run_experiment(short, tmp_path / "short")
    metadata = run_experiment(long, tmp_path / "short")
    assert first["stopped_by"] == metadata["stopped_by"] == bound
    assert first["n_reports"] < metadata["n_reports"]
    assert lines_of(tmp_path / "short") == lines_of(tmp_path / "long")
    results = [pl.read_parquet(tmp_path / name / RESULTS) for name in ("short", "long")]
    assert results[0].equals(results[1])
    assert metadata["inputs"]["stopping"] == {bound: MORE[bound][1]}
    assert run_experiment(long, tmp_path / "short") == metadata


def test_more_trials_twice_and_killed_anywhere(tmp_path):
    few, more, most = (small_experiment(bounds={"max_trials": n}) for n in (5, 9, 12))
    run_experiment(few, tmp_path)
    begun = (tmp_path / JOURNAL).read_bytes()
    run_experiment(more, tmp_path)
    middle = (tmp_path / JOURNAL).read_bytes()
    metadata = run_experiment(most, tmp_path)
    whole = (tmp_path / JOURNAL).read_bytes()
    assert metadata["n_trials"] == 12
    assert whole.startswith(middle)
    assert middle.startswith(begun)
    for end in range(len(begun) + 1, len(middle), 997):
        (tmp_path / JOURNAL).write_bytes(whole[:end])
        (tmp_path / RESULTS).unlink()
        run_experiment(more, tmp_path)
        assert (tmp_path / JOURNAL).read_bytes() == middle
    for end in range(len(middle) + 1, len(whole), 997):
        (tmp_path / JOURNAL).write_bytes(whole[:end])
        (tmp_path / RESULTS).unlink()
        run_experiment(most, tmp_path)
        assert (tmp_path / JOURNAL).read_bytes() == whole
    assert len(replay_experiment(few, tmp_path).trials) == 12
    assert read_bounds(tmp_path / JOURNAL) == {"max_trials": 12}


def test_what_was_interrupted_goes_on_within_any_bounds(tmp_path):
    run_experiment(small_experiment(bounds={"max_trials": 9}), tmp_path)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(b"".join(lines[:40]))
    (tmp_path / RESULTS).unlink()
    assert " so far" in explain_idle(tmp_path)[0]
    metadata = run_experiment(small_experiment(bounds={"max_evaluations": 50}), tmp_path)
    assert (metadata["stopped_by"], metadata["n_reports"]) == ("max_evaluations", 50)
    assert " so far" not in explain_idle(tmp_path)[0]


def test_bounds_that_are_reached_already_end_it_at_once(tmp_path):
    first = run_experiment(small_experiment(bounds={"max_evaluations": 50}), tmp_path)
    bounds = {"max_evaluations": 60, "max_resource_total": 20}
    again = run_experiment(small_experiment(bounds=bounds), tmp_path)
    assert again["stopped_by"] == "max_resource_total"
    assert again["n_reports"] == first["n_reports"]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_trials": 8}, "extended but not cut: its stopping.max_trials is 9, not 8;"),
        ({"max_trials": 9, "max_cost": 1.0}, "its stopping.max_cost is None, not 1.0"),
    ],
)
def test_it_is_not_cut(bounds, message, tmp_path):
    run_experiment(small_experiment(bounds={"max_trials": 9}), tmp_path)
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(UsageError, match=message):
        run_experiment(small_experiment(bounds=bounds), tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_a_larger_bound_that_did_not_end_it_changes_nothing(tmp_path):
    bounds = {"max_trials": 5, "max_evaluations": 1000}
    first = run_experiment(small_experiment(bounds=bounds), tmp_path)
    bounds["max_evaluations"] = 2000
    assert run_experiment(small_experiment(bounds=bounds), tmp_path) == first


@pytest.mark.parametrize(
    ("stopped_by", "before", "now", "mode", "expected"),
    [
        ("max_trials", {"max_trials": 3}, {"max_trials": 4}, "min", True),
        ("max_trials", {"max_trials": 3}, {"max_trials": 3}, "min", False),
        ("max_trials", {"max_trials": 3}, {"max_cost": 3.0}, "min", True),
        ("metric_value", {"metric_value": 0.2}, {"metric_value": 0.1}, "min", True),
        ("metric_value", {"metric_value": 0.2}, {"metric_value": 0.1}, "max", False),
        ("exhausted", {"max_trials": 3}, {"max_trials": 4}, "min", False),
    ],
)
def test_what_extends(stopped_by, before, now, mode, expected):
    assert extends(stopped_by, before, now, mode) == expected
