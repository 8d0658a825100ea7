"""Options that several commands share, and how their values are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from asynctune.exceptions import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


class Integer(click.IntRange):
    """A whole number within bounds, called what it is and not a range."""

    name = "integer"


class Number(click.FloatRange):
    """A number within bounds, called what it is and not a range."""

    name = "number"


class IntList(click.ParamType[tuple[int, ...]]):
    """Whole numbers of at least 1 separated by commas."""

    name = "N,N,..."

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Return the numbers without repetition, in order."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(dict.fromkeys(int(part) for part in str(value).split(",")))
        except ValueError:
            self.fail(f"must be whole numbers separated by commas; got {value!r}", param, ctx)
        for number in numbers:
            if number < 1:
                self.fail(f"must be at least 1; got {number}", param, ctx)
        return numbers


class NameList(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "NAME,NAME,..."

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        """Return the names without repetition, in order."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        if "" in names:
            self.fail(f"must be names separated by commas; got {value!r}", param, ctx)
        return names


def read_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return NAME=VALUE pairs as a dict; a value that is JSON is read as such.

    Raises:
        UsageError: If a pair has no "=".
    """
    import json

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"a setting must have the form NAME=VALUE; got {pair!r}")
        try:
            found[name.strip().replace("-", "_")] = json.loads(text)
        except json.JSONDecodeError:
            found[name.strip().replace("-", "_")] = text
    return found


def results_dir(function: Function) -> Function:
    """Add --results-dir."""
    return click.option(
        "--results-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        help="Folder that holds one folder a study.",
    )(function)


def experiment_folder(experiment: Path, results_dir: Path) -> Path:
    """Return the folder of an experiment that is given as such, or as TAG/NAME.

    Raises:
        UsageError: If there is no such folder.
    """
    folder = experiment if experiment.exists() else results_dir / experiment
    if not folder.is_dir() and len(experiment.parts) > 1:
        tag, *rest = experiment.parts
        folder = results_dir.joinpath(known_tag(tag, results_dir), *rest)
    if not folder.is_dir():
        raise UsageError(
            f"an experiment must be a folder, or TAG/NAME below {results_dir}; got {experiment}"
        )
    return folder


def known_tag(name: str, results_dir: Path) -> str:
    """Return the tag of the study that is called `name`, which may be a script's name."""
    from asynctune.study import tag_of

    tag = tag_of(name)
    return tag if not (results_dir / name).is_dir() and (results_dir / tag).is_dir() else name


def problem(function: Function) -> Function:
    """Add the options that say what is tuned, where, and for how long."""
    for option in reversed((*_WHERE, *_HOW)):
        function = option(function)
    return function


def one_problem(function: Function) -> Function:
    """Add the same options where the problem may be a script instead of a benchmark."""
    for option in reversed((*_WHERE_OR_SCRIPT, *_HOW)):
        function = option(function)
    return function


_PROFILE = "Cluster profile of a simulation: delays, faults, prices."
_WHERE = (
    click.option("--benchmark", required=True, help="Name of the benchmark; see `asynctune list`."),
    click.option("--backend", default="simulated", help="Name of the backend."),
    click.option("--profile", default="sagemaker", help=_PROFILE),
)
_WHERE_OR_SCRIPT = (
    click.option("--benchmark", default=None, help="Name of the benchmark; see `asynctune list`."),
    click.option(
        "--backend",
        default=None,
        help="Name of the backend.  [default: simulated for a benchmark, local for a script]",
    ),
    click.option("--profile", default=None, help=f"{_PROFILE}  [default: sagemaker]"),
)
_HOW = (
    click.option(
        "--warm-pool",
        type=bool,
        default=False,
        help="Keep workers warm for 600 s after an attempt, so that the next one starts in "
        "seconds; at SageMaker this needs a quota.",
    ),
    click.option("--instance-type", default=None, help="Sets the price.  [default: benchmark's]"),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="Replace a number of the profile, such as startup_delay=60: seconds of startup_delay, "
        "warm_startup_delay, keep_alive, stop_delay or report_delay; times an hour of running of "
        "failure_rate or preemption_rate; straggler_probability and straggler_factor; capacity, "
        "the most attempts at once; and others, which a wrong name lists. Repeatable.",
    ),
    click.option(
        "--method-option",
        "method_settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of the method, such as type=stopping or continue_in_place=false. "
        "Repeatable.",
    ),
    click.option(
        "--random-seed",
        type=Integer(min=0),
        default=None,
        help="Master seed; all methods of one repetition share their seed.  "
        "[default: the study's, else drawn and printed]",
    ),
    click.option(
        "--max-wallclock-time",
        type=Number(min=0, min_open=True),
        default=None,
        help="Seconds of each experiment.  [default: benchmark's; of a script an hour, or any if "
        "there is another bound]",
    ),
    click.option(
        "--scale-max-wallclock-time",
        type=bool,
        default=False,
        help="With fewer workers than the benchmark's default, and no time given, run longer in "
        "proportion.",
    ),
    click.option("--max-trials", type=int, default=None, help="Bound on trials started."),
    click.option("--max-evaluations", type=int, default=None, help="Bound on reports."),
    click.option(
        "--max-resource-total", type=int, default=None, help="Bound on epochs over all trials."
    ),
    click.option("--max-cost", type=float, default=None, help="Bound on US dollars."),
    click.option(
        "--metric-value", type=float, default=None, help="End when a trial is as good as this."
    ),
    click.option(
        "--decision-cost",
        type=Number(min=0),
        default=0.0,
        help="Virtual seconds that a proposal takes in a simulation.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="text: one live line; json: one JSON object a line on standard output.",
    ),
)


def backend_options(
    settings: tuple[str, ...], *, warm_pool: bool, instance_type: str | None
) -> dict[str, Any]:
    """Return the backend's options that the flags ask for."""
    options = read_settings(settings)
    if warm_pool:
        options.setdefault("keep_alive", 600.0)
    if instance_type is not None:
        options.setdefault("instance_type", instance_type)
    return options


BOUNDS = ("max_trials", "max_evaluations", "max_resource_total", "max_cost", "metric_value")
"""The options that set bounds besides the wall clock, by their names in a stopping criterion."""
