"""From a script to a benchmark of one's own: record, fit, study."""

import json
import shlex
import sys
from contextlib import nullcontext

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from asynctune import (
    AsynctuneWarning,
    ConfigSpace,
    Experiment,
    UsageError,
    load_benchmark,
    run_experiment,
)
from asynctune.cli.main import commands
from asynctune.stopping import StoppingCriterion
from sims.commands.record import sobol_configs
from sims.curvefit.store import SURROGATE, find, home

SCRIPT = """
import argparse, math
from asynctune import report
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--width", type=int)
parser.add_argument("--epochs", type=int)
a = parser.parse_args()
for epoch in range(1, a.epochs + 1):
    loss = abs(math.log10(a.lr) + 2) + 1 / (a.width * epoch)
    report(epoch=epoch, loss=loss, twice=2 * loss)
"""
SPACE = {
    "lr": {"domain": "loguniform", "lower": 1e-4, "upper": 1.0},
    "width": {"domain": "randint", "lower": 1, "upper": 9},
    "epochs": 3,
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with a script and its space; return it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("ASYNCTUNE_HOME", str(tmp_path / "home"))
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    return tmp_path


def asynctune(*words):
    result = CliRunner().invoke(commands, list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


def loss(config, epoch):
    return abs(np.log10(config["lr"]) + 2) + 1 / (config["width"] * epoch)


def write_table(path, n=20, **columns):
    configs = sobol_configs(ConfigSpace.from_json(SPACE), n, seed=2)
    frames = [
        pl.DataFrame(
            {
                "config_id": f"c{i}",
                **config,
                "epoch": [1, 2, 3],
                "loss": [loss(config, epoch) for epoch in (1, 2, 3)],
                "seconds": [10.0, 20.0, 30.0],
                "source": "hand",
                **columns,
            }
        )
        for i, config in enumerate(configs)
    ]
    pl.concat(frames).write_parquet(path)
    return configs


def experiment(benchmark):
    return Experiment(
        tag="t",
        benchmark=benchmark,
        method="ASHA",
        n_workers=2,
        seed=0,
        scheduler_seed=4,
        stopping=StoppingCriterion(max_wallclock_time=3000),
    )


def test_a_script_is_recorded_fitted_and_simulated(here):
    """The whole way, on this machine; what is recorded is not trained again."""
    words = ["--script", "train.py", "--space", "space.json", "--metric", "loss"]
    words += ["--max-resource", "3", "--configs", "9", "--n-workers", "2"]
    words += ["--set", "trial_timeout=500"]
    said = asynctune("record", "curves.parquet", *words)
    assert "9 configs on 2 workers" in said
    assert "9 of 9 trained" in said
    assert "curves.parquet has 9 now, curves.space.yaml the space" in said
    table = pl.read_parquet("curves.parquet")
    assert len(table) == 27
    assert table["source"].unique().to_list() == ["record-curves"]
    for row in table.iter_rows(named=True):
        assert row["loss"] == pytest.approx(loss(row, row["epoch"]))
        assert row["twice"] == 2 * row["loss"]
    asynctune("record", "curves.parquet", *words)
    assert pl.read_parquet("curves.parquet").equals(table)

    words = ["--metric", "loss", "--other-metric", "twice", "--name", "mine"]
    said = asynctune("fit", "curves.parquet", *words)
    assert "record-curves       3       9" in said
    hint = said.splitlines()[-1].split("asynctune ")[1]
    asynctune(*shlex.split(hint), "--method", "RS")
    assert len(pl.read_parquet("results/mine/RS-4w-0/results.parquet")) > 10
    assert "a full training takes 0" in said
    assert "startup_delay" in said
    run_experiment(experiment("mine"), here / "one")
    reports = pl.read_parquet(here / "one" / "results.parquet")
    assert set(reports["source"]) == {"surrogate"}
    config = {"lr": reports["config_lr"][0], "width": reports["config_width"][0]}
    assert reports["loss"][0] == pytest.approx(loss(config, 1), abs=0.5)


def test_a_function_is_recorded(here):
    (here / "trained_here.py").write_text(
        "def train(lr, width, epochs):\n"
        "    for epoch in range(1, epochs + 1):\n"
        "        yield {'epoch': epoch, 'loss': lr + width / epoch}\n"
    )
    words = ["--space", "space.json", "--metric", "loss", "--max-resource", "3", "--configs", "3"]
    asynctune("record", "f.parquet", "--function", "trained_here:train", *words)
    table = pl.read_parquet("f.parquet")
    assert len(table) == 9
    expected = table.select(pl.col("lr") + pl.col("width") / pl.col("epoch")).to_series()
    np.testing.assert_allclose(table["loss"], expected)
    for name in ("trained_here:nothing", "nowhere:train", "trained_here"):
        with pytest.raises(UsageError, match="must be MODULE:NAME of a function"):
            asynctune("record", "g.parquet", "--function", name, *words)


def test_curves_of_experiments_are_added_to_a_table_once(here):
    write_table("curves.parquet")
    asynctune("fit", "curves.parquet", "--space", "space.json", "--metric", "loss", "--name", "b")
    run_experiment(experiment("b"), here / "results" / "study" / "one")
    n = pl.read_parquet("curves.parquet")["config_id"].n_unique()
    for _ in range(2):
        asynctune("record", "curves.parquet", "--from", "results/study")
        frame = pl.read_parquet("curves.parquet")
        assert set(frame["source"]) == {"hand", "study"}
        assert frame.filter(source="hand").height == 3 * n
        trials = pl.read_parquet("results/study/one/results.parquet")
        assert frame.filter(source="study").height == len(trials)


def test_a_study_keeps_to_the_data_that_it_began_with(here):
    fit = ["fit", "curves.parquet", "--space", "space.json", "--metric", "loss", "--name", "own"]
    study = ["study", "--experiment-tag", "s", "--benchmark", "own", "--n-workers", "2"]
    write_table("curves.parquet")
    assert "replaced" not in asynctune(*fit)
    asynctune(*study, "--method", "RS")
    assert "own: replaced; its data are the same as before" in asynctune(*fit)
    asynctune(*study, "--method", "ASHA")
    table = pl.read_parquet("curves.parquet")
    table.with_columns(pl.col("loss") + 5).write_parquet("curves.parquet")
    assert "own: replaced; its data are 20 curves, digest " in asynctune(*fit)
    for method in ("RS", "BO"):  # one that is complete, and one that is new
        with pytest.raises(UsageError, match=r"its benchmark_data is .?20 curves, digest"):
            asynctune(*study, "--method", method)
    with pytest.raises(UsageError, match=r"holds another experiment: .*its benchmark_data is"):
        run_experiment(experiment("own"), here / "results" / "s" / "ASHA-2w-0")
    table.write_parquet("curves.parquet")
    asynctune(*fit)
    asynctune(*study, "--method", "RS")
    asynctune(*fit, "--replay", "nearest")
    with pytest.raises(UsageError, match="its benchmark_data is"):
        asynctune(*study, "--method", "RS")
    # Other benchmarks cannot change, and their headers say nothing of it.
    assert load_benchmark("transformer_wikitext2").data == ""


@pytest.mark.parametrize("replay", ["exact", "nearest"])
def test_a_table_is_replayed_without_a_model(here, replay):
    configs = write_table("curves.parquet")
    words = ["--space", "space.json", "--metric", "loss", "--name", "plain", "--replay", replay]
    said = asynctune("fit", "curves.parquet", *words, "--folder", "own/folder")
    assert f"{len(configs)} configs can be replayed" in said
    assert find("plain") is None  # it is elsewhere
    benchmark = load_benchmark("own/folder")
    assert (benchmark.name, benchmark.max_resource, benchmark.seconds_per_level) == ("plain", 3, 10)
    assert said.endswith("asynctune study --experiment-tag plain --benchmark own/folder\n")
    assert "a full training takes 30 s" in said
    assert not (here / "own" / "folder" / SURROGATE).exists()
    box = benchmark.blackbox()
    assert box.curve(configs[4], 0).source == ("recorded:hand",) * 3
    other = {"lr": 0.017, "width": 5}
    if replay == "nearest":
        assert box.curve(other, 0).source == ("nearest:hand",) * 3
    else:
        with pytest.raises(UsageError, match=r"one of the 20 recorded ones.*--replay nearest"):
            box.curve(other, 0)


@pytest.mark.parametrize("method", ["RS", "BO", "ASHA"])
def test_with_exact_replay_methods_choose_among_what_was_recorded(here, method):
    configs = write_table("curves.parquet")
    words = ["--space", "space.json", "--metric", "loss", "--name", "own", "--replay", "exact"]
    assert "and methods choose among them" in asynctune("fit", "curves.parquet", *words)
    words = ["--benchmark", "own", "--method", method, "--n-workers", "3", "--random-seed", "7"]
    asynctune("run", *words, "--profile", "local")  # so that there is time for all
    frame = pl.read_parquet("results/own/*/results.parquet")
    tried = frame.filter(epoch=1).select("config_lr", "config_width").rows()
    assert sorted(tried) == sorted((c["lr"], c["width"]) for c in configs)
    assert set(frame["source"]) == {"recorded:hand"}


def test_a_benchmark_keeps_what_it_was_given(here):
    write_table("curves.parquet", seconds=[100.0, 200.0, 300.0])
    words = ["--space", "space.json", "--metric", "loss", "--mode", "max", "--name", "full"]
    words += [
        "--n-workers",
        "7",
        "--max-wallclock-time",
        "99",
        "--instance-type",
        "ml.g4dn.12xlarge",
    ]
    assert "a full training takes" not in asynctune("fit", "curves.parquet", *words)
    assert home() == here / "home" / "benchmarks"
    benchmark = load_benchmark("full")
    assert (benchmark.mode, benchmark.n_workers, benchmark.max_wallclock_time) == ("max", 7, 99)
    assert benchmark.instance_types["sagemaker"] == "ml.g4dn.12xlarge"
    assert benchmark.provenance.startswith("recorded learning curves of 20 configs (hand); ")
    assert benchmark.space == ConfigSpace.from_json(SPACE)
    assert "transformer_wikitext2_mini, full\n" in asynctune("list")
    with pytest.raises(UsageError, match=r"mini, full, or the path of a folder.*; got 'ful'"):
        load_benchmark("ful")
    # Packages' benchmarks are not hidden by folders of the same name.
    assert load_benchmark("transformer_wikitext2").max_resource == 40


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["fit", "none.parquet", "--metric", "loss", "--name", "x"],
            "there is no none.parquet",
        ),
        (
            ["fit", "t.parquet", "--metric", "loss", "--name", "x"],
            "t.space.yaml: No such file",
        ),
        (["fit", "t.parquet", "--space", "s.json", "--metric", "loss", "--name", "x"], "domain"),
        (
            ["fit", "t.parquet", "--space", "space.json", "--metric", "m", "--name", "x"],
            "m is missing",
        ),
        (
            ["fit", "t.parquet", "--space", "space.json", "--metric", "loss", "--name", "../x"],
            "name",
        ),
        (
            ["fit", "few.parquet", "--space", "space.json", "--metric", "loss", "--name", "x"],
            "8 conf",
        ),
        (["record", "new.parquet"], "one of --from, --script and --function"),
        (["record", "new.parquet", "--from", "home"], "hold an experiment or a study"),
        (["record", "new.parquet", "--script", "train.py"], "--space must be given"),
        (["study", "--benchmark", "nowhere", "--experiment-tag", "x"], "benchmark must be one of"),
    ],
)
def test_bad_input_is_named(here, words, said):
    write_table("t.parquet")
    write_table("few.parquet", n=5)
    (here / "s.json").write_text('{"lr": {"domain": "nothing"}}')
    with pytest.raises(UsageError, match=said) as caught:
        asynctune(*words)
    assert "\n" not in str(caught.value)


