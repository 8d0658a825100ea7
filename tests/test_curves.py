"""The figure of learning curves, and the command that draws it."""

import json
import sys
from dataclasses import replace

import pytest
import vl_convert
from small_experiments import small_experiment
from synthetic_study import write_experiment

from asynctune._curve_points import value_axis
from asynctune.cli import main
from asynctune.curves import learning_curves_figure, load_so_far, write_curves
from asynctune.events import Ended
from asynctune.exceptions import UsageError
from asynctune.experiment import JOURNAL, METADATA, RESULTS, run_experiment
from asynctune.journal import event_line
from asynctune.ledger import Seen
from asynctune.results import load_experiment

# What became of the trials: levels, and the decision at the last of them. Trial 1 paused at 1.
LEVELS = {0: [1, 3, 9], 1: [1, 3], 2: [1, 3], 3: [1, 3], 4: [1]}
ENDS = {0: "complete", 1: "pause", 2: "stop", 3: "continue", 4: "pause"}


def write(folder, values=lambda trial, epoch: 10.0 - epoch + trial / 10, **metadata):
    reports = [
        (trial, epoch, values(trial, epoch), ENDS[trial] if epoch == epochs[-1] else "continue")
        for trial, epochs in LEVELS.items()
        for epoch in epochs
    ]
    reports = [(1, 1, v, "pause") if (t, e) == (1, 1) else (t, e, v, d) for t, e, v, d in reports]
    trial, epoch, loss, decision = (list(column) for column in zip(*reports, strict=True))
    columns = {"trial_id": trial, "epoch": epoch, "val_loss": loss, "decision": decision}
    columns["tuner_time"] = [60.0 * (i + 1) for i in range(len(trial))]
    settings = {"method": "ASHA", "max_resource": 9} | metadata
    return load_experiment(write_experiment(folder / "tag" / "ASHA-4w-0", columns, **settings))


@pytest.fixture
def asha(tmp_path):
    return write(tmp_path)


def layers(figure):
    """Return the figure's layers, each with its values."""
    spec = figure.to_dict()
    (panel,) = spec["concat"]
    for layer in panel["layer"]:
        if "name" in layer["data"]:
            layer["data"]["values"] = spec["datasets"][layer["data"]["name"]]
    return panel["layer"]


def rows(layer):
    return layer["data"]["values"]


def caption(figure):
    return " ".join(figure.to_dict()["title"]["text"])


def test_over_the_resource(asha):
    figure = learning_curves_figure(asha)
    rungs, lines, dots, rings, best, mark = layers(figure)
    fates = {row["trial"]: row["fate"] for row in rows(lines)}
    assert fates == {0: "completed", 1: "paused", 2: "stopped", 3: "cut off", 4: "paused"}
    assert [row["x"] for row in rows(rungs)] == [1, 3]
    assert [row["x"] for row in rows(dots)] == [9, 3, 3, 3, 1]
    assert [(row["trial"], row["x"]) for row in rows(rings)] == [(1, 1)]
    assert {row["trial"] for row in rows(best)} == {0}
    assert [(row["level"], row["value"]) for row in rows(mark)] == [(9, 1.0)]
    assert lines["encoding"]["x"]["scale"]["type"] == "log"
    assert "5 trials: 1 completed, 2 paused, 1 stopped, 1 cut off (while training, as " in caption(
        figure
    )
    assert "Black: the best, trial 0, with val_loss 1 at epoch 9." in caption(figure)
    assert "Rings" in caption(figure)
    assert "beyond" not in caption(figure)
    assert vl_convert.vegalite_to_svg(figure.to_dict()).startswith("<svg")


def test_over_the_time(asha):
    figure = learning_curves_figure(asha, x="time")
    lines, _, pauses, rings, *_ = layers(figure)
    assert rows(lines)[0]["x"] == 1.0
    assert lines["encoding"]["x"]["axis"]["title"] == "wall-clock time (min)"
    assert [row["part"] for row in rows(lines) if row["trial"] == 1] == [0, 1]
    assert [(row["x"], row["x2"]) for row in rows(pauses)] == [(4.0, 5.0)]
    assert [row["trial"] for row in rows(rings)] == [1]


def test_the_best_of_a_metric_that_is_maximised(tmp_path):
    figure = learning_curves_figure(write(tmp_path, lambda t, e: t + e / 10, mode="max"))
    assert [row["trial"] for row in rows(layers(figure)[-1])] == [4]
    low, high = layers(figure)[-1]["encoding"]["y"]["scale"]["domain"]
    assert 0 <= low < high < 5


