"""``asynctune run``: run one experiment and watch it."""

import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from asynctune.cli import options
from asynctune.cli.display import make_reporter
from asynctune.cli.study import plan_settings
from asynctune.ledger import Ledger
from asynctune.study import StudyPlan, known_random_seed, open_study
from asynctune.tuner import Observer

if TYPE_CHECKING:
    from rich.table import Table

    from asynctune.benchmark import Benchmark
    from asynctune.experiment import Experiment

_SHOW_EVERY: Final = 0.1  # host seconds


@click.command()
@click.option("--experiment-tag", required=True, help="Name of the study that it belongs to.")
@click.option("--method", required=True, help="Name of the method.")
@options.problem
@click.option(
    "--n-workers",
    type=click.IntRange(min=1),
    default=None,
    help="Number of workers.  [default: benchmark's]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Number of the repetition.")
@options.results_dir
def run(
    *,
    experiment_tag: str,
    method: str,
    n_workers: int | None,
    seed: int,
    random_seed: int | None,
    results_dir: Path,
    log_format: str,
    **given: Any,  # noqa: ANN401 - the shared options, by name
) -> None:
    """Run one experiment, with a live display of its trials, best value and cost."""
    from asynctune.benchmark import load_benchmark
    from asynctune.experiment import run_experiment

    benchmark = load_benchmark(given["benchmark"])
    if random_seed is None:
        random_seed = known_random_seed(experiment_tag, results_dir)
    if random_seed is None:
        random_seed = secrets.randbelow(2**31 - 1)
    plan = StudyPlan(
        tag=experiment_tag,
        random_seed=random_seed,
        methods=(method,),
        n_workers=(n_workers or benchmark.n_workers,),
        start_seed=seed,
        **plan_settings(given),
    )
    todo = open_study(plan, results_dir)
    (experiment,) = plan.experiments()
    folder = results_dir / experiment_tag / experiment.name
    if log_format == "json":
        with make_reporter(log_format) as reporter:
            reporter.begin({e.name: e.stopping.max_wallclock_time for e in todo}, 1)
            metadata = run_experiment(experiment, folder)
            reporter.progress(experiment.name, metadata["experiment_seconds"], metadata)
        return
    if todo:
        _print_rungs(experiment, benchmark)
    with _live(experiment) as observer:
        metadata = run_experiment(experiment, folder, observer=observer)
    _print_end(metadata, folder)


def _print_rungs(experiment: "Experiment", benchmark: "Benchmark") -> None:
    """Print the rungs that trials will meet, if the method has any."""
    from asynctune.experiment import experiment_rungs
    from asynctune.rungtable import format_rung_table, rung_table

    levels = experiment_rungs(experiment)
    if levels is not None:
        rows = rung_table(
            levels,
            benchmark.max_resource,
            experiment.n_workers,
            experiment.stopping.max_wallclock_time,
            benchmark.seconds_per_level,
            mode=benchmark.mode,
        )
        click.echo(format_rung_table(rows, benchmark.resource))


@contextmanager
def _live(experiment: "Experiment") -> Iterator[Observer]:
    """Yield an observer that keeps a table of the experiment's state on standard error."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(file=sys.stderr), refresh_per_second=8, transient=True) as live:
        shown = 0.0

        def observe(ledger: Ledger, now: float) -> None:
            nonlocal shown
            if time.perf_counter() - shown > _SHOW_EVERY:
                shown = time.perf_counter()
                live.update(_table(experiment, ledger, now))

        yield observe


def _table(experiment: "Experiment", ledger: Ledger, now: float) -> "Table":
    from rich.table import Table

    table = Table(title=experiment.name, show_header=False)
    bound = experiment.stopping.max_wallclock_time
    best = "none yet"
    if ledger.best_metric is not None:
        best = f"{ledger.best_metric:.4g} (trial {ledger.best_trial})"
    states = Counter(str(ledger.trials[number].state) for number in ledger.busy)
    running = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    table.add_row("time", f"{now:,.0f} s of {bound:,.0f} s ({now / bound:.0%})")
    table.add_row("best " + ledger.metric, best)
    table.add_row("trials", f"{len(ledger.trials)} started, {ledger.failed} failed")
    table.add_row("workers", f"{len(ledger.busy)} of {ledger.n_workers} busy: {running or 'none'}")
    table.add_row("reports", f"{ledger.reports}")
    table.add_row("cost", f"$ {ledger.cost:.2f}")
    return table


def _print_end(metadata: dict[str, Any], folder: Path) -> None:
    best = metadata["best_metric"]
    click.echo(
        f"{metadata['method']} with {metadata['n_workers']} workers: "
        f"best {metadata['metric']} {'none' if best is None else format(best, '.4f')} "
        f"(trial {metadata['best_trial']}) of {metadata['n_trials']} trials, "
        f"{metadata['n_reports']} reports in {metadata['experiment_seconds']:,.0f} s, "
        f"workers {metadata['utilisation']:.1%} busy, $ {metadata['total_cost_usd']:.2f}; "
        f"ended by {metadata['stopped_by']}"
    )
    if metadata["provenance"]:
        click.echo(f"data: {metadata['provenance']}")
    click.echo(f"results: {folder}")
