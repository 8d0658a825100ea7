"""The table of results out of a journal's lines."""

from math import inf, isnan, nan

import polars as pl
import pytest
from small_experiments import CLUSTERS, METHODS, journal_of, small_experiment

from asynctune.events import Ended, Failed, Paused, Report
from asynctune.experiment import JOURNAL, RESULTS
from asynctune.journal import event_line, proposal_line, read_lines
from asynctune.ledger import Seen
from asynctune.records import reports_frame, write_results
from asynctune.schedulers.base import CONTINUE, Decision
from asynctune.searchers.base import Proposal

RUNNING = Seen("running", CONTINUE)


def proposed(k, config):
    return proposal_line(0.0, Proposal(k, config), 0.0)


def reported(trial, resource, metrics, time=1.0, cost=0.0, attempt=0, seen=RUNNING, source=""):
    return event_line(Report(time, trial, attempt, 0, resource, metrics, cost, source), seen)


def test_one_row_a_report():
    frame = reports_frame(
        [
            proposed(0, {"lr": 0.1, "layers": 2, "kind": "a"}),
            proposed(1, {"lr": 0.2, "layers": 3, "kind": "b"}),
            {"t": 0.0, "event": "idle", "workers": {}},
            reported(1, 1, {"loss": 5.0, "acc": 0.5}, 7.5, 0.25, source="recorded"),
            reported(
                0, 1, {"loss": 4.0, "acc": 0.25}, 8.0, seen=Seen("running", Decision("pause"))
            ),
            reported(0, 2, {"loss": 3.0, "acc": 0.125}, 9.0, seen=Seen("late")),
            proposed(2, None),
        ],
        "epoch",
    )
    assert frame.to_dict(as_series=False) == {
        "trial_id": [1, 0, 0],
        "epoch": [1, 1, 2],
        "loss": [5.0, 4.0, 3.0],
        "acc": [0.5, 0.25, 0.125],
        "tuner_time": [7.5, 8.0, 9.0],
        "decision": ["continue", "pause", ""],
        "status": ["running", "running", "late"],
        "source": ["recorded", "", ""],
        "cost_usd": [0.25, 0.0, 0.0],
        "config_lr": [0.2, 0.1, 0.1],
        "config_layers": [3, 2, 2],
        "config_kind": ["b", "a", "a"],
    }
    assert frame.schema["trial_id"] == frame.schema["epoch"] == pl.Int64
    assert frame.schema["config_layers"] == pl.Int64
    assert frame.schema["status"] == pl.String


def test_the_cost_is_of_all_attempts_up_to_the_report():
    frame = reports_frame(
        [
            proposed(0, {"x": 1}),
            proposed(1, {"x": 2}),
            reported(0, 1, {"loss": 1.0}, cost=0.5),
            event_line(Paused(2.0, 0, 0, 1, 0.75), Seen("paused")),
            reported(1, 1, {"loss": 1.0}, cost=0.125),
            reported(0, 2, {"loss": 1.0}, cost=0.5, attempt=1),
            event_line(Failed(3.0, 0, 1, "timeout", "", 0, 2.0), Seen("queued")),
            event_line(Ended(3.0, 1, 0, 9.0), Seen("ended")),
            reported(0, 2, {"loss": 1.0}, cost=0.25, attempt=2),
        ],
        "epoch",
    )
    assert frame["cost_usd"].to_list() == [0.5, 0.125, 1.25, 3.0]


def test_metrics_that_come_and_go_are_nan_where_they_are_missing():
    frame = reports_frame(
        [
            proposed(0, {"x": 1}),
            reported(0, 1, {"loss": nan}),
            reported(0, 2, {"loss": inf, "acc": 0.5}),
            reported(0, 3, {"loss": -inf}),
            reported(0, 4, {"loss": 1.0, "acc": 0.75}),
            reported(0, 5, {"loss": 2.0, "time": 3.0}),
        ],
        "epoch",
    )
    loss, acc, time = (frame[name].to_list() for name in ("loss", "acc", "time"))
    assert isnan(loss[0])
    assert loss[1:] == [inf, -inf, 1.0, 2.0]
    assert [isnan(v) for v in acc] == [True, False, True, False, True]
    assert (acc[1], acc[3]) == (0.5, 0.75)
    assert [isnan(v) for v in time] == [True] * 4 + [False]


def test_metrics_that_begin_after_others_have_stopped():
    frame = reports_frame(
        [
            proposed(0, {"x": 1}),
            reported(0, 1, {"loss": 1.0, "a": 1.0}),
            reported(0, 2, {"loss": 2.0}),
            reported(0, 3, {"loss": 3.0, "a": 3.0}),
        ],
        "epoch",
    )
    assert frame["a"].to_list()[::2] == [1.0, 3.0]
    assert isnan(frame["a"][1])


def test_choices_of_several_types():
    frame = reports_frame(
        [
            proposed(0, {"x": "auto", "y": True}),
            proposed(1, {"x": 3, "y": False}),
            proposed(2, {"x": 0.5, "y": True}),
            *(reported(t, 1, {"loss": 1.0}) for t in (0, 1, 2)),
        ],
        "epoch",
    )
    assert len(frame) == 3
    assert frame["config_y"].to_list() == [True, False, True]
    assert [str(v) for v in frame["config_x"].to_list()] == ["auto", "3", "0.5"]


def test_nothing(tmp_path):
    frame = reports_frame([], "epoch")
    assert len(frame) == 0
    assert {"trial_id", "epoch", "tuner_time", "decision", "cost_usd"} <= set(frame.columns)
    write_results([proposed(0, {"x": 1})], "epoch", tmp_path / "r.parquet")
    assert len(pl.read_parquet(tmp_path / "r.parquet")) == 0


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "r.parquet"
    write_results([proposed(0, {"x": 1}), reported(0, 1, {"loss": 1.0})], "epoch", path)
    before = path.read_bytes()

    def broken():
        yield proposed(0, {"x": 1})
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_results(broken(), "epoch", path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.parquet"]


@pytest.mark.parametrize("cluster", ["faults", "late reports", "no checkpoints", "diverging"])
def test_the_table_agrees_with_the_journal(cluster, tmp_path):
    journal_of(small_experiment(**METHODS["promotion"], **CLUSTERS[cluster]), tmp_path)
    frame = pl.read_parquet(tmp_path / RESULTS)
    lines = [line for line in read_lines(tmp_path / JOURNAL) if line["event"] == "report"]
    assert len(frame) == len(lines)
    for row, line in zip(frame.iter_rows(named=True), lines, strict=True):
        assert (row["trial_id"], row["epoch"]) == (line["trial"], line["resource"])
        assert (row["tuner_time"], row["status"]) == (line["t"], line["status"])
        assert row["decision"] == line.get("decision", "")
    assert frame["tuner_time"].is_sorted()
    # A trial's cost never falls.
    for _, own in frame.group_by("trial_id", maintain_order=True):
        assert own["cost_usd"].is_sorted()
