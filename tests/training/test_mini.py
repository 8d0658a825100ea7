"""The reduced benchmark: what its trainings cost, and the table made of a record."""

import json

import polars as pl
import pytest

from asynctune import UsageError
from sims.transformer_wikitext2_mini import alone
from sims.transformer_wikitext2_mini.alone import Alone, fitted


def rows(config_id, losses, training=None, seed=1111, batch_size=20):
    config = {"lr": 0.1, "dropout": 0.5, "batch_size": batch_size, "momentum": 0.5, "clip": 0.5}
    origin = {"source": "collected", "device": "cpu", "precision": "float"}
    origin |= {"torch_version": "2", "code_version": "1"}
    return [
        {
            "config_id": config_id,
            "config": config,
            "seed": seed,
            "epoch": epoch,
            "val_loss": loss,
            "train_loss": loss if training is None else training[epoch - 1],
            "seconds": 9.9 * epoch,
            **origin,
        }
        for epoch, loss in enumerate(losses, start=1)
    ]


@pytest.fixture
def record(tmp_path):
    """Return a function that writes a record, which needs torch's neighbours but not torch."""

    def write(*curves, torn=""):
        folder = tmp_path / "record"
        folder.mkdir(exist_ok=True)
        lines = [json.dumps(row) + "\n" for curve in curves for row in curve]
        (folder / "epochs.jsonl").write_text("".join(lines) + torn)
        return folder

    return write


@pytest.fixture
def publish():
    pytest.importorskip("torch", reason="the record's module lies beside what needs torch")
    from sims.transformer_wikitext2_mini import publish

    return publish


def test_the_cost_is_that_of_the_tokens_and_of_the_steps():
    sizes = [16, 24, 32, 48]
    found = fitted(sizes, [0.5 + 3.2 / size for size in sizes])
    assert found.fixed == pytest.approx(0.5)
    assert found.by_step == pytest.approx(3.2)
    assert found.epoch([16, 32]) == pytest.approx([0.7, 0.6])
    assert fitted([16, 32], [0.5, 0.6]).by_step == 0  # never less for smaller batches
    with pytest.raises(UsageError, match="two batch sizes"):
        fitted([16, 16], [1, 2])


def test_what_was_measured_is_kept(tmp_path):
    made = alone.save(tmp_path / "data" / alone.NAME, [16, 32], [0.7, 0.6], "a processor")
    content = json.loads((tmp_path / "data" / alone.NAME).read_text())
    assert Alone(content["fixed"], content["by_step"]) == made
    assert content["seconds"] == [0.7, 0.6]
    assert content["processor"] == "a processor"


def test_the_costs_that_ship_are_those_of_this_problem():
    cost = alone.recorded()
    assert 0.1 < cost.epoch(48) < cost.epoch(16) < 3


def test_epochs_are_timed_for_each_batch_size(folder):
    pytest.importorskip("torch", reason="the training script needs torch")
    from sims.transformer_wikitext2.training.text import load

    found = alone.measure(load(folder), [4, 16], epochs=2)
    assert len(found) == 2
    assert min(found) > 0


def test_only_what_has_ended_is_published(publish, record):
    folder = record(
        rows("whole", [5.0, 4.0, 3.0], batch_size=16),
        rows("whole", [5.0, 4.1, 3.1], seed=1112, batch_size=16),
        rows("begun", [5.0, 4.0]),
        rows("wild", [5.0, "nan"], batch_size=32),
        torn='{"config_id": "whole", "con',
    )
    content = (folder / "epochs.jsonl").read_bytes()
    made = publish.table(publish.rows_of(folder), Alone(0.5, 3.2), epochs=3)
    assert (folder / "epochs.jsonl").read_bytes() == content  # whoever writes it goes on
    assert made.select("config_id", "seed").unique().sort("config_id", "seed").rows() == [
        ("whole", 1111),
        ("whole", 1112),
        ("wild", 1111),
    ]
    assert made.columns[:4] == ["config_id", "lr", "dropout", "batch_size"]
    wild = made.filter(pl.col("config_id") == "wild")
    assert wild["val_loss"].is_nan().to_list() == [False, True]
    assert wild["seconds"].to_list() == pytest.approx([0.6, 1.2])
    whole = made.filter(pl.col("config_id") == "whole", pl.col("seed") == 1111)
    assert whole["seconds"].to_list() == pytest.approx([0.7, 1.4, 2.1])


def test_curves_are_told_apart(publish, record):
    folder = record(
        rows("steady", [5.0, 4.5, 4.0, 3.96]),
        rows("flat", [7.0, 6.95, 6.9, 6.85]),
        rows("over", [5.0, 4.0, 4.04, 4.08], [5.0, 4.0, 3.9, 3.8]),
        rows("jumpy", [5.0, 4.0, 4.2, 3.9]),
        rows("wild", [5.0, "inf"]),
    )
    made = publish.table(publish.rows_of(folder), Alone(0.5, 3.2), epochs=4)
    found = {row.pop("config_id"): row for row in publish.kinds(made).iter_rows(named=True)}
    expected = {"over": "over_fitting", "jumpy": "unstable", "wild": "diverged"}
    for config_id, kind in {"steady": "steady", "flat": "flat", **expected}.items():
        is_of = {name for name, value in found[config_id].items() if value is True}
        assert kind in is_of
        assert config_id == "wild" or is_of == {kind}


def test_the_command_writes_the_table(publish, record, tmp_path, capsys):
    folder = record(rows("whole", [5.0 - 0.02 * k for k in range(40)]))
    path = tmp_path / "curves.parquet"
    assert publish.main(["--record", str(folder), "--to", str(path)]) == 0
    assert "40 rows, 1 trainings of 1 configs" in capsys.readouterr().out
    assert len(pl.read_parquet(path)) == 40


@pytest.mark.parametrize("what", ["no record", "no rows", "none ended"])
def test_what_cannot_be_published_is_said_in_one_line(publish, record, tmp_path, capsys, what):
    folder = record(*([rows("begun", [5.0])] if what == "none ended" else []))
    if what == "no record":
        (folder / "epochs.jsonl").unlink()
    path = tmp_path / "curves.parquet"
    assert publish.main(["--record", str(folder), "--to", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not path.exists()
