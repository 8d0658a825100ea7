"""Commands that show what a study has found."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynctune.cli import options
from asynctune.exceptions import UsageError

if TYPE_CHECKING:
    import polars as pl

    from asynctune.results import Study


@click.command()
@click.argument("tag")
@click.option(
    "--reference/--no-reference",
    default=False,
    help="Draw published results of the benchmark as thin dotted lines.",
)
@options.results_dir
def plot(tag: str, results_dir: Path, *, reference: bool) -> None:
    """Draw the comparison figure of the study TAG: HTML, PNG and SVG."""
    from asynctune.plots import write_comparison
    from asynctune.results import load_study

    tag = options.known_tag(tag, results_dir)
    study = load_study(tag, results_dir)
    others = _reference_rows(study) if reference else None
    for path in write_comparison(study, results_dir / tag, reference=others):
        click.echo(f"wrote {path}")


@click.command()
@click.argument("tag")
@click.option("--losses", default=None, help="Values to reach, separated by commas.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@options.results_dir
def table(tag: str, losses: str | None, results_dir: Path, *, as_json: bool, as_csv: bool) -> None:
    """Print final values, times to reach given ones, trials, utilisation and dollars."""
    from asynctune import table as tables
    from asynctune.results import load_study

    wanted = None if losses is None else _numbers(losses)
    study = load_study(options.known_tag(tag, results_dir), results_dir)
    frame = tables.summary_table(study, losses=wanted)
    if as_json:
        click.echo(tables.to_json(frame))
    elif as_csv:
        click.echo(tables.to_csv(frame), nl=False)
    else:
        tables.print_table(frame, study)


@click.command()
@click.argument("tag")
@options.results_dir
def findings(tag: str, results_dir: Path) -> None:
    """Say in plain words what the study TAG has found, and where its figure lies."""
    from asynctune.findings import findings as find
    from asynctune.results import load_study

    tag = options.known_tag(tag, results_dir)
    for sentence in find(load_study(tag, results_dir)):
        click.echo(f"- {sentence}")
    figures = [results_dir / tag / f"comparison.{ending}" for ending in ("html", "png", "svg")]
    drawn = [str(path) for path in figures if path.exists()]
    if drawn:
        click.echo(f"figure: {', '.join(drawn)}")


@click.command()
@click.argument("experiment", type=click.Path(path_type=Path))
@click.argument("trial", type=int, required=False)
@options.results_dir
def explain(experiment: Path, trial: int | None, results_dir: Path) -> None:
    """Tell the story of a TRIAL of an EXPERIMENT, from its journal.

    EXPERIMENT is a folder, or TAG/NAME below the results folder. Without TRIAL, tell how long
    workers were idle, and why.
    """
    from asynctune.explain import explain as tell
    from asynctune.explain import explain_idle

    folder = options.experiment_folder(experiment, results_dir)
    for line in explain_idle(folder) if trial is None else tell(folder, trial):
        click.echo(line)


@click.command("list")
def list_plugins() -> None:
    """List the methods, the benchmarks, your own included, the backends and cluster profiles."""
    from asynctune.benchmark import benchmark_names
    from asynctune.methods import METHODS
    from asynctune.plugins import plugin_names

    click.echo(f"methods: {', '.join(METHODS)}")
    click.echo(f"benchmarks: {', '.join(benchmark_names())}")
    for name in ("backends", "profiles"):
        click.echo(f"{name}: {', '.join(plugin_names(f'asynctune.{name}'))}")


def _reference_rows(study: "Study") -> "pl.DataFrame":
    """Return the published results for the numbers of workers that the study has."""
    import polars as pl

    from asynctune.benchmark import load_benchmark

    first = study.metadata.row(0, named=True)
    name, profile = first["benchmark"], first["profile"]
    offer = load_benchmark(name).reference if name else None
    rows: pl.DataFrame | None = offer(profile) if offer and profile else None
    if rows is None:
        raise UsageError(
            f"reference lines need published results; benchmark {name!r} has none for the "
            f"profile {profile!r}"
        )
    return rows.filter(pl.col("n_workers").is_in(study.worker_counts))


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"must be numbers separated by commas; got {text!r}") from None