def test_broken_folders_are_named(here):
    write_table("curves.parquet")
    asynctune("fit", "curves.parquet", "--space", "space.json", "--metric", "loss", "--name", "b")
    folder = home() / "b"
    (folder / SURROGATE).write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"surrogate\.npz cannot be read as a surrogate"):
        load_benchmark("b").blackbox()
    (folder / "benchmark.json").write_text('{"format": 1, "name": "b"}')
    with pytest.raises(UsageError, match=r"benchmark\.json cannot be read as a benchmark"):
        load_benchmark("b")


def test_designs_are_of_different_configs_and_grow():
    space = ConfigSpace.from_json(SPACE)
    configs = sobol_configs(space, 20, seed=3)
    assert len({space.key(config) for config in configs}) == 20
    assert sobol_configs(space, 9, seed=3) == configs[:9]
    assert sobol_configs(space, 9, seed=4) != configs[:9]
    finite = ConfigSpace({"width": space["width"]})
    assert sorted(c["width"] for c in sobol_configs(finite, 500, seed=0)) == list(range(1, 10))


FRAGILE = """
import argparse, os
from asynctune import report
parser = argparse.ArgumentParser()
parser.add_argument("--lr")
parser.add_argument("--width", type=int)
parser.add_argument("--epochs", type=int)
a = parser.parse_args()
if a.width in {broken}:
    raise ArithmeticError("too wide")
for epoch in range(1, a.epochs + 1):
    report(epoch=epoch, loss=a.width / epoch)
"""
FEW = ["--script", "train.py", "--space", "space.json", "--metric", "loss", "--max-resource", "3"]


