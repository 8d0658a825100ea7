"""Experiments in folders: killed and restarted, refused, repeated."""

import json
import random
import shutil

import polars as pl
import pytest
from small_experiments import CLUSTERS, METHODS, journal_of, small_benchmark, small_experiment

from asynctune.exceptions import JournalError, UsageError
from asynctune.experiment import (
    JOURNAL,
    METADATA,
    RESULTS,
    read_metadata,
    run_experiment,
    scheduler_seed,
)
from asynctune.stopping import StoppingCriterion


def restarted(experiment, folder, beginning):
    """Return the journal of an experiment that is restarted from the beginning of its journal."""
    folder.mkdir()
    (folder / JOURNAL).write_bytes(beginning)
    return journal_of(experiment, folder)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_killed_and_restarted_the_journal_is_the_same_to_the_byte(method, cluster, tmp_path):
    experiment = small_experiment(**METHODS[method], **CLUSTERS[cluster])
    whole = journal_of(experiment, tmp_path / "whole")
    rows = pl.read_parquet(tmp_path / "whole" / RESULTS)
    assert len(rows) > 30
    draw = random.Random(f"{method} {cluster}")
    for i in range(4):
        folder = tmp_path / str(i)
        assert restarted(experiment, folder, whole[: draw.randrange(len(whole))]) == whole
        assert pl.read_parquet(folder / RESULTS).equals(rows, null_equal=True)


@pytest.mark.parametrize("method", METHODS)
def test_restarted_after_any_line(method, tmp_path):
    experiment = small_experiment(
        **METHODS[method],
        options={"startup_delay": 0.0, "failure_rate": 60.0},
        landscape={"lock_step": True},
        bounds={"max_wallclock_time": 14.0},
        decision_cost=0.0,
    )
    whole = journal_of(experiment, tmp_path / "whole")
    lines = whole.splitlines(keepends=True)
    assert 60 < len(lines) < 300
    for i in range(len(lines)):
        assert restarted(experiment, tmp_path / str(i), b"".join(lines[:i])) == whole, lines[i]


def test_killed_time_and_again(tmp_path):
    experiment = small_experiment(**CLUSTERS["faults"])
    whole = journal_of(experiment, tmp_path / "whole")
    folder = tmp_path / "again"
    folder.mkdir()
    for end in range(1000, len(whole), 7001):
        # What a killed process left is a beginning of what the restarted one would write.
        (folder / JOURNAL).write_bytes(whole[:end])
        (folder / METADATA).write_text('{"status": "running"}')
        assert journal_of(experiment, folder)[:end] == whole[:end]
    assert (folder / JOURNAL).read_bytes() == whole


def test_what_is_complete_is_not_run_again(tmp_path):
    experiment = small_experiment("RS", bounds={"max_trials": 2})
    first = run_experiment(experiment, tmp_path)
    stamps = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert sorted(stamps) == [JOURNAL, METADATA, RESULTS]
    assert run_experiment(experiment, tmp_path) == first == read_metadata(tmp_path)
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps


def test_results_that_were_lost_are_made_from_the_journal(tmp_path):
    experiment = small_experiment("RS", bounds={"max_trials": 2})
    first = run_experiment(experiment, tmp_path)
    rows, journal = pl.read_parquet(tmp_path / RESULTS), (tmp_path / JOURNAL).read_bytes()
    (tmp_path / RESULTS).unlink()
    again = run_experiment(experiment, tmp_path)
    assert pl.read_parquet(tmp_path / RESULTS).equals(rows)
    assert (tmp_path / JOURNAL).read_bytes() == journal
    del first["host_seconds"], again["host_seconds"]
    assert again == first


