"""The comparison of the collector with the training script, on a small text."""

import json
import sys

import pytest

torch = pytest.importorskip("torch", reason="the collector needs torch: pip install .[train]")

from benchmarks.collector_speed import main, members_of  # noqa: E402
from sims.transformer_wikitext2_mini.recipe import mini_recipe  # noqa: E402


def test_both_train_the_same_configs_and_are_compared(folder, tmp_path, monkeypatch, capsys):
    path = tmp_path / "speed.json"
    flags = ["--data", str(folder), "--device", "cpu", "--members", "1", "3", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["collector_speed", *flags, "--json", str(path)])
    main()
    rows = json.loads(path.read_text())["rows"]
    assert [row["members"] for row in rows] == [1, 1, 3]
    assert rows[0]["name"] == "script"
    assert rows[0]["ratio"] == 1
    for row in rows:
        assert row["configs_an_hour"] * row["seconds_an_epoch"] * 40 == pytest.approx(3600)
        assert row["ratio"] * row["seconds_an_epoch"] == pytest.approx(rows[0]["seconds_an_epoch"])
        assert row["share_of_peak"] > 0
    assert "collector, 3 members" in capsys.readouterr().out


def test_the_configs_are_the_designs_and_go_together():
    members = members_of(mini_recipe(), 5, 30_000, "float")
    assert len({member.batch_size for member in members}) == 1
    assert len({member.lr for member in members}) == 5
    assert all(member.shape.d_model == 64 for member in members)