def write_fragile(folder, broken):
    (folder / "train.py").write_text(FRAGILE.replace("{broken}", str(set(broken) or "()")))


def recorded():
    return pl.read_parquet("curves.parquet")["config_id"].n_unique()


def test_a_recording_grows_and_tries_again_what_failed(here):
    write_fragile(here, [3])
    wide = sum(c["width"] == 3 for c in sobol_configs(ConfigSpace.from_json(SPACE), 24, seed=0))
    assert wide > 0
    said = asynctune("record", "curves.parquet", *FEW, "--configs", "24", "--n-workers", "2")
    assert f"{wide} trial" in said
    assert "ArithmeticError: too wide" in said
    assert recorded() == 24 - wide
    write_fragile(here, [])
    with pytest.warns(AsynctuneWarning, match="train.py has changed since"):
        said = asynctune("record", "curves.parquet", *FEW, "--configs", "26")
    assert f"{2 + wide} configs on 1 worker;" in said
    assert recorded() == 26
    for n in ("26", "10"):
        with pytest.warns(AsynctuneWarning, match="train.py has changed since"):
            said = asynctune("record", "curves.parquet", *FEW, "--configs", n)
        assert said.startswith("nothing is left to train")
    assert recorded() == 26
    with pytest.raises(UsageError, match="its metric is loss, not twice"):
        asynctune("record", "curves.parquet", *FEW, "--metric", "twice")


@pytest.mark.parametrize("configs", [3, 20])
def test_a_hopeless_recording_ends_early_and_says_why(here, configs, capfd):
    write_fragile(here, range(1, 10))
    words = ["record", "curves.parquet", *FEW, "--configs", str(configs)]
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == 1
    assert f"{min(configs, 5)} trials failed; the last, trial " in result.output
    assert "ArithmeticError: too wide" in result.output
    assert "asynctune logs results/record-curves/RS-1w-0 " in result.output
    assert f"0 of {configs} trained, 1 failed" in result.output
    assert ", 6 failed" not in result.output
    # What has recorded nothing at all begins anew; no version is mixed with another.
    write_fragile(here, [])
    with pytest.warns(AsynctuneWarning) if configs > 5 else nullcontext():
        asynctune(*words)
    assert recorded() == configs
