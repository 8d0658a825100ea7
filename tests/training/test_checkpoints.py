import pytest

from asynctune import load_checkpoint, save_checkpoint
from asynctune.reporting import CHECKPOINTS

torch = pytest.importorskip("torch")


def test_outside_a_tuner_there_are_no_checkpoints(monkeypatch):
    monkeypatch.delenv(CHECKPOINTS, raising=False)
    assert save_checkpoint({"epoch": 1}) is None
    assert load_checkpoint() is None


def test_a_checkpoint_comes_back(monkeypatch, tmp_path):
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoint"))
    assert load_checkpoint() is None
    weights = torch.arange(3.0)
    path = save_checkpoint({"epoch": 4, "weights": weights})
    assert path == tmp_path / "checkpoint" / "checkpoint.pt"
    found = load_checkpoint()
    assert found["epoch"] == 4
    assert torch.equal(found["weights"], weights)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(monkeypatch, tmp_path):
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    save_checkpoint({"epoch": 4}, "best.pt")
    with pytest.raises(AttributeError, match="pickle"):
        save_checkpoint({"epoch": lambda: None}, "best.pt")
    assert load_checkpoint("best.pt") == {"epoch": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]
