"""asynctune: asynchronous hyperparameter tuning, real or simulated under virtual time.

The names below are the public ones besides those of documented modules. Each is imported
when it is first used, so that `import asynctune` costs next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctune.asktell import AskedTrial as AskedTrial
    from asynctune.asktell import AskTell as AskTell
    from asynctune.asktell import Best as Best
    from asynctune.benchmark import Benchmark as Benchmark
    from asynctune.benchmark import load_benchmark as load_benchmark
    from asynctune.checkpoints import load_checkpoint as load_checkpoint
    from asynctune.checkpoints import save_checkpoint as save_checkpoint
    from asynctune.exceptions import AsynctuneError as AsynctuneError
    from asynctune.exceptions import AsynctuneWarning as AsynctuneWarning
    from asynctune.exceptions import IllegalEventError as IllegalEventError
    from asynctune.exceptions import JournalError as JournalError
    from asynctune.exceptions import NoResultError as NoResultError
    from asynctune.exceptions import SpaceError as SpaceError
    from asynctune.exceptions import UsageError as UsageError
    from asynctune.experiment import Experiment as Experiment
    from asynctune.experiment import run_experiment as run_experiment
    from asynctune.reporting import Told as Told
    from asynctune.reporting import checkpoint_dir as checkpoint_dir
    from asynctune.reporting import report as report
    from asynctune.reporting import told as told
    from asynctune.results import load_experiment as load_experiment
    from asynctune.results import load_study as load_study
    from asynctune.space import ConfigSpace as ConfigSpace
    from asynctune.space import choice as choice
    from asynctune.space import finrange as finrange
    from asynctune.space import logfinrange as logfinrange
    from asynctune.space import lograndint as lograndint
    from asynctune.space import loguniform as loguniform
    from asynctune.space import ordinal as ordinal
    from asynctune.space import randint as randint
    from asynctune.space import reverseloguniform as reverseloguniform
    from asynctune.space import uniform as uniform
    from asynctune.stopping import RetryPolicy as RetryPolicy
    from asynctune.stopping import StoppingCriterion as StoppingCriterion
    from asynctune.trainable import Function as Function
    from asynctune.trainable import Script as Script
    from asynctune.tuning import Tuned as Tuned
    from asynctune.tuning import tune as tune

__all__ = [
    "AskTell",
    "AskedTrial",
    "AsynctuneError",
    "AsynctuneWarning",
    "Benchmark",
    "Best",
    "ConfigSpace",
    "Experiment",
    "Function",
    "IllegalEventError",
    "JournalError",
    "NoResultError",
    "RetryPolicy",
    "Script",
    "SpaceError",
    "StoppingCriterion",
    "Told",
    "Tuned",
    "UsageError",
    "checkpoint_dir",
    "choice",
    "finrange",
    "load_benchmark",
    "load_checkpoint",
    "load_experiment",
    "load_study",
    "logfinrange",
    "lograndint",
    "loguniform",
    "ordinal",
    "randint",
    "report",
    "reverseloguniform",
    "run_experiment",
    "save_checkpoint",
    "told",
    "tune",
    "uniform",
]

_NAMES_OF = {
    "asktell": ("AskTell", "AskedTrial", "Best"),
    "benchmark": ("Benchmark", "load_benchmark"),
    "checkpoints": ("load_checkpoint", "save_checkpoint"),
    "exceptions": (
        "AsynctuneError",
        "AsynctuneWarning",
        "IllegalEventError",
        "JournalError",
        "NoResultError",
        "SpaceError",
        "UsageError",
    ),
    "experiment": ("Experiment", "run_experiment"),
    "reporting": ("Told", "checkpoint_dir", "report", "told"),
    "results": ("load_experiment", "load_study"),
    "space": (
        "ConfigSpace",
        "choice",
        "finrange",
        "logfinrange",
        "lograndint",
        "loguniform",
        "ordinal",
        "randint",
        "reverseloguniform",
        "uniform",
    ),
    "stopping": ("RetryPolicy", "StoppingCriterion"),
    "trainable": ("Function", "Script"),
    "tuning": ("Tuned", "tune"),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}


# Type checkers are not to see it: it would make every misspelt name legal.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name from its module, and keep it."""
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the module's names, those not imported yet included."""
    return sorted({*globals(), *__all__})
