"""``asynctune run``: run one experiment and watch it."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from asynctune.cli import local, options
from asynctune.cli.display import Reporter, make_reporter
from asynctune.cli.study import plan_settings
from asynctune.experiment import JOURNAL, LOCAL, replay_experiment, run_experiment
from asynctune.ledger import Ledger
from asynctune.methods import DEFAULT_METHOD, METHODS
from asynctune.opening import Opened, open_experiment
from asynctune.space import ConfigSpace
from asynctune.tuner import Observer
from asynctune.tuning import Tuned, failure_words, found
from asynctune.watch import live
from asynctune.wording import plural, readable_time

if TYPE_CHECKING:
    from asynctune.benchmark import Benchmark

_TELL_EVERY: Final = 10.0  # host seconds
_ENDS: Final = {"exhausted": "ended as no other config was left to try"}


@click.command(epilog="Further arguments after `--` are passed on to the training script.")
@click.option(
    "--experiment-tag",
    default=None,
    help="Name of the study that it belongs to.  [default: the benchmark's or script's name]",
)
@click.option("--method", default=DEFAULT_METHOD, help=f"Name of the method: {', '.join(METHODS)}.")
@options.one_problem
@click.option(
    "--n-workers",
    type=options.Integer(min=1),
    default=None,
    help="Number of workers.  [default: benchmark's; on this machine one a GPU, or without any "
    "one a core, 4 at most]",
)
@click.option("--seed", type=options.Integer(min=0), default=0, help="Number of the repetition.")
@options.results_dir
@local.own_script
def run(
    *,
    experiment_tag: str | None,
    method: str,
    n_workers: int | None,
    seed: int,
    random_seed: int | None,
    results_dir: Path,
    log_format: str,
    **given: Any,  # noqa: ANN401 - the shared options, by name
) -> None:
    """Run one experiment, with a live display of its trials, best value and budget.

    What is tuned is a benchmark, simulated unless --backend says otherwise, or with --script a
    training script of your own, on this machine. Started again with the same command, it goes
    on where it was.
    """
    problem = local.problem_of(given)
    opened = open_experiment(
        problem,
        method=method,
        n_workers=n_workers,
        tag=experiment_tag,
        results_dir=results_dir,
        random_seed=random_seed,
        start_seed=seed,
        **_settings(given),
    )
    experiment, folder = opened.experiment, opened.folder
    if log_format == "json":
        with make_reporter(log_format) as reporter:
            if opened.drawn:
                reporter.say("random_seed", "", random_seed=experiment.random_seed)
            goal = {experiment.name: experiment.stopping.max_wallclock_time}
            reporter.begin({} if opened.complete else goal, 1)
            metadata = run_experiment(experiment, folder, observer=_telling(reporter))
            reporter.progress(experiment.name, metadata["experiment_seconds"], metadata)
            _tell_best(reporter, found(folder, metadata))
        if experiment.backend == LOCAL and metadata["best_trial"] is None:
            sys.exit(1)
        return
    if opened.drawn:
        click.echo(f"random seed {experiment.random_seed}")
    if not opened.complete:
        _print_rungs(opened, problem)
    else:
        click.echo("complete before; nothing is left to run")
    try:
        with live(experiment) as observer:
            metadata = run_experiment(experiment, folder, observer=observer)
    except KeyboardInterrupt:
        _print_so_far(opened, problem)
        raise
    tuned = found(folder, metadata)
    _print_end(tuned, problem)
    if experiment.backend == LOCAL:
        _print_what_is_left(tuned, problem)
        _print_remarks(opened)
        if tuned.trial is None:
            sys.exit(1)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the experiment that the options ask for."""
    settings = plan_settings(given)
    del settings["benchmark"]
    backend = settings["backend"] or ("simulated" if given["script"] is None else LOCAL)
    settings["backend"] = backend
    settings["backend_options"] |= local.settings_of(given)
    if backend == LOCAL:
        local.check_real(given)
    if settings["profile"] is None:
        settings["profile"] = LOCAL if backend == LOCAL else "sagemaker"
    return settings


def _telling(reporter: Reporter) -> Observer:
    """Return an observer that tells every few seconds how far the experiment is."""
    told = time.perf_counter()

    def observe(ledger: Ledger, now: float) -> None:
        nonlocal told
        if time.perf_counter() - told < _TELL_EVERY:
            return
        told = time.perf_counter()
        reporter.say(
            "progress",
            "",
            seconds=now,
            trials=len(ledger.trials),
            reports=ledger.reports,
            busy=len(ledger.busy),
            failed=ledger.failed,
            best=ledger.best_metric,
            best_trial=ledger.best_trial,
        )

    return observe


