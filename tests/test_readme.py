"""The README's code runs, and its commands exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from asynctune.cli.main import commands

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHELL = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("asynctune ")
]


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[number], "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", SHELL, ids=" ".join)
def test_commands_parse(words: list[str]) -> None:
    context = click.Context(commands, info_name="asynctune", **commands.context_settings)
    command = commands.get_command(context, words[1])
    assert command is not None
    command.make_context(words[1], words[2:], parent=context)


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) >= 2
    assert len(SHELL) >= 8
