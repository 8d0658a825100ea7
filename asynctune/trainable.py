"""What is tuned: a training script, or a Python function."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asynctune.exceptions import UsageError

CONFIG_AS = ("flags", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A training script. It reports with `asynctune.report`.

    Attributes:
        path: The script. One that ends in .py is run by the Python at hand, any other is
            executed as it is.
        config_as: How the script is given its config, constants included: "flags" as
            ``--name value`` each, but for what is None, "json" as ``--config FILE``.
        prefix: What the script is run by instead, such as ``("torchrun", "--nproc-per-node=2")``;
            the script's path follows as it is.
        arguments: Further arguments, before the config's.
        environment: Environment variables besides those that the tuner has.
    """

    path: Path
    config_as: Literal["flags", "json"] = "flags"
    prefix: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.config_as not in CONFIG_AS:
            raise UsageError(
                f"config_as must be one of {', '.join(CONFIG_AS)}; got {self.config_as!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Python function that trains. Every attempt of a trial calls it in a process of its own.

    It is called with the config, constants included, as keywords. It may call
    `asynctune.report` itself; or be a generator that yields the metrics after every resource
    level as a dict; or return them as a dict once.

    Attributes:
        function: The function, which another process must be able to import: defined at the
            top of a module, or of the program itself.
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        name = getattr(self.function, "__qualname__", repr(self.function))
        module = getattr(self.function, "__module__", None)
        if not name.isidentifier() or module is None:
            raise UsageError(f"a function must be defined at the top of a module; got {name}")
        if module == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
            raise UsageError(f"a function must be defined in a file, not by hand; got {name}")


Trainable = Script | Function
