import json
import time

import numpy as np
import polars as pl
import pytest
from synthetic_study import write_experiment, write_study

from asynctune.aggregate import run_losses
from asynctune.exceptions import UsageError
from asynctune.results import Setup, load_experiment, load_study


@pytest.fixture
def tiny(tmp_path):
    write_experiment(
        tmp_path / "tag" / "RS-4w-0",
        {"tuner_time": [30.0, 10.0, 20.0], "val_loss": [5.0, 7.0, float("nan")]},
    )
    return tmp_path


def test_load_experiment(tiny):
    experiment = load_experiment(tiny / "tag" / "RS-4w-0")
    assert experiment.metadata["cluster"] == {"start_up": 120}
    assert experiment.reports["tuner_time"].to_list() == [30.0, 10.0, 20.0]
    assert experiment.sign == 1


def test_frames_of_a_study(tmp_path):
    write_study(tmp_path / "tag", methods=("MOBSTER", "RS", "BO"), seeds=2, trials=2)
    study = load_study("tag", tmp_path)
    assert len(study.metadata) == 18
    assert study.metadata["method"].unique(maintain_order=True).to_list() == ["RS", "BO", "MOBSTER"]
    assert study.methods == ("RS", "BO", "MOBSTER")
    assert study.worker_counts == (2, 4, 8)
    assert study.reports.columns[:3] == ["method", "n_workers", "seed"]
    assert len(study.reports) == study.metadata["n_reports"].sum() == 18 * 80
    assert study.reports.filter(method="BO", n_workers=8, seed=1).height == 80
    assert (study.metric, study.resource, study.sign) == ("val_loss", "epoch", 1)
    assert study.provenance == "made up for tests"
    assert study.common_seconds == 18000.0
    assert study.incomplete == ()


def test_runs_are_signed_so_that_smaller_is_better(tmp_path):
    columns = {"tuner_time": [1.0, 2.0], "val_loss": [0.7, 0.9]}
    write_experiment(tmp_path / "tag" / "RS-4w-0", columns, mode="max")
    study = load_study("tag", tmp_path)
    (run,) = study.runs[Setup("RS", 4)]
    assert run.steps.losses.tolist() == [-0.7, -0.9]
    assert study.sign * run_losses([run], 5.0)[0] == 0.9


def test_which_reports_count(tmp_path):
    write_experiment(
        tmp_path / "tag" / "RS-4w-0",
        {
            "tuner_time": [1.0, 2.0, 3.0, 4.0, 100.0, 100.5],
            "val_loss": [9.0, 1.0, 7.0, None, 6.0, 2.0],
            "status": ["running", "repeated", "late", "running", "running", "late"],
        },
        max_wallclock_time=100,
        experiment_seconds=104.0,
    )
    (run,) = load_study("tag", tmp_path).runs[Setup("RS", 4)]
    assert run.steps.times.tolist() == [1.0, 3.0, 100.0]
    assert run.steps.losses.tolist() == [9.0, 7.0, 6.0]
    assert (run.first_report, run.end) == (1.0, 100.0)


def test_a_run_ends_when_its_experiment_does(tiny):
    write_experiment(tiny / "tag" / "BO-4w-0", {"tuner_time": []}, method="BO")
    write_experiment(
        tiny / "tag" / "BO-2w-0",
        {"tuner_time": [5.0]},
        method="BO",
        n_workers=2,
        max_wallclock_time=None,
        experiment_seconds=None,
    )
    runs = load_study("tag", tiny).runs
    assert [r.end for r in runs[Setup("RS", 4)]] == [18000.0]
    assert [r.end for r in runs[Setup("BO", 4)]] == [18000.0]
    assert [r.end for r in runs[Setup("BO", 2)]] == [5.0]
    assert len(runs[Setup("BO", 4)][0].steps.times) == 0


def test_incomplete_experiments_are_listed_and_left_out(tiny):
    folder = tiny / "tag"
    write_experiment(folder / "RS-4w-1", {"tuner_time": [1.0]}, seed=1, status="running")
    (folder / "RS-4w-2").mkdir()
    (folder / "RS-4w-2" / "journal.jsonl").write_text("{}\n")
    (folder / "comparison.html").write_text("")
    (folder / "notes").mkdir()
    study = load_study("tag", tiny)
    assert study.incomplete == ("RS-4w-1", "RS-4w-2")
    assert study.metadata["seed"].to_list() == [0]
    asked = load_study("tag", tiny, include_incomplete=True)
    assert asked.metadata["seed"].to_list() == [0, 1]
    assert asked.incomplete == ("RS-4w-1", "RS-4w-2")


