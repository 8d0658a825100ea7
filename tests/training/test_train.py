"""The training script, on a small text and a small model."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch", reason="the training script needs torch: pip install .[train]")

from asynctune import UsageError  # noqa: E402
from asynctune.reporting import CHANNEL  # noqa: E402
from sims.transformer_wikitext2 import FIXED  # noqa: E402
from sims.transformer_wikitext2.train import main, parser  # noqa: E402
from sims.transformer_wikitext2.training import checkpoint  # noqa: E402
from sims.transformer_wikitext2.training.batches import fold, windows  # noqa: E402
from sims.transformer_wikitext2.training.model import initial_model, sinusoids  # noqa: E402
from sims.transformer_wikitext2.training.settings import Settings, Shape, settings_of  # noqa: E402
from sims.transformer_wikitext2.training.text import load  # noqa: E402

SMALL = ["--d-model", "8", "--bptt", "7", "--batch-size", "4", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """Return a function that runs the script and returns what it reports."""

    def run(*flags):
        path = tmp_path / "reports"
        path.unlink(missing_ok=True)
        monkeypatch.setenv(CHANNEL, str(path))
        assert main(["--data", str(folder), *SMALL, *flags]) == 0
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["values"] for line in lines]

    return run


def losses(reports):
    return [(r["epoch"], r["val_loss"], r["train_loss"]) for r in reports]


def test_text_is_folded_into_continuous_columns():
    import numpy as np

    folded = fold(np.arange(11, dtype=np.uint16), 2, torch.device("cpu"))
    assert folded.tolist() == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    assert list(windows(5, 3)) == [(0, 3), (3, 1)]
    assert list(windows(4, 3)) == [(0, 3)]
    with pytest.raises(UsageError, match="two tokens a column"):
        fold(np.arange(11, dtype=np.uint16), 6, torch.device("cpu"))


def test_the_model_starts_as_the_study_had_it():
    model = initial_model(Settings(shape=Shape(d_model=64)), n_words=5_000)
    for weight in (model.embedding.weight, model.output.weight):
        assert weight.abs().max() <= 0.1
        assert weight.std().item() == pytest.approx(0.2 / math.sqrt(12), rel=0.01)
    assert not model.output.bias.any()
    assert len(model.encoder.layers) == 2
    first, second = (layer.linear1.weight for layer in model.encoder.layers)
    assert torch.equal(first, second)
    # Hidden states have the norm sqrt(d), so logits have the variance d 0.1^2 / 3.
    model.eval()
    with torch.no_grad():
        logits = model(torch.randint(5_000, (35, 8)))
    assert logits.var().item() == pytest.approx(64 * 0.01 / 3, rel=0.1)


def test_positions_are_sinusoids():
    table = sinusoids(50, 6)
    for row, column, expected in [
        (7, 0, math.sin(7)),
        (7, 1, math.cos(7)),
        (49, 4, math.sin(49 / 10_000 ** (4 / 6))),
        (49, 5, math.cos(49 / 10_000 ** (4 / 6))),
    ]:
        assert table[row, column].item() == pytest.approx(expected, abs=1e-5)


def test_no_word_sees_the_words_after_it():
    model = initial_model(Settings(shape=Shape(d_model=8, bptt=7)), n_words=20).eval()
    tokens = torch.arange(14).view(7, 2)
    changed = tokens.clone()
    changed[4:] = 0
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.equal(before[:4], after[:4])
    assert not torch.allclose(before[4:], after[4:])


def test_training_falls_towards_what_the_text_allows(run):
    reports = run("--epochs", "4", "--lr", "0.5", "--dropout", "0", "--momentum", "0.5")
    assert [r["epoch"] for r in reports] == [1, 2, 3, 4]
    assert reports[0]["val_loss"] < math.log(32)
    assert reports[-1]["val_loss"] < reports[0]["val_loss"] - 0.2
    assert all(a["elapsed_time"] < b["elapsed_time"] for a, b in pairwise(reports))


def test_the_loss_is_weighted_by_length(folder, tmp_path, run):
    """At a learning rate of next to nothing the losses are those of the untrained model."""
    text = load(folder, tmp_path)
    settings = Settings(shape=Shape(d_model=8, bptt=7), dropout=0.0)
    model = initial_model(settings, text.n_words).eval()
    (report,) = run("--epochs", "1", "--lr", "1e-30", "--dropout", "0")
    for part, n_columns, loss in (
        (text.valid, 10, report["val_loss"]),
        (text.train, 4, report["train_loss"]),
    ):
        rows = fold(part, n_columns, torch.device("cpu"))
        total = 0.0
        for start in range(0, len(rows) - 1, 7):
            cut = rows[start : start + 8]
            with torch.no_grad():
                scores = model(cut[:-1]).log_softmax(-1)
            total -= scores.gather(-1, cut[1:, :, None]).sum().item()
        assert loss == pytest.approx(total / (len(rows) - 1) / n_columns, abs=1e-5)


def test_clipping_bounds_the_step(run, tmp_path):
    """Without momentum a step's length is lr x clip at most, and near it while clipping is on."""
    flags = ["--dropout", "0", "--momentum", "0", "--lr", "1", "--clip", "0.001", "--epochs", "1"]
    run(*flags, "--train-tokens", "32", "--checkpoint-dir", str(tmp_path))  # one window
    state = torch.load(tmp_path / checkpoint.NAME, weights_only=True)["state"]["model"]
    fresh = initial_model(Settings(shape=Shape(d_model=8, bptt=7), dropout=0.0), 31).state_dict()
    squared = sum((state[name] - fresh[name]).square().sum().item() for name in fresh)
    assert math.sqrt(squared) == pytest.approx(0.001, rel=1e-3)


