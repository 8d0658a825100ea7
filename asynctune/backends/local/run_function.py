"""The program that an attempt of a function runs: call it, and report what it returns.

It is executed by its path, so that only what the function needs is imported:

    python -P run_function.py --function FILE --config FILE
"""

import argparse
import json
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import GeneratorType
from typing import Any, Final

FROM: Final = "ASYNCTUNE_FROM_RESOURCE"
MAX: Final = "ASYNCTUNE_MAX_RESOURCE"
_MAIN: Final = "__asynctune_main__"  # the program that defines the function is not to run again


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--function", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    how = json.loads(arguments.function.read_text(encoding="utf-8"))
    sys.path[:] = how["path"]  # this file's folder is not to be imported from
    function = imported(how)
    run(function, json.loads(arguments.config.read_text(encoding="utf-8")))


def imported(how: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function that was described where the tuner was started."""
    found: Callable[..., Any]
    if "file" in how:
        found = runpy.run_path(how["file"], run_name=_MAIN)[how["name"]]
        return found
    from importlib import import_module

    found = getattr(import_module(how["module"]), how["name"])
    return found


def run(function: Callable[..., Any], config: Mapping[str, Any]) -> None:
    """Call the function and report the metrics that it yields or returns.

    Raises:
        TypeError: If they are no dict.
    """
    from asynctune.reporting import RESOURCE, report

    resource = os.environ[RESOURCE]
    result = function(**config)
    if not isinstance(result, GeneratorType):
        if result is not None:
            report(**{resource: int(os.environ[MAX]), **_metrics(result, "return")})
        return
    level = int(os.environ[FROM])
    try:
        for metrics in result:
            level += 1
            if report(**{resource: level, **_metrics(metrics, "yield")}):
                break
    finally:
        result.close()  # so that it cleans up behind itself


def _metrics(given: object, how: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"a function must {how} dicts such as {{'loss': ...}}; got {given!r}")
    return given


if __name__ == "__main__":
    main()
