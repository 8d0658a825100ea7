"""``asynctune curves``: draw the learning curves of an experiment."""

from pathlib import Path
from typing import Literal

import click

from asynctune.cli import options


@click.command()
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--x",
    type=click.Choice(["resource", "time"]),
    default="resource",
    help="What the horizontal axis shows.",
)
@click.option(
    "--trials",
    type=options.Integer(min=1),
    default=300,
    help="Draw at most so many: those that got furthest, and a sample.",
)
@options.results_dir
def curves(
    experiment: Path, x: Literal["resource", "time"], trials: int, results_dir: Path
) -> None:
    """Draw the learning curves of the trials of an EXPERIMENT: HTML, PNG and SVG.

    EXPERIMENT is a folder, or TAG/NAME below the results folder; it may still be running.
    """
    from asynctune.curves import load_so_far, write_curves

    folder = options.experiment_folder(experiment, results_dir)
    for path in write_curves(load_so_far(folder), folder, x=x, trials=trials):
        click.echo(f"wrote {path}")
