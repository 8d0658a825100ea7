"""The figure of one experiment: the learning curves of its trials."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import altair as alt

from asynctune import _curve_points as data
from asynctune import plot_style as style
from asynctune.exceptions import UsageError
from asynctune.experiment import JOURNAL, RESULTS, read_metadata
from asynctune.journal import read_lines
from asynctune.records import reports_frame
from asynctune.results import Experiment, load_experiment
from asynctune.wording import plural

_WIDTH, _HEIGHT = 660, 380
_TRIALS_DRAWN: Final = 300
_FATE_COLOURS: Final = ("#0072B2", "#CC79A7", "#009E73", "#E69F00", "#777777", "#777777")
_FATE_DASHES: Final = ([1, 0], [12, 3], [7, 3], [2, 2], [9, 2, 2, 2], [9, 2, 2, 2])
_BEST: Final = "#000000"
_ROOM: Final = 1.06  # at the ends of a logarithmic axis, so that nothing lies on the frame
_ROOM_AT_THE_END: Final = 1.01  # of a linear one


class _Drawing(NamedTuple):
    """What all layers of the figure share."""

    x: alt.X
    y: alt.Y
    colour: alt.Color
    dash: alt.StrokeDash
    tooltip: list[alt.Tooltip]


def load_so_far(folder: Path) -> Experiment:
    """Return an experiment, of one that still runs or was interrupted what its journal has.

    Raises:
        UsageError: If there is no experiment in the folder.
    """
    metadata = read_metadata(folder)
    if metadata is None or (folder / RESULTS).exists() or not (folder / JOURNAL).exists():
        return load_experiment(folder)
    reports = reports_frame(read_lines(folder / JOURNAL), metadata["resource"])
    return Experiment(folder, metadata, reports)


def write_curves(
    experiment: Experiment,
    folder: str | Path,
    *,
    x: Literal["resource", "time"] = "resource",
    trials: int = _TRIALS_DRAWN,
) -> tuple[Path, Path, Path]:
    """Write `curves.html`, `.png` and `.svg` into `folder`.

    The page shows what is under the pointer, and needs no network.

    Args:
        experiment: The experiment.
        folder: Where the files go; it exists.
        x: As in `learning_curves_figure`.
        trials: As in `learning_curves_figure`.

    Returns:
        The three paths, page first.
    """
    figure = learning_curves_figure(experiment, x=x, trials=trials)
    html, png, svg = (Path(folder) / f"curves.{kind}" for kind in ("html", "png", "svg"))
    figure.save(html, inline=True)
    figure.save(png, ppi=200)
    figure.save(svg)
    return html, png, svg


def learning_curves_figure(
    experiment: Experiment,
    *,
    x: Literal["resource", "time"] = "resource",
    trials: int = _TRIALS_DRAWN,
) -> alt.ConcatChart:
    """Return the learning curves of an experiment's trials, coloured by what became of them.

    A trial is completed (it reached the highest resource, or was told so), paused, stopped, ended
    early (its script came to an end by itself, in order), or cut off (its last report was answered
    with "continue"), which is "under way" as long as the experiment is not complete. A dot marks
    its last report, a ring a pause that it went on from, and the best trial is drawn in black. If x
    is the resource, lines mark the rungs, which are the levels where trials were paused or stopped,
    and where there are any the axis is logarithmic; if x is the time, pauses are dotted. Values far
    worse than most lie beyond the axis, and the caption says so.

    Args:
        experiment: The experiment.
        x: What the horizontal axis shows.
        trials: Draw at most so many trials: those that got furthest, and of the others an
            even sample; the caption says so.

    Raises:
        UsageError: If the experiment has no finite value, or x or `trials` is out of range.
    """
    if x not in ("resource", "time"):
        raise UsageError(f"x must be resource or time; got {x!r}")
    if trials < 1:
        raise UsageError(f"trials must be at least 1; got {trials}")
    metadata = experiment.metadata
    metric, resource = metadata["metric"], metadata["resource"]
    reports = data.finite_reports(experiment)
    highest = int(metadata.get("max_resource") or reports[resource].to_numpy().max())
    ended = data.ended(experiment.path)
    fates = data.fates(reports, resource, highest, ended, over=metadata["status"] == "complete")
    drawn = data.sampled(fates, trials, data.best_trial(reports, metric, experiment.sign))
    clock = style.clock_for(float(reports["tuner_time"].to_numpy().max()))
    values = data.points(reports.join(drawn, on="trial_id"), metric, resource, x, clock)
    y_axis, beyond = data.value_axis(values, experiment.sign)
    rungs = data.rungs(reports, resource, highest) if x == "resource" else []
    lowest = min(point["x"] for point in values)
    log = bool(rungs) and lowest > 0
    if log:
        # Rungs grow geometrically: on a log axis they stand evenly, and the crowd is seen.
        x_axis = style.Axis(lowest / _ROOM, highest * _ROOM, (*rungs, highest))
    else:
        end = max(point["x"] for point in values)
        x_axis = style.axis(0.0, end, 12, snap=False)
        x_axis = x_axis._replace(high=end * _ROOM_AT_THE_END)
    counts = dict(fates["fate"].value_counts().iter_rows())
    present = [fate for fate in data.FATES if fate in counts]
    title = f"wall-clock time ({clock.name})" if x == "time" else resource
    colour, dash = style.line_channels(
        "fate",
        present,
        colours=[_FATE_COLOURS[data.FATES.index(fate)] for fate in present],
        dashes=[_FATE_DASHES[data.FATES.index(fate)] for fate in present],
    )
    drawing = _Drawing(
        style.x_channel("x", x_axis, title, log=log),
        style.y_channel("value", y_axis, metric),
        colour,
        dash,
        _tooltip(metric, resource),
    )
    best = min(values, key=lambda point: (experiment.sign * point["value"], point["trial"]))
    layers = _trial_layers(values, drawing)
    if any(point["resumed"] for point in values):
        layers += _pause_layers(values, drawing)
    layers += _best_layers(values, best, drawing)
    if rungs:
        layers.insert(0, _rung_layer(rungs, drawing.x))
    workers = plural(metadata["n_workers"], "worker")
    name = f"{metadata['method']}, {workers}, seed {metadata['seed']}"
    chart = alt.layer(*layers).properties(
        width=_WIDTH, height=_HEIGHT, title=style.panel_title(name)
    )
    text = [f"Learning curves of {plural(len(fates), 'trial')}: {_told(counts)}."]
    where = f"{metric} {best['value']:.5g} at {resource} {best['level']}"
    text.append(f"Black: the best, trial {best['trial']}, with {where}.")
    if rungs:
        text.append("Vertical lines: rungs at which trials were paused or stopped.")
    if any(point["resumed"] for point in values):
        dotted = "" if x == "resource" else "; dotted: while it was paused"
        text.append(f"Rings: pauses that a trial went on from{dotted}.")
    if beyond:
        lie = f"{plural(beyond, 'report')} {'lies' if beyond == 1 else 'lie'}"
        text.append(f"{lie} beyond the axis, far worse than most.")
    if len(drawn) < len(fates):
        text.append(f"{len(drawn)} trials are drawn: those that got furthest, and a sample.")
    caption = [" ".join(text), style.data_line(metadata.get("provenance"))]
    return style.styled(alt.concat(chart), caption, _WIDTH)


def _told(counts: Mapping[str, int]) -> str:
    """Return what became of the trials, in words."""
    told = ", ".join(f"{counts[fate]} {fate}" for fate in data.FATES if fate in counts)
    return (
        f"{told} (while training, as time was over or it failed)" if "cut off" in counts else told
    )


def _tooltip(metric: str, resource: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("trial:O", title="trial"),
        alt.Tooltip("level:Q", title=resource),
        alt.Tooltip("value:Q", title=metric, format=".5g"),
        alt.Tooltip("fate:N", title="fate"),
        alt.Tooltip("config:N", title="config"),
    ]


def _trial_layers(values: data.Values, drawing: _Drawing) -> list[alt.Chart]:
    """Return one line a trial, with a dot at its last report."""
    last = {point["trial"]: point for point in values}
    lines = (
        alt.Chart(alt.InlineData(values=[_thin(point) for point in values]))
        .mark_line(strokeWidth=1.2, opacity=0.6, clip=True)
        .encode(
            x=drawing.x,
            y=drawing.y,
            color=drawing.colour,
            strokeDash=drawing.dash,
            detail=["trial:N", "part:N"],
        )
    )
    dots = (
        alt.Chart(alt.InlineData(values=list(last.values())))
        .mark_circle(size=22, opacity=0.9, clip=True)
        .encode(x=drawing.x, y=drawing.y, color=drawing.colour, tooltip=drawing.tooltip)
    )
    return [lines, dots]


def _thin(point: dict[str, Any]) -> dict[str, Any]:
    return {name: point[name] for name in ("trial", "x", "value", "fate", "part")}


def _pause_layers(values: data.Values, drawing: _Drawing) -> list[alt.Chart]:
    """Return a ring where a trial was paused and went on, and what bridges its pause."""
    bridges = [
        {"x": a["x"], "value": a["value"], "x2": b["x"], "value2": b["value"], "fate": a["fate"]}
        for a, b in pairwise(values)
        if a["trial"] == b["trial"] and a["part"] != b["part"]
    ]
    rings = (
        alt.Chart(alt.InlineData(values=[point for point in values if point["resumed"]]))
        .mark_point(size=34, strokeWidth=1.2, fill="white", opacity=1.0, clip=True)
        .encode(x=drawing.x, y=drawing.y, color=drawing.colour, tooltip=drawing.tooltip)
    )
    if not bridges:
        return [rings]
    lines = (
        alt.Chart(alt.InlineData(values=bridges))
        .mark_rule(strokeWidth=1, strokeDash=[1, 3], opacity=0.6, clip=True)
        .encode(x=drawing.x, y=drawing.y, x2="x2", y2="value2", color=drawing.colour)
    )
    return [lines, rings]


def _best_layers(values: data.Values, best: dict[str, Any], drawing: _Drawing) -> list[alt.Chart]:
    """Return the curve of the best trial, with its best value marked."""
    own = [_thin(point) for point in values if point["trial"] == best["trial"]]
    line = (
        alt.Chart(alt.InlineData(values=own))
        .mark_line(strokeWidth=2.2, color=_BEST, clip=True)
        .encode(x=drawing.x, y=drawing.y, detail="part:N")
    )
    mark = (
        alt.Chart(alt.InlineData(values=[best]))
        .mark_point(size=90, shape="diamond", filled=True, color=_BEST, opacity=1.0)
        .encode(x=drawing.x, y=drawing.y, tooltip=drawing.tooltip)
    )
    return [line, mark]


def _rung_layer(rungs: Sequence[int], x: alt.X) -> alt.Chart:
    """Return a vertical line at each rung."""
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=[{"x": level} for level in rungs]))
        .mark_rule(color=style.FAINT, strokeDash=[1, 2], strokeWidth=1)
        .encode(x=x)
    )
    return chart
