"""``asynctune study``: run all experiments of a study."""

import secrets
import time
from pathlib import Path
from typing import Any

import click

from asynctune.cli import options
from asynctune.cli.display import Reporter, make_reporter
from asynctune.cores import available_cores
from asynctune.methods import METHODS, REFERENCE_METHODS
from asynctune.study import StudyPlan, known_random_seed, open_study, run_experiments
from asynctune.wording import plural


@click.command()
@click.option(
    "--experiment-tag",
    required=True,
    help="Name of the study; what is complete under it is not run again.",
)
@options.problem
@click.option(
    "--n-workers",
    type=options.IntList(),
    default=None,
    help="Numbers of workers to compare, such as 2,4,8.  [default: benchmark's]",
)
@click.option(
    "--method",
    "methods",
    type=options.NameList(),
    default=",".join(REFERENCE_METHODS),
    help=f"Methods to compare, of {', '.join(METHODS)}.",
)
@click.option("--num-seeds", type=options.Integer(min=1), default=1, help="Number of repetitions.")
@click.option(
    "--start-seed", type=options.Integer(min=0), default=0, help="Number of the first repetition."
)
@click.option(
    "--jobs",
    type=options.Integer(min=1),
    default=None,
    help="Experiments that run at once.  [default: number of cores]",
)
@options.results_dir
def study(
    *,
    experiment_tag: str,
    random_seed: int | None,
    n_workers: tuple[int, ...] | None,
    methods: tuple[str, ...],
    jobs: int | None,
    results_dir: Path,
    log_format: str,
    **given: Any,  # noqa: ANN401 - the shared options, by name
) -> None:
    """Run the experiments of a study: methods x numbers of workers x seeds.

    What is complete is not run again; what was interrupted goes on where it ended.
    """
    from asynctune.benchmark import load_benchmark

    if random_seed is None:
        random_seed = known_random_seed(experiment_tag, results_dir)
    drawn = random_seed is None
    if random_seed is None:
        random_seed = secrets.randbelow(2**31 - 1)
    plan = StudyPlan(
        tag=experiment_tag,
        random_seed=random_seed,
        methods=methods,
        n_workers=n_workers or (load_benchmark(given["benchmark"]).n_workers,),
        num_seeds=given["num_seeds"],
        start_seed=given["start_seed"],
        **plan_settings(given),
    )
    todo = open_study(plan, results_dir)
    total = len(plan.experiments())
    with make_reporter(log_format) as reporter:
        if drawn:
            reporter.say("random_seed", f"random seed {random_seed}", random_seed=random_seed)
        _run(todo, total, results_dir / experiment_tag, jobs or available_cores(), reporter)


def plan_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a plan that the shared options ask for."""
    return {
        "benchmark": given["benchmark"],
        "backend": given["backend"],
        "profile": given["profile"],
        "backend_options": options.backend_options(
            given["settings"], warm_pool=given["warm_pool"], instance_type=given["instance_type"]
        ),
        "method_options": options.read_settings(given["method_settings"]),
        "max_wallclock_time": given["max_wallclock_time"],
        "scale_max_wallclock_time": given["scale_max_wallclock_time"],
        "bounds": {b: given[b] for b in options.BOUNDS if given[b] is not None},
        "decision_cost": given["decision_cost"],
    }


def _run(todo: list[Any], total: int, folder: Path, jobs: int, reporter: Reporter) -> None:
    begin = time.perf_counter()
    goals = {e.name: e.stopping.max_wallclock_time for e in todo}
    reporter.begin(goals, total)
    run_experiments(todo, folder, jobs=jobs, progress=reporter.progress)
    seconds = time.perf_counter() - begin
    reporter.say(
        "study_complete",
        f"{plural(total, 'experiment')} in {folder}, {len(todo)} of them run now, "
        f"in {seconds:.0f} s",
        experiments=total,
        run_now=len(todo),
        host_seconds=seconds,
        folder=str(folder),
    )
