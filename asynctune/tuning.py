"""Tune a script or a function of one's own: one experiment, from Python.

from asynctune import loguniform, tune, uniform

if __name__ == "__main__":
    best = tune(
        "train.py",
        space={"lr": loguniform(1e-6, 1), "dropout": uniform(0, 0.9)},
        metric="val_loss",
        max_resource=40,
        max_trials=50,
    )
    print(best.config, best.value, best.checkpoint)
"""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from asynctune import reporting
from asynctune.benchmark import Benchmark
from asynctune.cores import available_cores
from asynctune.exceptions import UsageError
from asynctune.experiment import JOURNAL, Experiment, check_folder, run_experiment
from asynctune.journal import read_header, read_lines
from asynctune.nested import run_anywhere
from asynctune.space import ConfigSpace
from asynctune.study import StudyPlan, known_random_seed, open_study
from asynctune.trainable import Function, Script, Trainable
from asynctune.tuner import Observer

if TYPE_CHECKING:
    import polars as pl

_SECONDS: Final = 3600.0
_WORKERS: Final = 4
# What the course of an experiment depends on; the other options may change when it goes on.
_DECISIVE: Final = ("report_timeout", "trial_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a tuning run has found.

    Attributes:
        config: The best config, constants included; None if there was no report.
        value: Its metric, the best that it reported.
        trial: Number of its trial.
        checkpoint: Folder of its trial's checkpoint; None if it has none.
        folder: The experiment's folder.
        metadata: What else is known, as in `metadata.json`.
    """

    config: Mapping[str, Any] | None
    value: float | None
    trial: int | None
    checkpoint: Path | None
    folder: Path
    metadata: Mapping[str, Any]

    def reports(self) -> "pl.DataFrame":
        """Return all reports of all trials, one a row."""
        from asynctune.results import load_experiment

        return load_experiment(self.folder).reports


class Opened(NamedTuple):
    """An experiment that can be run.

    Attributes:
        experiment: The experiment.
        folder: Its folder.
        complete: Whether it was run to its end before.
    """

    experiment: Experiment
    folder: Path
    complete: bool


class Ending(NamedTuple):
    """What a journal says of how an experiment ended.

    Attributes:
        config: The best trial's config, constants included; None if there is none.
        failure: The last failure: number of the trial, cause and message; None if there is none.
    """

    config: Mapping[str, Any] | None
    failure: tuple[int, str, str] | None


def tune(
    trainable: str | Path | Callable[..., Any] | Trainable,
    *,
    space: Mapping[str, Any] | str | Path,
    metric: str,
    max_resource: int,
    resource: str = "epoch",
    mode: Literal["min", "max"] = "min",
    method: str = "MOBSTER",
    n_workers: int | None = None,
    max_wallclock_time: float | None = None,
    max_trials: int | None = None,
    bounds: Mapping[str, Any] | None = None,
    method_options: Mapping[str, Any] | None = None,
    name: str | None = None,
    results_dir: str | Path = "results",
    random_seed: int | None = None,
    observer: Observer | None = None,
    **options: Any,  # noqa: ANN401 - the backend knows what they are
) -> Tuned:
    """Tune a training script or a function on this machine, and return what was found.

    Called again with the same arguments, it goes on where it was interrupted, and returns at
    once what it has found if it is complete. In a notebook it can be called as it is.

    Args:
        trainable: A training script that reports with `asynctune.report`; or a function, for
            which see `Function`. The program that calls `tune` with a function of its own is
            imported for every trial, so the call belongs under ``if __name__ == "__main__":``.
        space: The config space, a dict of domains and constants, or a file that holds one.
        metric: Name of the reported metric that is optimised.
        max_resource: Levels of the resource that a full training has.
        resource: Name of the reported resource.
        mode: Whether the metric is minimised or maximised.
        method: Name of the method.
        n_workers: Trials that run at once; None means one a core, 4 at most.
        max_wallclock_time: Bound in seconds; None means an hour if there is no other bound.
        max_trials: Bound on trials started.
        bounds: Further bounds, as `StoppingCriterion` has them.
        method_options: Settings of the method.
        name: Name of the study that the experiment belongs to; None means the trainable's.
        results_dir: Folder that holds one folder a study.
        random_seed: Seed of everything random; None means that of the experiment that goes on,
            or any.
        observer: Called with (ledger, seconds) after every instant; must change nothing.
        **options: Settings of the local backend, such as ``gpus_per_trial=1`` or
            ``report_timeout=600``.

    Raises:
        UsageError: If an input is not valid, or the folder holds another experiment.
    """
    if reporting.CHANNEL in os.environ:
        raise UsageError(
            "tune must not be called by what it trains; "
            'put the call under `if __name__ == "__main__":`'
        )
    problem = own_problem(
        trainable,
        space=space,
        metric=metric,
        mode=mode,
        resource=resource,
        max_resource=max_resource,
    )
    limits = {"max_trials": max_trials, **(bounds or {})}
    opened = open_experiment(
        problem,
        method=method,
        n_workers=n_workers,
        max_wallclock_time=max_wallclock_time,
        bounds={bound: value for bound, value in limits.items() if value is not None},
        method_options=method_options or {},
        backend="local",
        backend_options=options,
        tag=name,
        results_dir=Path(results_dir),
        random_seed=random_seed,
    )
    metadata = run_anywhere(
        lambda watch: run_experiment(opened.experiment, opened.folder, observer=watch), observer
    )
    return found(opened.folder, metadata)


def own_problem(
    trainable: str | Path | Callable[..., Any] | Trainable,
    *,
    space: Mapping[str, Any] | str | Path,
    metric: str,
    mode: Literal["min", "max"],
    resource: str,
    max_resource: int,
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
        n_workers: Number of workers; None means the problem's default.
        max_wallclock_time: Bound in seconds; None means the problem's default, and no bound if
            the problem is one's own and there is another.
        bounds: Further bounds.
        backend_options: Settings of the backend.
        tag: The study; None means one with the problem's name.
        random_seed: Master seed; None means the study's, or any.
        **settings: Further settings, as `StudyPlan` has them.

    Raises:
        UsageError: If an input is not valid, or the folder holds another study or experiment.
    """
    tag = tag or re.sub(r"[^a-zA-Z0-9]+", "-", problem.name).strip("-")[:63]
    if random_seed is None:
        random_seed = known_random_seed(tag, results_dir)
    if random_seed is None:
        random_seed = secrets.randbelow(2**31 - 1)
    if max_wallclock_time is None and bounds and problem.blackbox is None:
        max_wallclock_time = inf
    options = dict(backend_options or {})
    decisive = options
    if settings.get("backend") == "local":
        settings.setdefault("profile", "local")
        problem = replace(problem, provenance="")  # it tells of what simulations replay
        decisive = {name: value for name, value in options.items() if name in _DECISIVE}
    plan = StudyPlan(
        tag=tag,
        benchmark=problem,
        random_seed=random_seed,
        methods=(method,),
        n_workers=(problem.n_workers if n_workers is None else n_workers,),
        max_wallclock_time=max_wallclock_time,
        bounds=bounds or {},
        backend_options=decisive,
        **settings,
    )
    (experiment,) = plan.experiments()
    experiment = replace(experiment, backend_options=options)
    folder = results_dir / tag / experiment.name
    check_folder(experiment, folder)  # before anything is written
    return Opened(experiment, folder, complete=not open_study(plan, results_dir))


def found(folder: Path, metadata: Mapping[str, Any]) -> Tuned:
    """Return what the complete experiment in `folder` has found."""
    checkpoint = metadata.get("best_checkpoint")
    return Tuned(
        config=ending(folder, metadata["best_trial"]).config,
        value=metadata["best_metric"],
        trial=metadata["best_trial"],
        checkpoint=None if checkpoint is None else Path(checkpoint),
        folder=folder,
        metadata=metadata,
    )


def ending(folder: Path, best: int | None) -> Ending:
    """Return what the journal in `folder` says of its best trial and its last failure."""
    config, failure = None, None
    for line in read_lines(folder / JOURNAL):
        match line["event"]:
            case "proposal_ready" if line["k"] == best:  # a trial has its proposal's number
                config = line["config"]
            case "failed":
                failure = line["trial"], line["cause"], line["message"]
    if config is not None:
        header = read_header(folder / JOURNAL) or {}
        config = ConfigSpace.from_json(header["space"]).complete(config)
    return Ending(config, failure)


def _name_of(trainable: Trainable) -> str:
    if isinstance(trainable, Script):
        return trainable.path.stem
    return trainable.function.__name__
