"""The examples run as they stand."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import asynctune
from asynctune import ConfigSpace
from asynctune.cli import main
from asynctune.spacefile import read_space

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_script_by_hand():
    command = [sys.executable, EXAMPLES / "train.py", "--epochs", "3", "--lr", "0.3"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    losses = [json.loads(line)["val_loss"] for line in ran.stdout.splitlines()]
    assert len(losses) == 3
    assert losses[2] < losses[0]


def test_the_script_under_the_tuner_goes_on_from_its_checkpoints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["run", "--script", EXAMPLES / "train.py", "--space", EXAMPLES / "space.yaml"]
    command += ["--metric", "val_loss", "--max-resource", "9", "--method", "ASHA"]
    command += ["--max-trials", "4", "--n-workers", "1", "--method-option"]
    command += ["continue_in_place=false", "--random-seed", "1"]
    monkeypatch.setattr(sys, "argv", ["asynctune", *map(str, command)])
    main()
    assert "best config: batch_size=" in capsys.readouterr().out
    trials = tmp_path / "results" / "train" / "ASHA-1w-0" / "trials"
    later = sorted(trials.glob("*/reports.1.jsonl"))
    assert later
    for path in later:
        before = path.with_name("reports.0.jsonl").read_text().splitlines()
        first = json.loads(path.read_text().splitlines()[0])
        assert first["values"]["epoch"] == json.loads(before[-1])["values"]["epoch"] + 1


def test_both_ways_to_tune_it_have_the_same_space():
    tree = ast.parse((EXAMPLES / "tune.py").read_text())
    call = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tune"
    )
    settings = {keyword.arg: keyword.value for keyword in call.keywords}
    code = compile(ast.Expression(settings["space"]), "tune.py", "eval")
    written = eval(code, {name: getattr(asynctune, name) for name in asynctune.__all__})  # noqa: S307
    assert ConfigSpace(written) == ConfigSpace(read_space(EXAMPLES / "space.yaml"))


@pytest.mark.parametrize("name", ["train.py", "tune.py"])
def test_they_say_what_they_are(name):
    assert ast.get_docstring(ast.parse((EXAMPLES / name).read_text()))