def test_a_resumed_training_is_the_uninterrupted_one(run, tmp_path):
    """Bit for bit, dropout and momentum included."""
    flags = ["--lr", "0.3", "--dropout", "0.4", "--momentum", "0.9"]
    whole = run(*flags, "--epochs", "4")
    kept = ["--checkpoint-dir", str(tmp_path / "kept")]
    first = run(*flags, *kept, "--epochs", "1")
    torch.manual_seed(5)  # what another process would find
    second = run(*flags, *kept, "--epochs", "3")
    third = run(*flags, *kept, "--epochs", "4")
    assert losses(first + second + third) == losses(whole)
    assert run(*flags, *kept, "--epochs", "4") == []


def test_the_seed_decides(run):
    once = losses(run("--epochs", "1"))
    assert losses(run("--epochs", "1")) == once
    assert losses(run("--epochs", "1", "--seed", "7")) != once


def test_a_killed_training_goes_on_from_its_last_report(folder, run, tmp_path):
    flags = ["--lr", "0.3", "--dropout", "0.4", "--epochs", "6"]
    whole = losses(run(*flags))
    kept = [*flags, "--checkpoint-dir", str(tmp_path / "kept")]
    command = [sys.executable, "-m", "sims.transformer_wikitext2.train", "--data", str(folder)]
    path = tmp_path / "reports of the first"
    environment = {**os.environ, CHANNEL: str(path)}
    first = subprocess.Popen([*command, *SMALL, *kept], env=environment)
    while not path.exists() or not path.read_text().endswith("\n"):
        assert first.poll() is None
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    seen = losses([json.loads(line)["values"] for line in path.read_text().splitlines()])
    rest = losses(run(*kept))
    assert seen == whole[: len(seen)]
    # The checkpoint comes before the report, so at most one epoch is not told of.
    assert len(seen) + len(rest) in {6, 5}
    assert rest == whole[6 - len(rest) :]


def test_a_checkpoint_of_another_training_is_refused(folder, run, tmp_path, capsys):
    kept = ["--checkpoint-dir", str(tmp_path / "kept"), "--epochs", "1"]
    run(*kept, "--lr", "0.3")
    assert main(["--data", str(folder), *SMALL, *kept, "--lr", "0.2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "lr 0.3" in error


def test_a_torn_checkpoint_is_refused(folder, run, tmp_path, capsys):
    kept = ["--checkpoint-dir", str(tmp_path), "--epochs", "1"]
    run(*kept)
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["--data", str(folder), *SMALL, *kept]) == 2
    assert "checkpoint" in capsys.readouterr().err


def test_a_failed_write_leaves_the_last_checkpoint(run, tmp_path, monkeypatch):
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, {"epoch": 1}, {})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"epoch": 2}, {})
    assert checkpoint.load(path, {}) == {"epoch": 1}
    assert list(tmp_path.glob(".*")) == []


def test_a_diverged_loss_is_reported_and_ends_the_training(run, tmp_path):
    flags = ["--lr", "1e30", "--clip", "0", "--momentum", "0.9", "--dropout", "0", "--epochs", "5"]
    kept = ["--checkpoint-dir", str(tmp_path / "kept")]
    (only,) = run(*flags, *kept)
    assert only["epoch"] == 1
    assert only["val_loss"] in {"nan", "inf"}
    assert run(*flags, *kept) == []


@pytest.mark.parametrize(
    ("precision", "within"), [("bf16", 0.02), ("tf32", 1e-3), ("double", 1e-4)]
)
def test_precisions_agree(run, precision, within):
    flags = ["--lr", "0.3", "--dropout", "0", "--epochs", "2"]
    exact = run(*flags)
    other = run(*flags, "--precision", precision)
    for a, b in zip(exact, other, strict=True):
        assert b["val_loss"] == pytest.approx(a["val_loss"], abs=within)
    if precision in {"bf16", "double"}:
        assert losses(exact) != losses(other)


def test_a_config_of_the_benchmark_is_a_command_line():
    config = {**FIXED, "lr": 1e-5, "dropout": 0.25, "batch_size": 17, "momentum": 0.5, "clip": 0.75}
    values = parser().parse_args([part for k, v in config.items() for part in (f"--{k}", str(v))])
    settings = settings_of(values)
    assert settings == Settings(lr=1e-5, dropout=0.25, batch_size=17, momentum=0.5, clip=0.75)
    assert values.use_cuda == 1
    assert str(values.data) == "."


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--dropout", "1"], "dropout must be in [0, 1); got 1.0"),
        (["--lr", "0"], "lr must be above 0"),
        (["--d-model", "9"], "d_model must be even"),
        (["--clip", "-1"], "clip must be at least 0"),
        (["--nlayers", "0"], "nlayers must be at least 1"),
    ],
)
def test_rules_are_stated_in_one_line(folder, capsys, flags, rule):
    assert main(["--data", str(folder), *SMALL, *flags]) == 2
    error = capsys.readouterr().err
    assert rule in error
    assert error.count("\n") == 1


def test_missing_data_are_asked_for_in_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "train.txt" in error
    assert "--download" in error
    assert error.count("\n") == 1
