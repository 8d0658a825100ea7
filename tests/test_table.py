import csv
import io
import json

import polars as pl
import pytest
from rich.console import Console
from synthetic_study import write_experiment, write_study

from asynctune.exceptions import UsageError
from asynctune.results import load_study
from asynctune.table import (
    best_reports,
    default_losses,
    format_seconds,
    print_table,
    round_to_worse,
    summary_table,
    to_csv,
    to_json,
)

NAN = float("nan")


@pytest.fixture
def known(tmp_path):
    """Five seeds of RS that end at 1 to 5, seed s reaching its end at 100 (s + 1) s."""
    for seed in range(5):
        write_experiment(
            tmp_path / "tag" / f"RS-4w-{seed}",
            {
                "tuner_time": [10.0, 100.0 * (seed + 1), 900.0],
                "val_loss": [9.0, seed + 1.0, NAN],
                "source": ["recorded", "extrapolated" if seed < 2 else "surrogate", ""],
            },
            seed=seed,
            max_wallclock_time=1000,
            experiment_seconds=1000.0,
            total_cost_usd=2.0 + seed,
            n_trials=10 + seed,
            utilisation=None if seed else 0.5,
        )
    return load_study("tag", tmp_path)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_study(folder / "tag", trials=8)
    return load_study("tag", folder)


def test_a_row_of_the_table(known):
    (row,) = summary_table(known, [9.0, 3.0, 2.0]).to_dicts()
    assert (row["method"], row["n_workers"], row["seeds"], row["metric"]) == (
        "RS",
        4,
        5,
        "val_loss",
    )
    assert row["final"] == pytest.approx(0.3 * 2 + 0.4 * 3 + 0.3 * 4)
    assert 1 <= row["final_low"] < row["final"] < row["final_high"] <= 5
    assert (row["seconds"], row["common_seconds"]) == (1000, 1000)
    assert (row["seconds_to_9"], row["reached_9"]) == (10, 5)
    assert (row["seconds_to_3"], row["reached_3"]) == (300, 3)
    assert (row["seconds_to_2"], row["reached_2"]) == (None, 2)
    assert row["trials"] == 12
    assert row["reports"] == 3
    assert row["utilisation"] == 0.5
    assert row["training_share"] == pytest.approx(0.8)
    assert row["cost_usd"] == pytest.approx(4.0)
    assert row["best_source"] == "surrogate 3, extrapolated 2"
    assert row["provenance"] == "made up for tests"


def test_the_common_time_is_the_shortest_setups(large):
    frame = summary_table(large, [])
    assert frame["common_seconds"].unique().to_list() == [18000]
    two = frame.filter(pl.col("n_workers") == 2)
    assert (two["final"] < two["at_common"]).all()
    others = frame.filter(pl.col("n_workers") > 2)
    assert others["final"].to_list() == others["at_common"].to_list()
    assert frame["method"].unique(maintain_order=True).to_list() == ["RS", "BO", "ASHA", "MOBSTER"]


def test_default_losses_are_round_and_reached(large):
    levels = default_losses(large)
    assert len(levels) == 3
    assert list(levels) == sorted(levels, reverse=True)
    assert all(level == round(level, 1) for level in levels)
    frame = summary_table(large)
    assert frame[f"reached_{levels[0]:g}"].min() >= 3
    assert frame[f"seconds_to_{levels[-1]:g}"].null_count() < len(frame)
    assert frame[f"seconds_to_{levels[-1]:g}"].null_count() > 0


def test_rounding_goes_to_the_worse_side(large, tmp_path):
    assert round_to_worse(large, 6.01) == 6.1
    assert round_to_worse(large, 6.1) == 6.1
    write_study(tmp_path / "tag", methods=("RS", "BO"), sign=-1, trials=8)
    assert round_to_worse(load_study("tag", tmp_path), 6.01) == -6.1


def test_a_metric_to_maximise(tmp_path):
    write_study(tmp_path / "tag", methods=("RS", "BO"), sign=-1, trials=8)
    study = load_study("tag", tmp_path)
    levels = default_losses(study)
    assert list(levels) == sorted(levels)
    frame = summary_table(study)
    assert (frame["final"] < 0).all()
    assert (frame["final_low"] <= frame["final"]).all()
    assert (frame["final"] <= frame["final_high"]).all()
    assert frame[f"reached_{levels[0]:g}"].min() >= 3
    assert best_reports(study)["val_loss"].to_list() == pytest.approx(
        [-run.steps.losses[-1] for runs in study.runs.values() for run in runs]
    )


def test_one_seed_and_no_values(tmp_path):
    columns = {"tuner_time": [1.0], "val_loss": [NAN]}
    write_experiment(tmp_path / "tag" / "RS-4w-0", columns, total_cost_usd=None)
    study = load_study("tag", tmp_path)
    assert default_losses(study) == ()
    (row,) = summary_table(study).to_dicts()
    assert row["final"] is row["final_low"] is row["final_high"] is row["cost_usd"] is None
    console = Console(file=io.StringIO(), width=100)
    print_table(summary_table(study, [5.0]), study, console)
    assert "0/1" in console.file.getvalue()


def test_losses_must_be_finite(known):
    with pytest.raises(UsageError, match="must be finite; got inf"):
        summary_table(known, [float("inf")])


def test_json_and_csv(known):
    frame = summary_table(known, [2.0])
    (row,) = json.loads(to_json(frame))
    assert row["seconds_to_2"] is None
    assert row["reached_2"] == 2
    (line,) = csv.DictReader(io.StringIO(to_csv(frame)))
    assert list(line) == list(row)
    assert line["seconds_to_2"] == ""
    assert float(line["final"]) == row["final"]


def printed(study, frame, width):
    console = Console(file=io.StringIO(), width=width)
    print_table(frame, study, console)
    return console.file.getvalue()


def test_print(known, large):
    text = printed(known, summary_table(known, [3.0, 2.0]), 120)
    assert "3.00 [" in text
    assert "5 min 3/5" in text
    assert "2/5" in text
    assert "$4.00" in text
    assert "interquartile mean over 5 seeds" in text
    assert "surrogate 3, extrapolated 2" in text
    assert "data: made up for tests." in text
    assert "at 17 min" not in text
    assert "at 5 h" in printed(large, summary_table(large), 120)


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_is_cut_off(large, width):
    text = printed(large, summary_table(large), width)
    assert "…" not in text
    assert text.count("MOBSTER") == (3 if width == 140 else 6)
    assert max(len(line) for line in text.splitlines()) <= width


def test_which_report_is_best(tmp_path):
    write_experiment(
        tmp_path / "tag" / "RS-4w-0",
        {
            "trial_id": [0, 1, 2, 3, 4],
            "tuner_time": [50.0, 20.0, 10.0, 5.0, 101.0],
            "val_loss": [3.0, 3.0, 4.0, 1.0, 1.0],
            "status": ["running", "running", "running", "repeated", "late"],
        },
        max_wallclock_time=100,
        experiment_seconds=100.0,
    )
    best = best_reports(load_study("tag", tmp_path))
    assert best["trial_id"].to_list() == [1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(18000, "5 h"), (15120, "4.2 h"), (2100, "35 min"), (50, "50 s"), (3600, "1 h")],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text
