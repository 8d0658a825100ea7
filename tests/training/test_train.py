"""The training script on a text and a model small enough for a test."""

import json
import random
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the training script needs the extra `train`")

from sims.transformer_wikitext2.train import main
from sims.transformer_wikitext2.training.text import load

SMALL = "--d-model 8 --bptt 10 --batch-size 4 --lr 0.5 --momentum 0.5 --clip 1 --dropout 0.3"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text of few words, in which each word makes the next one likely."""
    folder = tmp_path_factory.mktemp("text")
    rng = random.Random(0)
    for part, lines in (("train", 60), ("valid", 20), ("test", 5)):
        text = ""
        for _ in range(lines):
            start = rng.randrange(20)
            text += " ".join(f"w{(start + i) % 20}" for i in range(15)) + " \n"
        (folder / f"{part}.txt").write_text(text)
    return folder


def run(data: Path, capsys, *more: str) -> list[dict[str, float]]:
    """Train, and return the reports."""
    status = main(["--data", str(data), *SMALL.split(), "--use-cuda", "0", *more])
    out = capsys.readouterr()
    assert status == 0, out.err
    return [json.loads(line) for line in out.out.splitlines()]


def losses(reports: list[dict[str, float]]) -> list[tuple[float, float, float]]:
    return [(r["epoch"], r["val_loss"], r["train_loss"]) for r in reports]


def test_it_learns_and_reports_every_epoch(data: Path, capsys) -> None:
    reports = run(data, capsys, "--epochs", "4", "--dropout", "0")
    assert [r["epoch"] for r in reports] == [1, 2, 3, 4]
    assert reports[-1]["val_loss"] < reports[0]["val_loss"] - 0.1
    times = [r["elapsed_time"] for r in reports]
    assert times == sorted(times)
    assert times[0] > 0


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(
    data: Path, capsys, tmp_path: Path
) -> None:
    whole = run(data, capsys, "--epochs", "5")
    folder = ["--checkpoint-dir", str(tmp_path)]
    first = run(data, capsys, "--epochs", "2", *folder)
    second = run(data, capsys, "--epochs", "5", *folder)
    assert losses(first + second) == losses(whole)
    assert run(data, capsys, "--epochs", "5", *folder) == []
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_seed_decides(data: Path, capsys) -> None:
    one = run(data, capsys, "--epochs", "1")
    assert losses(one) == losses(run(data, capsys, "--epochs", "1"))
    assert losses(one) != losses(run(data, capsys, "--epochs", "1", "--seed", "7"))


def test_a_loss_that_diverges_is_reported_and_ends_the_trial(data: Path, capsys) -> None:
    reports = run(data, capsys, "--epochs", "9", "--lr", "1e30", "--clip", "0")
    assert len(reports) < 9
    assert "nan" in json.dumps(reports[-1]).lower() or "inf" in json.dumps(reports[-1]).lower()


def test_a_missing_text_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["--data", str(tmp_path / "nothing")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "train.txt" in err


def test_another_trainings_checkpoint_is_refused(data: Path, capsys, tmp_path: Path) -> None:
    folder = ["--checkpoint-dir", str(tmp_path)]
    run(data, capsys, "--epochs", "1", *folder)
    assert main(["--data", str(data), *SMALL.split(), "--lr", "0.1", *folder]) == 2
    assert "lr" in capsys.readouterr().err


def test_words_are_counted_with_the_ends_of_lines(data: Path) -> None:
    text = load(data)
    assert text.n_words == 21
    assert len(text.train) == 60 * 16
    assert len(load(data, vocabulary=5).train) == 60 * 16
