"""``asynctune record``: make a table of recorded curves."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asynctune.cli.options import Integer
from asynctune.exceptions import UsageError

if TYPE_CHECKING:
    import polars as pl

    from asynctune.benchmark import Benchmark
    from asynctune.space import ConfigSpace
    from asynctune.trainable import Function, Script
    from sims.curvetable import CurveTable


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of an experiment or a study whose curves to take. Repeatable.",
)
@click.option("--script", type=click.Path(path_type=Path), help="Training script to run.")
@click.option("--function", metavar="MODULE:NAME", help="Python function to run instead.")
@click.option("--space", "space_file", type=click.Path(path_type=Path), help="Its config space.")
@click.option("--metric", help="Name of the metric that it reports.")
@click.option("--mode", type=click.Choice(["min", "max"]), default="min", help="What is good.")
@click.option("--resource", default="epoch", help="Name of the resource that it reports.")
@click.option("--max-resource", type=Integer(min=1), help="Levels of a full training.")
@click.option("--configs", type=Integer(min=1), default=64, help="Of a Sobol design.")
@click.option("--design-seed", type=Integer(min=0), default=0, help="Scrambles the design.")
@click.option("--n-workers", type=Integer(min=1), default=1, help="Trainings at once.")
@click.option(
    "--config-as",
    type=click.Choice(["flags", "json"]),
    default="flags",
    help="How the script is given a config: --name value each, or --config FILE.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the local backend, such as trial_timeout=3600. Repeatable.",
)
@click.option("--tag", default=None, help="Name of the recording.  [default: record-TABLE]")
@click.option(
    "--results-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="Folder for the recording's files.",
)
def record(*, table: Path, folders: tuple[Path, ...], **given: Any) -> None:  # noqa: ANN401
    """Write learning curves to TABLE, a parquet file, and the config space beside it.

    With --from, those that experiments have seen. Otherwise a script or function is run to the
    end over a Sobol design of its space, on this machine; started again, the same command goes on
    where it was, tries again what failed, and with more --configs trains the further ones. Curves
    that TABLE has already are replaced, others are kept.
    """
    from asynctune.spacefile import format_space
    from sims.curvejournals import table_of

    if bool(folders) + (given["script"] is not None) + (given["function"] is not None) != 1:
        raise UsageError("curves must come from one of --from, --script and --function")
    if not folders:
        folders = _run(table, given)
    found, _ = table_of(folders)
    n_curves = len(found.curves().ids)
    merged = _merged(table, found)
    merged.write(table)
    space_file = space_beside(table)
    space_file.write_text(format_space(found.format.space))
    n = len(merged.curves().ids)
    click.echo(f"{n_curves} curves recorded; {table} has {n} now, {space_file} the space")


def space_beside(table: Path) -> Path:
    """Return where the space of a table lies."""
    return table.with_suffix(".space.yaml")


def sobol_configs(space: "ConfigSpace", n: int, seed: int) -> list[dict[str, Any]]:
    """Return up to `n` different configs of a scrambled Sobol design, without constants.

    A finite space may have fewer.
    """
    from scipy.stats import qmc

    exponent = max(n - 1, 1).bit_length()
    # Balanced only in powers of two; a longer design begins with the shorter one.
    draws = qmc.Sobol(len(space.names), seed=seed).random_base2(exponent)
    different: dict[Any, dict[str, Any]] = {}
    for config in space.from_unit(draws):
        tuned = {name: config[name] for name in space.names}
        different.setdefault(space.key(config), tuned)
    return list(different.values())[:n]


def _merged(path: Path, found: "CurveTable") -> "CurveTable":
    """Return the curves of the file, if there is one, with those found."""
    from sims.curvechecks import CURVE
    from sims.curvetable import check, read

    if not path.exists():
        return found
    others = dict.fromkeys((*found.format.others, "train_loss"))
    others.pop(found.format.metric, None)
    form = found.format._replace(others=tuple(others))
    there = read(path, form, allow_gaps=True)
    kept: pl.DataFrame = there.frame.join(found.frame, on=CURVE, how="anti")
    if kept.is_empty():
        return found
    return check(kept, form, allow_gaps=True).appended(found.frame, allow_gaps=True)


def _run(table: Path, given: dict[str, Any]) -> tuple[Path, ...]:
    """Run the design on this machine; return the experiments' folders."""
    from asynctune.cli.options import read_settings
    from asynctune.space import ConfigSpace
    from asynctune.tuning import failures
    from sims.recording import HopelessError, train_design

    benchmark = _benchmark(given)
    space = ConfigSpace(benchmark.space)
    try:
        found = train_design(
            benchmark,
            sobol_configs(space, given["configs"], given["design_seed"]),
            given["results_dir"] / (given["tag"] or f"record-{table.stem}"),
            n_workers=given["n_workers"],
            seed=given["design_seed"],
            backend_options=read_settings(given["settings"]),
            say=click.echo,
        )
    except HopelessError as error:
        for line in failures(error.folder, error.failed):
            click.echo(line, err=True)
        click.echo("when that is mended, the same command tries them again", err=True)
        sys.exit(1)
    return tuple(found)


def _benchmark(given: dict[str, Any]) -> "Benchmark":
    from asynctune.benchmark import Benchmark
    from asynctune.spacefile import read_space

    for name in ("space_file", "metric", "max_resource"):
        if given[name] is None:
            flag = "space" if name == "space_file" else name.replace("_", "-")
            raise UsageError(f"--{flag} must be given with --script and --function")
    return Benchmark(
        name="recording",
        space=read_space(given["space_file"]),
        metric=given["metric"],
        mode=given["mode"],
        resource=given["resource"],
        max_resource=given["max_resource"],
        max_wallclock_time=float("inf"),
        n_workers=given["n_workers"],
        trainable=_trainable(given),
    )


def _trainable(given: dict[str, Any]) -> "Script | Function":
    from asynctune.trainable import Function, Script

    if given["script"] is not None:
        return Script(path=given["script"], config_as=given["config_as"])
    from importlib import import_module

    module, colon, name = given["function"].partition(":")
    sys.path.insert(0, "")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"--function must be MODULE:NAME of a function; got {given['function']!r} ({error})"
        ) from error
    if not colon or not callable(function):
        raise UsageError(f"--function must be MODULE:NAME of a function; got {given['function']!r}")
    return Function(function=function)