def test_setups_are_paired_if_they_ran_the_same_seeds(tmp_path):
    for method, seeds in {"RS": (0, 1), "BO": (0, 1), "ASHA": (0, 2)}.items():
        for seed in seeds:
            folder = tmp_path / "tag" / f"{method}-4w-{seed}"
            write_experiment(folder, {"tuner_time": [1.0]}, method=method, seed=seed)
    study = load_study("tag", tmp_path)
    assert study.paired(Setup("RS", 4), Setup("BO", 4))
    assert not study.paired(Setup("RS", 4), Setup("ASHA", 4))


def test_cost_is_spread_over_time(tmp_path):
    for seed, dollars in enumerate([10.0, 20.0]):
        folder = tmp_path / "tag" / f"RS-4w-{seed}"
        write_experiment(folder, {"tuner_time": [1.0]}, seed=seed, total_cost_usd=dollars)
    folder = tmp_path / "tag" / "BO-4w-0"
    write_experiment(folder, {"tuner_time": [1.0]}, method="BO", total_cost_usd=None)
    study = load_study("tag", tmp_path)
    assert study.cost_at(Setup("RS", 4), 9000.0) == pytest.approx(7.5)
    assert study.cost_at(Setup("RS", 4), 40000.0) == pytest.approx(15.0)
    assert study.cost_at(Setup("BO", 4), 9000.0) is None


def test_config_columns_may_differ_between_experiments(tiny):
    columns = {"tuner_time": [1.0], "config_lr": [1], "config_size": ["small"]}
    write_experiment(tiny / "tag" / "BO-4w-0", columns, method="BO", note="hello")
    study = load_study("tag", tiny)
    assert study.reports["config_lr"].dtype == pl.Float64
    assert study.reports["config_size"].to_list() == [None, None, None, "small"]
    assert study.metadata["note"].to_list() == [None, "hello"]
    assert "cluster" not in study.metadata.columns


def rewrite_metadata(folder, **changes):
    metadata = json.loads((folder / "metadata.json").read_text()) | changes
    (folder / "metadata.json").write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy"}, "must share one metric"),
        ({"mode": "max"}, "must share one mode"),
        ({"benchmark": "other"}, "must share one benchmark"),
        ({"method": "RS", "seed": 0}, "several of RS, 4, 0"),
        ({"mode": "best"}, "mode must be min or max.*'best'"),
        ({"seed": None}, r"lacks \['seed'\]"),
    ],
)
def test_experiments_that_do_not_belong_together(tiny, changes, message):
    write_experiment(tiny / "tag" / "RS-4w-1", {"tuner_time": [1.0]}, seed=1)
    rewrite_metadata(tiny / "tag" / "RS-4w-1", **changes)
    with pytest.raises(UsageError, match=message):
        load_study("tag", tiny)


def test_clear_errors(tiny):
    with pytest.raises(UsageError, match=r"'none'.*no folder"):
        load_study("none", tiny)
    with pytest.raises(UsageError, match="got tag ''"):
        load_study("", tiny)
    (tiny / "empty").mkdir()
    with pytest.raises(UsageError, match=r"at least one complete experiment.*has none"):
        load_study("empty", tiny)
    rewrite_metadata(tiny / "tag" / "RS-4w-0", status="running")
    with pytest.raises(UsageError, match="1 incomplete"):
        load_study("tag", tiny)
    with pytest.raises(UsageError, match=r"must hold metadata.json"):
        load_experiment(tiny / "tag")
    (tiny / "tag" / "RS-4w-0" / "metadata.json").write_text("{")
    with pytest.raises(UsageError, match="must be JSON"):
        load_study("tag", tiny)
    (tiny / "tag" / "RS-4w-0" / "results.parquet").unlink()
    with pytest.raises(UsageError, match=r"must hold results.parquet"):
        load_experiment(tiny / "tag" / "RS-4w-0")


def test_a_table_without_the_metric(tiny):
    rewrite_metadata(tiny / "tag" / "RS-4w-0", metric="accuracy")
    with pytest.raises(UsageError, match=r"lacks \['accuracy'\]"):
        load_study("tag", tiny)


def test_a_study_without_any_report(tmp_path):
    folder = write_experiment(tmp_path / "tag" / "RS-4w-0", {"tuner_time": []})
    table = pl.read_parquet(folder / "results.parquet").drop("val_loss", "config_lr")
    table.write_parquet(folder / "results.parquet")
    study = load_study("tag", tmp_path)
    (run,) = study.runs[Setup("RS", 4)]
    assert (len(run.steps.times), run.end) == (0, 18000.0)


def test_a_million_reports(tmp_path):
    write_study(tmp_path / "tag", trials=420)  # 60 experiments of 16,800 reports
    start = time.process_time()
    study = load_study("tag", tmp_path)
    runs = study.runs
    seconds = time.process_time() - start
    assert len(study.reports) == 60 * 16800
    assert np.isfinite([run_losses(r, 18000.0) for r in runs.values()]).all()
    assert seconds < 5  # about 1 s on a free core; shared machines are slower
