"""The command line and the environment that an attempt is started with."""

import hashlib
import inspect
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from asynctune.backends.base import VERSION
from asynctune.backends.local import run_function
from asynctune.backends.local.files import AttemptFiles
from asynctune.exceptions import UsageError
from asynctune.space import ConfigSpace
from asynctune.trainable import Function, Script, Trainable

_FUNCTION: Final = "function.json"


class Command:
    """Makes the command of a trial.

    Args:
        trainable: What is trained.
        space: What is tuned, and the values that every config has besides.

    Raises:
        UsageError: If there is no such script, it cannot be executed, or its arguments say what
            the config says.
    """

    def __init__(self, trainable: Trainable, space: ConfigSpace) -> None:
        self._function = trainable if isinstance(trainable, Function) else None
        self._constants = dict(space.constants)
        if isinstance(trainable, Script):
            _check_arguments(trainable, [*space.constants, *space.domains])
            self._script = trainable
            self._begin = _begin(trainable)
        else:
            self._script = Script(path=Path(run_function.__file__), config_as="json")
            self._begin = []
        self.environment: Mapping[str, str] = self._script.environment

    def describe(self) -> Mapping[str, Any]:
        """Return what is trained, for the journal's header."""
        if self._function is not None:
            function = self._function.function
            name = f"{_module(function)}.{function.__qualname__}"
            return {"function": name, **_version(self._function)}
        script = self._script
        return {
            "script": str(script.path),
            "config_as": script.config_as,
            "prefix": list(script.prefix),
            "arguments": list(script.arguments),
            **_version(script),
        }

    def prepare(self, folder: Path) -> None:
        """Write into the folder of all trials what the commands need."""
        if self._function is not None:
            path = folder / _FUNCTION
            path.write_bytes(orjson.dumps(_how_to_import(self._function.function)))
            self._begin = [sys.executable, "-P", run_function.__file__, "--function", str(path)]

    def of(self, config: Mapping[str, Any], files: AttemptFiles) -> list[str]:
        """Return the command of a trial, having written its config if it is to be a file."""
        whole = {**self._constants, **config}
        command = [*self._begin, *self._script.arguments]
        if self._script.config_as == "json":
            files.config.write_bytes(orjson.dumps(whole))
            return [*command, "--config", str(files.config)]
        for name, value in whole.items():
            if value is None:
                continue  # as where a flag is not given
            text = str(value)
            # Parsers take what begins with a minus for another flag, even some numbers.
            command += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
        return command


def _version(trainable: Trainable) -> dict[str, str]:
    """Return the hash of a script's or function's text; nothing where that cannot be had."""
    try:
        if isinstance(trainable, Script):
            text = trainable.path.read_bytes()
        else:
            text = inspect.getsource(trainable.function).encode()
    except (OSError, TypeError):
        return {}
    return {VERSION: hashlib.sha256(text).hexdigest()}


def _check_arguments(script: Script, names: Sequence[str]) -> None:
    """Raise a UsageError if an argument would be overridden by a flag of the config."""
    flags = {f"--{name}".replace("_", "-") for name in names if script.config_as == "flags"}
    for argument in script.arguments:
        if argument.partition("=")[0].replace("_", "-") in flags:
            raise UsageError(
                f"an argument of the script must not be in the config space, too; got {argument}"
            )


def _begin(script: Script) -> list[str]:
    """Return how a command begins, up to the script, having checked that it can be run."""
    path = script.path
    if not path.is_file():
        raise UsageError(f"a training script must be a file; got {path}")
    if script.prefix:
        if shutil.which(script.prefix[0]) is None:
            raise UsageError(f"{script.prefix[0]} is to run {path}, and cannot be found")
        return [*script.prefix, str(path)]
    if path.suffix == ".py":
        return [sys.executable, str(path)]
    if not os.access(path, os.X_OK):
        raise UsageError(f"a script that does not end in .py must be executable; got {path}")
    return [str(path.absolute())]


def _how_to_import(function: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever can be called
    """Return what another process needs to know in order to import a function."""
    found: dict[str, Any] = {"module": _module(function), "name": function.__qualname__}
    found["path"] = [str(Path(entry or ".").absolute()) for entry in sys.path]
    if function.__module__ == "__main__":
        found["file"] = str(Path(inspect.getfile(function)).absolute())
    return found


def _module(function: Any) -> str:  # noqa: ANN401 - whatever can be called
    if function.__module__ != "__main__":
        return str(function.__module__)
    return Path(inspect.getfile(function)).stem