def _tell_best(reporter: Reporter, tuned: Tuned) -> None:
    reporter.say(
        "best",
        "",
        trial=tuned.trial,
        value=tuned.value,
        level=tuned.level,
        config=tuned.config,
        checkpoint=None if tuned.checkpoint is None else str(tuned.checkpoint),
        last_level=tuned.last_level,
        folder=str(tuned.folder),
    )


def _print_rungs(opened: Opened, problem: "Benchmark") -> None:
    """Print the rungs that trials will meet, if the method has any."""
    from asynctune.experiment import experiment_rungs
    from asynctune.rungtable import format_rung_table, rung_table

    rungs = experiment_rungs(opened.experiment)
    if rungs is not None:
        # How fast this machine trains is not known.
        real = opened.experiment.backend == LOCAL
        rows = rung_table(
            rungs.levels,
            problem.max_resource,
            opened.experiment.n_workers,
            opened.experiment.stopping.max_wallclock_time,
            None if real else problem.seconds_per_level,
            rungs.seconds_per_attempt,
            mode=problem.mode,
        )
        click.echo(format_rung_table(rows, problem.resource))


def _print_end(tuned: Tuned, problem: "Benchmark") -> None:
    metadata = tuned.metadata
    best = "none"
    if tuned.value is not None:
        at = f"{metadata['resource']} {tuned.level}"
        best = f"{tuned.value:.4f} (trial {tuned.trial}, {at})"
    cost = metadata["total_cost_usd"]
    click.echo(
        f"{metadata['method']} with {plural(metadata['n_workers'], 'worker')}: "
        f"best {metadata['metric']} {best} of {plural(metadata['n_trials'], 'trial')}, "
        f"{plural(metadata['n_reports'], 'report')} in "
        f"{readable_time(metadata['experiment_seconds'])}, "
        f"workers {metadata['utilisation']:.1%} busy"
        f"{f', $ {cost:.2f}' if cost else ''}; "
        f"{_ENDS.get(metadata['stopped_by'], 'ended by ' + metadata['stopped_by'])}"
    )
    if metadata["provenance"] and metadata["backend"] != LOCAL:
        click.echo(f"data: {metadata['provenance']}")
    click.echo(f"results: {tuned.folder}")
    if tuned.config is not None:
        click.echo(f"best config: {_settings_of(tuned.config, problem)}")


def _print_what_is_left(tuned: Tuned, problem: "Benchmark") -> None:
    """Print where the best config's checkpoint is, and how to see logs and curves."""
    folder = tuned.folder
    if tuned.config is not None:
        of = ""
        if tuned.checkpoint and tuned.level != tuned.last_level:  # the best value lies behind it
            of = f", of {problem.resource} {tuned.last_level}"
        where = tuned.checkpoint or "none, as the script has written none"
        click.echo(f"its checkpoint{of}: {where}")
        click.echo(f"its logs: asynctune logs {folder} {tuned.trial}")
        click.echo(f"learning curves: asynctune curves {folder}")
    for line in failure_words(tuned):
        click.echo(line, err=True)


def _print_so_far(opened: Opened, problem: "Benchmark") -> None:
    """Print what an experiment has found that was interrupted, and what runs on."""
    experiment, folder = opened.experiment, opened.folder
    if not (folder / JOURNAL).exists():
        return
    ledger = replay_experiment(experiment, folder)
    if ledger.best_trial is not None:
        config = _settings_of(ledger.scheduler.config(ledger.best_trial), problem)
        best = f"{ledger.best_metric:.4f} (trial {ledger.best_trial})"
        click.echo(f"best {ledger.metric} so far {best}: {config}")
    if ledger.busy and experiment.backend_options.get("on_interrupt") == "detach":
        trials = "1 trial runs" if len(ledger.busy) == 1 else f"{len(ledger.busy)} trials run"
        click.echo(f"{trials} on")
    click.echo(f"results so far: {folder}; `asynctune curves` and `explain` show them")


def _print_remarks(opened: Opened) -> None:
    """Print what the scripts did wrong."""
    from asynctune.backends.local.settings import split_options
    from asynctune.journal import read_header, read_lines
    from asynctune.remarks import remarks

    journal = opened.folder / JOURNAL
    settings, _ = split_options(opened.experiment.backend_options)
    for line in remarks(read_header(journal) or {}, read_lines(journal), settings.grace_period):
        click.echo(line, err=True)


def _settings_of(config: Mapping[str, Any], problem: "Benchmark") -> str:
    """Return a config in a line; what is constant is known, and left out if anything is tuned."""
    chosen = ConfigSpace(problem.space).domains or config
    return ", ".join(f"{name}={_short(config[name])}" for name in chosen)


def _short(value: Any) -> str:  # noqa: ANN401 - whatever a config may have
    return f"{value:.6g}" if isinstance(value, float) else str(value)
