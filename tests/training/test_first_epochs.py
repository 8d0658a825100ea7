"""The check of the training script against the published first epoch."""

import json

import pytest
from click.testing import CliRunner

from asynctune import UsageError
from sims.transformer_wikitext2 import one_epoch

SMALL = ("--d-model", "8", "--bptt", "7", "--device", "cpu")


def test_it_takes_published_configs_in_the_range_quickest_first():
    found = one_epoch.candidates()
    assert len(found) >= 4
    assert all(8.6 <= published.val_loss <= 10.0 for published in found)
    sizes = [published.config["batch_size"] for published in found]
    assert sizes == sorted(sizes, reverse=True)
    assert len({published.trial for published in found}) == len(found)


def test_the_script_is_run_with_the_config_and_its_loss_is_kept(folder, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    path = tmp_path / "kept" / "epochs.json"
    first = one_epoch.candidates()[0]
    monkeypatch.setattr(one_epoch, "estimate", lambda *_: 1.0)  # tested below
    (outcome,) = one_epoch.check(folder, 1, "float", 1, path, SMALL)
    assert (outcome.trial, outcome.published) == (first.trial, first.val_loss)
    assert 2 < outcome.ours < 4.5  # the small text has 31 words: log 31 = 3.4
    assert not outcome.within
    # What is finished is not trained again, and one that fails leaves it as it is.
    with monkeypatch.context() as patch:
        patch.setattr(one_epoch, "train", lambda *_: pytest.fail("it is finished"))
        assert one_epoch.check(folder, 1, "float", 1, path, SMALL) == [outcome]
    with pytest.raises(UsageError, match=r"training script failed: .*unrecognized.*--no-such-flag"):
        one_epoch.check(folder, 2, "float", 1, path, [*SMALL, "--no-such-flag"])
    assert one_epoch.read(path) == [outcome]


def test_the_faster_precision_is_used_and_the_verdict_is_the_status(folder, tmp_path, monkeypatch):
    losses = {published.trial: published.val_loss for published in one_epoch.candidates()}
    used = []

    def train(config, flags, threads):
        used.append(flags[flags.index("--precision") + 1])
        if "--train-tokens" in flags:
            return {"val_loss": 1.0, "elapsed_time": 1.0 if used[-1] == "bf16" else 2.0}
        trial = next(p.trial for p in one_epoch.candidates() if p.config == config)
        return {"val_loss": losses[trial] + offset, "elapsed_time": 90.0}

    monkeypatch.setattr(one_epoch, "train", train)
    offset = -0.149
    command = ["--data", str(folder), "--json", str(tmp_path / "a.json")]
    result = CliRunner().invoke(one_epoch.main, command)
    assert result.exit_code == 0, result.output
    assert used == ["float", "bf16", *["bf16"] * 4]
    assert "4 of 4 within 0.15" in result.output
    assert "-0.149    yes     1.5  bf16" in result.output
    offset = 0.151
    command = ["--data", str(folder), "--json", str(tmp_path / "b.json"), "--configs", "3"]
    result = CliRunner().invoke(one_epoch.main, command)
    assert result.exit_code == 1
    assert "0 of 3 within" in result.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--configs", "0"], "configs must be between 1 and"),
        (["--data", "nowhere"], "--data must be a folder with train.txt"),
        (["--json", "broken.json"], "must hold outcomes of this check"),
    ],
)
def test_bad_input_gets_one_line(folder, tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text(json.dumps([{"trial": 3}]))
    result = CliRunner().invoke(one_epoch.main, ["--data", str(folder), *change])
    assert result.exit_code == 2
    assert result.output.startswith("one_epoch: ")
    assert said in result.output
    assert result.output.count("\n") == 1
