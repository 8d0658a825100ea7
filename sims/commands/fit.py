"""``asynctune fit``: make a benchmark of a table of recorded curves."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from asynctune.cli.options import Integer, Number
from asynctune.exceptions import UsageError
from asynctune.wording import readable_time

if TYPE_CHECKING:
    from sims.curvetable import CurveTable

# What the default budget of an experiment has room for, a worker; start-up comes on top.
_TRAININGS: Final = 20
_SHORTEST: Final = 7200.0
# Of the workers' time: if so little is training, it is not what a simulation shows.
_LITTLE: Final = 0.1


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--space",
    "space_file",
    type=click.Path(path_type=Path),
    default=None,
    help="YAML or JSON file with the config space.  [default: TABLE's name with .space.yaml]",
)
@click.option("--metric", required=True, help="Column of the metric to optimise.")
@click.option("--mode", type=click.Choice(["min", "max"]), default="min", help="What is good.")
@click.option("--resource", default="epoch", help="Column of the resource.")
@click.option(
    "--max-resource",
    type=Integer(min=1),
    default=None,
    help="Levels of a full training.  [default: the table's highest]",
)
@click.option(
    "--other-metric",
    "others",
    multiple=True,
    default=("train_loss",),
    help="Column of a further metric. Repeatable.",
)
@click.option("--name", required=True, help="Name of the benchmark.")
@click.option(
    "--replay",
    type=click.Choice(["surrogate", "exact", "nearest"]),
    default="surrogate",
    help="exact: methods choose among the recorded configs; nearest: other configs have the curve "
    "of the nearest recorded one.",
)
@click.option("--n-workers", type=Integer(min=1), default=4, help="The benchmark's default.")
@click.option(
    "--max-wallclock-time",
    type=Number(min=0, min_open=True),
    default=None,
    help=f"The benchmark's default, in seconds.  [default: {_TRAININGS} full trainings, at "
    "least two hours]",
)
@click.option("--instance-type", default="ml.g4dn.xlarge", help="Sets the price of simulations.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Write the benchmark here, to be used by its path.  "
    "[default: where it is found by name, in $ASYNCTUNE_HOME]",
)
def fit(
    *,
    table: Path,
    space_file: Path | None,
    name: str,
    folder: Path | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Make a benchmark to simulate with of the recorded curves in TABLE, a parquet file.

    Columns: config_id, one for each tuned parameter of the space, the resource from 1 on, the
    metric, and seconds of training since the config's start; source and seed where known.
    Curves may be short or have gaps, but for at least eight.
    """
    from asynctune.space import ConfigSpace
    from asynctune.spacefile import read_space
    from asynctune.study import tag_of
    from sims.commands.record import space_beside
    from sims.curvechecks import TableFormat
    from sims.curvefit import store
    from sims.curvetable import check_there, read

    check_there(table)
    space = ConfigSpace(read_space(space_beside(table) if space_file is None else space_file))
    form = TableFormat(space, given["resource"], given["metric"], tuple(given["others"]))
    curves = read(table, form, allow_gaps=True)
    max_resource = given["max_resource"] or curves.max_resource()
    seconds = _seconds_per_level(curves)
    problem = store.Recorded(
        name=name,
        space=space.to_json(),
        metric=given["metric"],
        mode=given["mode"],
        resource=given["resource"],
        max_resource=max_resource,
        others=tuple(n for n in given["others"] if n in curves.frame.columns),
        replay=given["replay"],
        max_wallclock_time=given["max_wallclock_time"]
        or max(_TRAININGS * max_resource * seconds, _SHORTEST),
        n_workers=given["n_workers"],
        seconds_per_level=seconds,
        instance_type=given["instance_type"],
        provenance=_provenance(curves, given["replay"]),
    )
    arrays = _surrogate(curves, problem) if problem.replay == "surrogate" else None
    if arrays is None:
        from sims.tabular import TabularBlackbox

        n = len(TabularBlackbox(curves, max_resource).configs)
        among = ", and methods choose among them" if problem.replay == "exact" else ""
        click.echo(f"{n} configs can be replayed{among}")
    where = store.home() / name if folder is None else folder
    before = _data_of(where)
    data = store.save(where, problem, curves, arrays).data
    if before is not None:
        now = "the same as before" if data == before else f"{data}; before {before or 'unknown'}"
        click.echo(f"{name}: replaced; its data are {now}")
    if (hint := _start_up(max_resource * seconds)) is not None:
        click.echo(hint)
    words = ("--experiment-tag", tag_of(name), "--benchmark", name if folder is None else folder)
    click.echo(f"{where}: asynctune study {shlex.join(map(str, words))}")


def _start_up(training: float) -> str | None:
    """Say so if simulations would be of start-up and little else, after the default profile."""
    from sims.profiles import local, sagemaker

    cluster = sagemaker()
    delay = cluster.startup_delay + cluster.stop_delay
    if training > _LITTLE * (training + delay):
        return None
    return (
        f"a full training takes {readable_time(training)}, and the default profile "
        f"{cluster.name} adds {delay:.0f} s of start and stop; --profile local adds "
        f"{local().startup_delay:.0f} s, --set startup_delay=SECONDS what you say"
    )


def _data_of(folder: Path) -> str | None:
    """Return what the data of the benchmark in `folder` are told by; None if there is none."""
    from sims.curvefit import store

    if not (folder / store.PROBLEM).exists():
        return None
    try:
        return store.load_problem(folder).data
    except UsageError:
        return ""  # whatever it was, it is replaced


def _surrogate(curves: "CurveTable", problem: Any) -> dict[str, Any]:  # noqa: ANN401
    """Fit, print the errors, and return what is to be stored."""
    import time

    from sims.curvefit.crossvalidation import leave_one_out, report, sources_of
    from sims.curvefit.fit import fit as fit_curves

    began = time.perf_counter()
    found = fit_curves(curves, problem.mode, problem.max_resource)
    click.echo(f"Errors of {problem.metric}, each config predicted from all others")
    for line in report(found, leave_one_out(found), sources_of(found, curves.curves())):
        click.echo(line)
    copies = len(set(found.grouped.copy_of.tolist()))
    between = f"as in {copies} repeated configs" if copies else "none was recorded"
    click.echo(f"noise between seeds: {between}; fitted in {time.perf_counter() - began:.1f} s")
    return found.fitted.arrays()


def _seconds_per_level(curves: "CurveTable") -> float:
    """Return the mean seconds a level, over curves that were timed."""
    import numpy as np

    arrays = curves.curves()
    last = arrays.seconds[np.arange(len(arrays.levels)), arrays.levels - 1]
    timed = np.isfinite(last)
    if not timed.any():
        raise UsageError("at least one curve must have seconds; the table has none")
    return float(last[timed].sum() / arrays.levels[timed].sum())


def _provenance(curves: "CurveTable", replay: str) -> str:
    sources = [s for s in curves.frame["source"].unique(maintain_order=True).to_list() if s]
    n = curves.frame["config_id"].n_unique()
    how = {
        "surrogate": "between and beyond them a surrogate fitted to those curves",
        "exact": "replayed as they are",
        "nearest": "for other configs the nearest one's curve",
    }[replay]
    of = f" ({', '.join(sources)})" if sources else ""
    return f"recorded learning curves of {n} configs{of}; {how}"