def test_metadata(tmp_path):
    experiment = small_experiment("RS", bounds={"max_trials": 2}, n_workers=2, random_seed=7)
    found = run_experiment(experiment, tmp_path)
    rows = pl.read_parquet(tmp_path / RESULTS)
    assert found["status"] == "complete"
    assert found["stopped_by"] == "max_trials"
    assert (found["n_trials"], found["n_reports"], found["n_failed"]) == (2, 54, 0)
    assert found["best_metric"] == rows["loss"].min()
    best = rows.filter(pl.col("loss") == rows["loss"].min())
    assert found["best_trial"] == best["trial_id"][0]
    # What a trial costs in all stands in its last row: here nothing comes after the last report.
    assert found["total_cost_usd"] == pytest.approx(
        rows.group_by("trial_id").agg(pl.col("cost_usd").max())["cost_usd"].sum()
    )
    lasts = rows.group_by("trial_id").agg(pl.col("tuner_time").max())["tuner_time"]
    assert found["experiment_seconds"] == lasts.max()
    assert found["worker_busy_seconds"] == pytest.approx(lasts.sum())
    assert found["utilisation"] == pytest.approx(lasts.sum() / (2 * lasts.max()))
    assert found["random_seed"] == 7
    assert found["max_wallclock_time"] is None
    assert (
        found["inputs"] == json.loads((tmp_path / JOURNAL).read_bytes().split(b"\n")[0])["inputs"]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"n_workers": 5},
        {"scheduler_seed": 4},
        {"method": "RS"},
        {"method_options": {"type": "stopping"}},
        {"bounds": {"max_wallclock_time": 2999.0}},
        {"options": {"startup_delay": 9.0}},
        {"profile": "sagemaker"},
        {"decision_cost": 1.0},
        {"points_to_evaluate": ()},
        {"landscape": {"mode": "max"}},
    ],
)
def test_a_folder_of_another_experiment_is_refused_and_left_as_it_is(changes, tmp_path):
    run_experiment(small_experiment(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"holds an(other experiment: its| experiment that is)"):
        run_experiment(small_experiment(**changes), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_manipulated_journal_is_refused(tmp_path):
    experiment = small_experiment()
    run_experiment(experiment, tmp_path / "a")
    lines = (tmp_path / "a" / JOURNAL).read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"decision":"pause"' in line)
    for number, (old, new) in enumerate(
        [
            (b'"decision":"pause"', b'"decision":"continue"'),
            (b'"attempt":0', b'"attempt":1'),
            (b'"index":0', b'"index":1'),
            (b'"metrics":{', b'"metrics":{"loss2":'),
            (b'"event":"report"', b'"event":"rapport"'),
            (b'"status":"running"', b'"status":"late"'),
            (b'"trial":', b'"trial":99'),
            (b'"cutoff":', b'"cutoff":1'),
        ]
    ):
        assert old in lines[at], old
        folder = tmp_path / str(number)
        folder.mkdir()
        bad = lines[at].replace(old, new, 1)
        (folder / JOURNAL).write_bytes(b"".join([*lines[:at], bad, *lines[at + 1 : at + 50]]))
        with pytest.raises(JournalError):
            run_experiment(experiment, folder)
    folder = tmp_path / "doubled"
    folder.mkdir()
    (folder / JOURNAL).write_bytes(b"".join([*lines[: at + 1], *lines[at:]]))
    with pytest.raises(JournalError, match="holds an event twice"):
        run_experiment(experiment, folder)


@pytest.mark.parametrize(
    "content",
    [
        b"no journal at all",
        b"no journal at all\n",
        b'{"event":"header","format":2,"inputs":{}}\n',
        b'{"event":"header","format":1}\n',
        b'{"event":"header"}\n',
        b"[1, 2]\n",
    ],
)
def test_a_file_that_is_no_journal_is_not_overwritten(content, tmp_path):
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(JournalError, match="must begin with a journal header of format 1"):
        run_experiment(small_experiment(), tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == [JOURNAL]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "XYZ"}, "method must be one of"),
        ({"benchmark": "nowhere"}, "benchmark must be one of"),
        ({"backend": "nowhere"}, "backend must be one of"),
        ({"profile": "nowhere"}, "profile must be one of"),
        ({"n_workers": 0}, "n_workers must be at least 1; got 0"),
        ({"options": {"speed": 3}}, "a profile's option must be one of"),
        ({"method_options": {"speed": 3}}, "the method's options are"),
        ({"points_to_evaluate": [{"x": 2.0}]}, r"points_to_evaluate\[0\]"),
        ({"points_to_evaluate": [{"constant": "d"}]}, "constant is 'c' in the config space"),
        ({"scheduler_seed": -1}, "seed must be at least 0"),
        ({"decision_cost": -1.0}, "decision_cost must be"),
        ({"decision_cost": float("inf")}, "decision_cost must be"),
        ({"lookahead": -1}, "lookahead must be"),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(changes, message, tmp_path):
    with pytest.raises(UsageError, match=message) as caught:
        run_experiment(small_experiment(**changes), tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_metric_that_the_blackbox_does_not_return(tmp_path):
    benchmark = small_benchmark()
    object.__setattr__(benchmark, "metric", "perplexity")
    with pytest.raises(UsageError, match="must return the metric 'perplexity'; got loss, accuracy"):
        run_experiment(small_experiment(benchmark=benchmark), tmp_path)


def test_a_complete_folder_can_be_moved(tmp_path):
    experiment = small_experiment("RS", bounds={"max_trials": 2})
    first = run_experiment(experiment, tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert run_experiment(experiment, tmp_path / "b") == first


def test_the_blackbox_gets_constants_and_the_results_do_not(tmp_path):
    seen = []

    class Watched:
        def curve(self, config, seed):
            seen.append(config)
            from small_experiments import Landscape

            return Landscape().curve(config, seed)

    benchmark = small_benchmark()
    object.__setattr__(benchmark, "blackbox", Watched)
    points = [{"x": 0.5, "n": 3, "constant": "c"}, {"x": 0.25}]
    experiment = small_experiment(
        "RS", benchmark=benchmark, points_to_evaluate=points, bounds={"max_trials": 2}
    )
    run_experiment(experiment, tmp_path)
    assert all(config["constant"] == "c" for config in seen)
    assert [(config["x"], config["n"]) for config in seen] == [(0.5, 3), (0.25, 4)]
    names = pl.read_parquet(tmp_path / RESULTS).columns
    assert [n for n in names if n.startswith("config_")] == ["config_n", "config_x"]


@pytest.mark.parametrize("method", ["RS", "ASHA"])
def test_an_exhausted_space_ends_the_experiment(method, tmp_path):
    from asynctune.space import choice

    benchmark = small_benchmark(space={"x": choice([0.1, 0.2, 0.9]), "n": choice([1, 2])})
    found = run_experiment(
        small_experiment(method, benchmark=benchmark, n_workers=8, bounds={"max_trials": 99}),
        tmp_path,
    )
    assert found["stopped_by"] == "exhausted"
    assert found["n_trials"] == 6


def test_all_methods_of_a_seed_begin_with_the_same_configs(tmp_path):
    configs = []
    for i, method in enumerate(METHODS.values()):
        run_experiment(small_experiment(**method, n_workers=i + 1), tmp_path / str(i))
        rows = pl.read_parquet(tmp_path / str(i) / RESULTS)
        configs.append(dict(rows.select("trial_id", "config_x").iter_rows()))
    for k in range(10):
        assert len({c[k] for c in configs if k in c}) == 1


def test_the_seed_of_a_repetition():
    assert scheduler_seed(2938702734, 0) == 791219087
    assert scheduler_seed(2**31 - 2, 1) == 0


def test_the_folder_of_an_experiment_is_named_after_it():
    experiment = small_experiment("RS", n_workers=8, stopping=StoppingCriterion(max_trials=1))
    assert experiment.name == "RS-8w-0"
