"""The README's code runs, and its commands exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from asynctune.cli.main import commands

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
PYTHON = [body for language, body in BLOCKS if language == "python"]
SCRIPT, TUNING = (body for language, body in BLOCKS if language == "py")
(SPACE,) = (body for language, body in BLOCKS if language == "yaml")
SHELL = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if not language
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("asynctune ")
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make and enter a folder with the README's script and space file."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "curves.parquet").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYNCTUNE_HOME", str(tmp_path / "home"))
    return tmp_path


def words_of(command: str, *, mentions: str = "") -> list[str]:
    """Return the README's command that begins so, without the program's name."""
    (found,) = (
        words for words in SHELL if words[1] == command and (mentions in words or not mentions)
    )
    return found[1:]


def run(*words: str) -> str:
    """Run a command of the command line in the present folder, and return what it prints."""
    program = [sys.executable, "-c", "from asynctune.cli import main; main()"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[number], "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", SHELL, ids=" ".join)
def test_commands_parse(words: list[str], here: Path) -> None:
    context = click.Context(commands, info_name="asynctune", **commands.context_settings)
    command = commands.get_command(context, words[1])
    assert command is not None
    command.make_context(words[1], words[2:], parent=context)


def test_a_script_is_tuned_as_it_says(here: Path) -> None:
    tuning = words_of("run", mentions="--script")
    tuning[tuning.index("--max-trials") + 1] = "4"
    assert "best val_loss" in run(*tuning)
    assert "epoch 1: val_loss " in run(*words_of("logs", mentions="train/MOBSTER-2w-0"))
    assert "trial 3" in run(*words_of("explain", mentions="train/MOBSTER-2w-0"))
    run(*words_of("curves"))
    assert (here / "results" / "train" / "MOBSTER-2w-0" / "curves.png").exists()


def test_a_function_is_tuned_as_it_says(here: Path) -> None:
    (here / "tuning.py").write_text(TUNING.replace("max_trials=20", "max_trials=4"))
    done = subprocess.run(
        [sys.executable, "tuning.py"], capture_output=True, text=True, check=False, cwd=here
    )
    assert done.returncode == 0, done.stderr
    assert "'lr':" in done.stdout
    trials = (here / "results" / "train-model").glob("MOBSTER-2w-0/trials/*/reports.*.jsonl")
    levels = [(path.parent, x["values"]["epoch"]) for path in trials for x in read(path)]
    assert len(levels) == len(set(levels))  # what was paused went on


def test_a_benchmark_is_made_as_it_says(here: Path) -> None:
    (here / "curves.parquet").unlink()
    recording = words_of("record")
    recording[recording.index("--configs") + 1] = "8"
    run(*recording)
    run(*words_of("fit"))
    study = words_of("study", mentions="own")
    study[study.index("--n-workers") + 1] = "2"
    study[study.index("--method") + 1] = "RS"
    run(*study)
    assert (here / "results" / "what-if" / "RS-2w-0" / "results.parquet").exists()


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) >= 2
    assert len(SHELL) >= 14
