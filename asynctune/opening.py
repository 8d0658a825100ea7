"""Begin an experiment of its own: on a benchmark, or on a script or function of one's own."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from asynctune.benchmark import Benchmark
from asynctune.cores import available_cores
from asynctune.exceptions import UsageError
from asynctune.experiment import LOCAL, Experiment
from asynctune.study import StudyPlan, known_random_seed, open_study, tag_of
from asynctune.trainable import Function, Script, Trainable

_SECONDS: Final = 3600.0
_WORKERS: Final = 4


class Opened(NamedTuple):
    """An experiment that can be run.

    Attributes:
        experiment: The experiment.
        folder: Its folder.
        complete: Whether it was run to its end before.
        drawn: Whether its master seed was drawn just now.
    """

    experiment: Experiment
    folder: Path
    complete: bool
    drawn: bool


def own_problem(
    trainable: str | Path | Callable[..., Any] | Trainable,
    *,
    space: Mapping[str, Any] | str | Path,
    metric: str,
    max_resource: int,
    mode: Literal["min", "max"] = "min",
    resource: str = "epoch",
) -> Benchmark:
    """Return a tuning problem of one's own; the arguments are those of `tune`.

    Raises:
        UsageError: If there is no such space file, or the trainable is none.
    """
    if isinstance(space, str | Path):
        from asynctune.spacefile import read_space

        space = read_space(space)
    if isinstance(trainable, str | Path):
        trainable = Script(path=Path(trainable))
    elif not isinstance(trainable, Script | Function):
        trainable = Function(function=trainable)
    if mode not in ("min", "max"):
        raise UsageError(f"mode must be min or max; got {mode!r}")
    return Benchmark(
        name=_name_of(trainable),
        space=space,
        metric=metric,
        mode=mode,
        resource=resource,
        max_resource=max_resource,
        max_wallclock_time=_SECONDS,
        n_workers=min(available_cores(), _WORKERS),
        trainable=trainable,
    )


def open_experiment(
    problem: Benchmark,
    *,
    method: str,
    results_dir: Path,
    n_workers: int | None = None,
    max_wallclock_time: float | None = None,
    bounds: Mapping[str, Any] | None = None,
    backend_options: Mapping[str, Any] | None = None,
    tag: str | None = None,
    random_seed: int | None = None,
    **settings: Any,  # noqa: ANN401 - those of a study's plan
) -> Opened:
    """Return an experiment of its own, with its study's folder begun.

    Args:
        problem: What is tuned.
        method: Name of the method.
        results_dir: Folder that holds one folder a study.
        n_workers: Number of workers; None means what suits this machine if it is to be trained
            here, and else the problem's default.
        max_wallclock_time: Bound in seconds; None means the problem's default, and no bound if
            the problem is one's own and there is another.
        bounds: Further bounds.
        backend_options: Settings of the backend.
        tag: The study; None means one with the problem's name.
        random_seed: Master seed; None means the study's, or any.
        **settings: Further settings, as `StudyPlan` has them.

    Raises:
        UsageError: If an input is not valid, the folder holds another study or experiment, or
            another tuner is at work in it.
    """
    tag = tag or tag_of(problem.name)
    if random_seed is None:
        random_seed = known_random_seed(tag, results_dir)
    drawn = random_seed is None
    if random_seed is None:
        random_seed = secrets.randbelow(2**31 - 1)
    if max_wallclock_time is None and bounds and problem.blackbox is None:
        max_wallclock_time = inf
    options = dict(backend_options or {})
    if settings.get("backend") == LOCAL:
        n_workers = default_workers(options) if n_workers is None else n_workers
        settings.setdefault("profile", LOCAL)
        problem = replace(problem, provenance="")  # it tells of what simulations replay
    plan = StudyPlan(
        tag=tag,
        benchmark=problem,
        random_seed=random_seed,
        methods=(method,),
        n_workers=(problem.n_workers if n_workers is None else n_workers,),
        max_wallclock_time=max_wallclock_time,
        bounds=bounds or {},
        backend_options=options,
        **settings,
    )
    (experiment,) = plan.experiments()
    folder = results_dir / tag / experiment.name
    complete = not open_study(plan, results_dir)
    if plan.backend == LOCAL and not complete:
        from asynctune.backends.local.channel import check_free
        from asynctune.backends.local.files import TRIALS

        check_free(folder / TRIALS)  # before anything is told of it
    return Opened(experiment, folder, complete, drawn)


def default_workers(options: Mapping[str, Any]) -> int:
    """Return how many workers suit this machine: one a GPU, or without any one a core, 4 at most.

    Args:
        options: Those of the local backend, which may say otherwise of GPUs.

    Raises:
        UsageError: If they name GPUs that are not there.
    """
    from asynctune.backends.local.gpus import VISIBLE, allowed, chosen, read_gpus

    gpus = read_gpus()
    usable = chosen(allowed(gpus, os.environ.get(VISIBLE)), gpus, options.get("gpus"))
    if not usable:
        return min(available_cores(), _WORKERS)
    share, several = (_at_least_1(options.get(n)) for n in ("trials_per_gpu", "gpus_per_trial"))
    return max(len(usable) * share // several, 1)


def _at_least_1(value: object) -> int:
    """Return the number of an option, 1 if it has none; one that is no number is refused later."""
    return value if isinstance(value, int) and value > 1 else 1


def _name_of(trainable: Trainable) -> str:
    if isinstance(trainable, Script):
        return trainable.path.stem
    return trainable.function.__name__
