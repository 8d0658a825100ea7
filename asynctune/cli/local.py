"""Options of a real run on this machine: what is trained, with which devices, how patiently."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from asynctune.benchmark import Benchmark, load_benchmark
from asynctune.cli.options import Function, Integer, Number
from asynctune.exceptions import UsageError
from asynctune.opening import own_problem
from asynctune.trainable import CONFIG_AS, Script

_SIZES: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([KMGT]?)B?\s*", re.IGNORECASE)


class Size(click.ParamType[int]):
    """A number of bytes, such as 500MB or 20GB."""

    name = "SIZE"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the number of bytes."""
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"must be a size such as 500MB or 20GB; got {value!r}", param, ctx)
        return int(float(found[1]) * _SIZES[found[2].upper()])


_SECONDS: Final = Number(min=0, min_open=True)
_AT_LEAST_1: Final = Integer(min=1)

_PROBLEM: Final = (
    click.option(
        "--script",
        type=click.Path(path_type=Path),
        default=None,
        help="Training script to tune instead of a benchmark; it calls asynctune.report. "
        "Further arguments for it may follow after `--`.",
    ),
    click.option(
        "--space",
        type=click.Path(path_type=Path),
        default=None,
        help="File with the script's config space, in YAML or JSON.",
    ),
    click.option("--metric", default=None, help="Reported metric that is optimised."),
    click.option(
        "--mode", type=click.Choice(["min", "max"]), default=None, help="Which values are better."
    ),
    click.option(
        "--resource", default=None, help="Reported resource, such as epoch.  [default: epoch]"
    ),
    click.option(
        "--max-resource", type=_AT_LEAST_1, default=None, help="Levels that a full training has."
    ),
    click.option(
        "--config-as",
        type=click.Choice(CONFIG_AS),
        default=None,
        help="flags: the script is given --NAME VALUE each; json: --config FILE.  [default: flags]",
    ),
    click.option(
        "--launcher",
        default=None,
        metavar="COMMAND",
        help='What the script is run by, such as "torchrun --nproc-per-node=2".  [default: python]',
    ),
)
# Flags of a simulation, and what they are where they are not given.
_SIMULATED: Final = {
    "profile": None,
    "warm_pool": False,
    "instance_type": None,
    "decision_cost": 0.0,
}
_PROBLEM_NAMES: Final = ("space", "metric", "mode", "resource", "max_resource", "config_as")

_BACKEND: Final = (
    click.option(
        "--gpus",
        default=None,
        metavar="N,N,...",
        help="GPUs to use, by number or UUID, or none.  [default: all]",
    ),
    click.option(
        "--gpus-per-trial",
        type=_AT_LEAST_1,
        default=None,
        help="GPUs that a trial has of its own.  [default: 1]",
    ),
    click.option(
        "--trials-per-gpu",
        type=_AT_LEAST_1,
        default=None,
        help="Trials that share a GPU.  [default: 1]",
    ),
    click.option(
        "--threads",
        type=_AT_LEAST_1,
        default=None,
        help="CPU threads of a trial.  [default: an equal share]",
    ),
    click.option(
        "--trial-timeout",
        type=_SECONDS,
        default=None,
        help="Seconds after which an attempt at a trial has failed.",
    ),
    click.option(
        "--report-timeout",
        type=_SECONDS,
        default=None,
        help="Seconds without a report after which a trial hangs.",
    ),
    click.option(
        "--grace-period",
        type=Number(min=0),
        default=None,
        help="Seconds that a trial has for its checkpoint when it is to pause.  [default: 30]",
    ),
    click.option(
        "--on-interrupt",
        type=click.Choice(["pause", "stop", "detach"]),
        default=None,
        help="What becomes of running trials at Ctrl-C: they write their checkpoints, end at "
        "once, or run on until the command is started again.  [default: pause]",
    ),
    click.option(
        "--disk-budget",
        type=Size(),
        default=None,
        help="Room for the checkpoints of trials that do not run, such as 20GB.",
    ),
)
_BACKEND_NAMES: Final = (
    *("gpus", "gpus_per_trial", "trials_per_gpu", "threads", "trial_timeout", "report_timeout"),
    *("grace_period", "on_interrupt", "disk_budget"),
)


def own_script(function: Function) -> Function:
    """Add the options of a training script, and of the backend that runs it."""
    for option in reversed((*_PROBLEM, *_BACKEND)):
        function = option(function)
    return click.argument("arguments", nargs=-1, type=click.UNPROCESSED)(function)


def problem_of(given: Mapping[str, Any]) -> Benchmark:
    """Return the tuning problem that the options name.

    Raises:
        UsageError: If it is not told which, or twice.
    """
    script, benchmark = given["script"], given["benchmark"]
    if (script is None) == (benchmark is None):
        got = "neither" if script is None else "both"
        raise UsageError(f"there must be a --benchmark or a --script; got {got}")
    if script is None:
        for name in (*_PROBLEM_NAMES, "launcher"):
            if given[name] is not None:
                raise UsageError(f"{_flag(name)} belongs to a --script; got a --benchmark")
        return _with_arguments(load_benchmark(benchmark), given["arguments"])
    for name in ("space", "metric", "max_resource"):
        if given[name] is None:
            raise UsageError(f"a --script must have {_flag(name)}; got none")
    if given["scale_max_wallclock_time"]:
        raise UsageError("--scale-max-wallclock-time belongs to a --benchmark; got a --script")
    return own_problem(
        Script(
            path=script,
            config_as=given["config_as"] or "flags",
            prefix=tuple(shlex.split(given["launcher"] or "")),
            arguments=given["arguments"],
        ),
        space=given["space"],
        metric=given["metric"],
        mode=given["mode"] or "min",
        resource="epoch" if given["resource"] is None else given["resource"],
        max_resource=given["max_resource"],
    )


def check_real(given: Mapping[str, Any]) -> None:
    """Raise a UsageError if an option is one of simulations only."""
    for name, default in _SIMULATED.items():
        if given[name] != default:
            raise UsageError(
                f"{_flag(name)} belongs to a simulation, and this trains for real; "
                f"got {given[name]}"
            )


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the backend that the options ask for."""
    return {name: given[name] for name in _BACKEND_NAMES if given[name] is not None}


def _with_arguments(benchmark: Benchmark, arguments: tuple[str, ...]) -> Benchmark:
    """Return a benchmark whose script has further arguments."""
    if not arguments:
        return benchmark
    if not isinstance(benchmark.trainable, Script):
        raise UsageError(
            f"further arguments are for a script, which {benchmark.name} does not have; "
            f"got {' '.join(arguments)}"
        )
    given = (*benchmark.trainable.arguments, *arguments)
    return replace(benchmark, trainable=replace(benchmark.trainable, arguments=given))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
