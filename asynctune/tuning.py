"""Tune a script or a function of one's own: one experiment, from Python."""

import ast
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asynctune import reporting
from asynctune.exceptions import AsynctuneWarning, NoResultError, UsageError
from asynctune.experiment import JOURNAL, run_experiment
from asynctune.journal import decode_number, read_header, read_lines
from asynctune.methods import DEFAULT_METHOD
from asynctune.nested import run_anywhere
from asynctune.opening import open_experiment, own_problem
from asynctune.space import ConfigSpace
from asynctune.trainable import Function, Trainable
from asynctune.watch import live
from asynctune.wording import plural

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a tuning run has found.

    Attributes:
        config: The best config, constants included; None if there was no report.
        value: Its metric, the best that it reported.
        trial: Number of its trial.
        level: Resource level that it was reported at.
        checkpoint: Folder of its trial's checkpoint; None if it has none.
        last_level: Resource level that its trial reported last, which its checkpoint is of unless
            the script keeps another one.
        folder: The experiment's folder.
        metadata: What else is known, as in `metadata.json`.
    """

    config: Mapping[str, Any] | None
    value: float | None
    trial: int | None
    level: int | None
    checkpoint: Path | None
    last_level: int | None
    folder: Path
    metadata: Mapping[str, Any] = field(repr=False)

    def reports(self) -> "pl.DataFrame":
        """Return all reports of all trials, one a row."""
        from asynctune.results import load_experiment

        return load_experiment(self.folder).reports


class Ending(NamedTuple):
    """What a journal says of how an experiment ended.

    Attributes:
        config: The best trial's config, constants included; None if there is none.
        level: Resource level of its best value; None if there is none.
        last_level: Resource level of its last report; None if there is none.
        failure: The last failure for good: number of the trial, cause and message; None if there
            is none.
    """

    config: Mapping[str, Any] | None
    level: int | None
    last_level: int | None
    failure: tuple[int, str, str] | None


def tune(
    trainable: str | Path | Callable[..., Any] | Trainable,
    *,
    space: Mapping[str, Any] | str | Path,
    metric: str,
    max_resource: int,
    resource: str = "epoch",
    mode: Literal["min", "max"] = "min",
    method: str = DEFAULT_METHOD,
    n_workers: int | None = None,
    max_wallclock_time: float | None = None,
    max_trials: int | None = None,
    bounds: Mapping[str, Any] | None = None,
    method_options: Mapping[str, Any] | None = None,
    tag: str | None = None,
    results_dir: str | Path = "results",
    random_seed: int | None = None,
    progress: bool = True,
    **options: Any,  # noqa: ANN401 - the backend knows what they are
) -> Tuned:
    """Tune a training script or a function on this machine, and return what was found.

    Called again with the same arguments, it goes on where it was interrupted, and returns at
    once what it has found if it is complete; with larger bounds it goes on from there. It warns of
    trials that failed (`AsynctuneWarning`). In a notebook it can be called as it is.

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
        n_workers: Trials that run at once; None means one a GPU, or without any one a core, 4 at
            most.
        max_wallclock_time: Bound in seconds; None means an hour if there is no other bound.
        max_trials: Bound on trials started.
        bounds: Further bounds, as `StoppingCriterion` has them.
        method_options: Settings of the method.
        tag: Name of the study that the experiment belongs to; None means the trainable's.
        results_dir: Folder that holds one folder a study.
        random_seed: Seed of everything random; None means that of the experiment that goes on,
            or any.
        progress: Whether a terminal shows the state of things meanwhile, on standard error.
        **options: Settings of the local backend, such as ``gpus_per_trial=1`` or
            ``report_timeout=600``.

    Raises:
        UsageError: If an input is not valid, or the folder holds another experiment.
        NoResultError: If no trial has reported a finite value of the metric.
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
    trained = problem.trainable
    if isinstance(trained, Function) and trained.function.__module__ == "__main__":
        _check_guard()
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
        tag=tag,
        results_dir=Path(results_dir),
        random_seed=random_seed,
    )
    try:
        with live(opened.experiment) if progress else nullcontext() as observer:
            metadata = run_anywhere(
                lambda watch: run_experiment(opened.experiment, opened.folder, observer=watch),
                observer,
            )
    except KeyboardInterrupt:
        message = f"the same call goes on where this one ended; so far: {opened.folder}"
        raise KeyboardInterrupt(message) from None  # the loop's own tracebacks help nobody
    tuned = found(opened.folder, metadata)
    failures = failure_words(tuned)
    if tuned.config is None:
        words = failures or [f"no trial has reported a finite {metric}"]
        raise NoResultError("\n".join(words), tuned)
    if failures:
        warnings.warn("\n".join(failures), AsynctuneWarning, stacklevel=2)
    return tuned