def test_what_diverges_leaves_the_others_to_be_seen(tmp_path):
    figure = learning_curves_figure(write(tmp_path, lambda t, e: 1e6 if t == 3 else 10.0 - e))
    assert layers(figure)[1]["encoding"]["y"]["scale"]["domain"][1] < 11
    assert "2 reports lie beyond the axis" in caption(figure)


def test_a_first_report_is_seen_beside_long_curves():
    curves = [
        {"trial": t, "value": 0.1 * t + 1 / epoch} for t in range(5) for epoch in range(1, 28)
    ]
    axis, beyond = value_axis(curves, 1)
    assert (axis.high > 1.4, beyond) == (True, 0)
    axis, beyond = value_axis([*curves, {"trial": 5, "value": 1e6}], 1)
    assert (axis.high < 2, beyond) == (True, 1)


def test_a_trial_that_ended_by_itself(asha):
    last = Ended(9.0, 3, 0)
    header = {"event": "header", "format": 1, "inputs": {}}
    lines = [header, event_line(last, Seen("ended"))]
    (asha.path / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "1 stopped" in caption(learning_curves_figure(asha))
    assert "1 ended early" in caption(learning_curves_figure(asha))
    assert "cut off" not in caption(learning_curves_figure(asha))


def test_last_points_are_whole_and_a_worker_is_one(tmp_path):
    figure = learning_curves_figure(write(tmp_path, n_workers=1), x="time")
    lines = layers(figure)[0]
    assert lines["encoding"]["x"]["scale"]["domain"][1] > max(row["x"] for row in rows(lines))
    assert figure.to_dict()["concat"][0]["title"]["text"] == "ASHA, 1 worker, seed 0"


def test_the_tooltip_tells_the_config(asha):
    assert rows(layers(learning_curves_figure(asha))[2])[0]["config"] == "lr 0.001"


def test_an_experiment_under_way(tmp_path):
    figure = learning_curves_figure(write(tmp_path, status="running"))
    assert "1 under way" in caption(figure)


def test_too_many_trials(asha):
    figure = learning_curves_figure(asha, trials=3)
    assert {row["trial"] for row in rows(layers(figure)[1])} == {0, 1, 2}
    assert "3 trials are drawn" in caption(figure)


def test_the_best_is_drawn_in_any_case(tmp_path):
    figure = learning_curves_figure(write(tmp_path, lambda t, e: 5.0 - t), trials=1)
    assert {row["trial"] for row in rows(layers(figure)[1])} == {4}


def test_bad_input(asha):
    with pytest.raises(UsageError, match="x must be resource or time; got 'epoch'"):
        learning_curves_figure(asha, x="epoch")
    with pytest.raises(UsageError, match="at least 1; got 0"):
        learning_curves_figure(asha, trials=0)
    unheard = replace(asha, reports=asha.reports.clear().drop("val_loss"))
    with pytest.raises(UsageError, match="needs finite values of val_loss"):
        learning_curves_figure(unheard)


def test_nothing_finite(tmp_path):
    with pytest.raises(UsageError, match="needs finite values of val_loss"):
        learning_curves_figure(write(tmp_path, lambda t, e: float("nan")))


def test_written_files(asha):
    html, png, svg = write_curves(asha, asha.path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "Learning curves of 5 trials" in svg.read_text()
    assert html.stat().st_size < 2_000_000


def test_the_command_draws_what_there_is_so_far(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "tag" / "one"
    run_experiment(small_experiment(), folder)
    whole = load_so_far(folder).reports
    # As it is while the experiment runs: no table yet.
    (folder / RESULTS).unlink()
    metadata = json.loads((folder / METADATA).read_bytes())
    (folder / METADATA).write_text(json.dumps(metadata | {"status": "running"}))
    assert load_so_far(folder).reports.equals(whole)
    monkeypatch.setattr(sys, "argv", ["asynctune", "curves", "tag/one", "--x", "time"])
    main()
    assert "curves.png" in capsys.readouterr().out
    assert (folder / "curves.png").stat().st_size > 10_000


def test_the_command_without_an_experiment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "must hold metadata.json"), ("none", "got none")):
        monkeypatch.setattr(sys, "argv", ["asynctune", "curves", name])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert message in capsys.readouterr().err