def _check_guard() -> None:
    """Raise a UsageError if importing the program, as every trial does, calls `tune` again."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - inspect imports much more
    while frame is not None and (frame.f_code.co_name, frame.f_globals.get("__name__")) != (
        "<module>",
        "__main__",
    ):
        frame = frame.f_back
    if frame is None:
        return
    file, line = frame.f_code.co_filename, frame.f_lineno
    try:
        program = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # not a program in a file
    for statement in program.body:
        if statement.lineno <= line <= (statement.end_lineno or line) and not any(
            isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement)
        ):
            raise UsageError(
                "every trial imports the program of its function, so the call of tune must be "
                f'under `if __name__ == "__main__":`; got line {line} of {file}'
            )


def found(folder: Path, metadata: Mapping[str, Any]) -> Tuned:
    """Return what the complete experiment in `folder` has found."""
    checkpoint = metadata.get("best_checkpoint")
    best = ending(folder, metadata["best_trial"])
    return Tuned(
        config=best.config,
        value=metadata["best_metric"],
        trial=metadata["best_trial"],
        level=best.level,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        last_level=best.last_level,
        folder=folder,
        metadata=metadata,
    )


def failure_words(tuned: Tuned) -> list[str]:
    """Return lines on how many trials failed, why the last of them, and how to try again."""
    n, of = tuned.metadata["n_failed"], tuned.metadata["n_trials"]
    words = failures(tuned.folder, n)
    if words and not tuned.metadata["n_reports"]:
        words.append("when that is mended, the same again begins anew")
    elif words and (n == of or tuned.metadata["stopped_by"] == "max_failures"):
        words.append(f"when that is mended, remove {tuned.folder} or use another tag to begin anew")
    return words


def failures(folder: Path, n: int) -> list[str]:
    """Return lines on the `n` trials that failed in `folder`, and why the last of them."""
    failure = ending(folder, None).failure if n else None
    if failure is None:
        return []
    trial, cause, message = failure
    stream = " --stderr" if _complained(folder, trial) else ""
    return [
        f"{plural(n, 'trial')} failed; the last, trial {trial}: {cause}, {message}",
        f"all it wrote: asynctune logs {folder} {trial}{stream}",
    ]


def _complained(folder: Path, trial: int) -> bool:
    """Return whether a trial's last attempt wrote anything on its standard error."""
    from asynctune.backends.local.files import AttemptFiles, attempts_of, trial_folder

    attempts = attempts_of(trial_folder(folder, trial))
    stderr = AttemptFiles(folder, trial, attempts[-1]).stderr if attempts else None
    return stderr is not None and stderr.exists() and stderr.stat().st_size > 0


def ending(folder: Path, best: int | None) -> Ending:
    """Return what the journal in `folder` says of its best trial and its last failure."""
    header = read_header(folder / JOURNAL) or {}
    config, level, last_level, failure = None, None, None, None
    sign, least = 1.0 if header["mode"] == "min" else -1.0, inf
    for line in read_lines(folder / JOURNAL):
        match line["event"]:
            case "proposal_ready" if line["k"] == best:  # a trial has its proposal's number
                config = line["config"]
            case "report" if line["trial"] == best:
                last_level = line["resource"]
                value = sign * decode_number(line["metrics"][header["metric"]])
                if line["status"] == "running" and -inf < value < least:
                    least, level = value, last_level
            case "failed" if line["state"] == "failed":  # and is not tried again
                failure = line["trial"], line["cause"], line["message"]
    if config is not None:
        config = ConfigSpace.from_json(header["space"]).complete(config)
    return Ending(config, level, last_level, failure)
