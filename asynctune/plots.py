"""The figure of a study: its methods side by side."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from asynctune import plot_style as style
from asynctune.aggregate import LEVEL, RESAMPLES, Curve, aggregate, horizon
from asynctune.exceptions import UsageError
from asynctune.results import Setup, Study

_WIDTH, _HEIGHT = 330, 220
_ONE_ROW = 3  # so many panels stand in one row; more fill two
_STEPS_A_LINE = 400
_WORKERS = "datum.label + (datum.label == '1' ? ' worker' : ' workers')"
_REFERENCE_COLUMNS = ("method", "n_workers", "wallclock_s", "value")

Values = list[dict[str, Any]]
Encoding = dict[str, Any]


def comparison_figure(
    study: Study, *, reference: pl.DataFrame | None = None, interactive: bool = False
) -> alt.ConcatChart:
    """Return the figure of a study: a panel a method, a line a number of workers.

    Lines are the IQM over seeds of the best value so far, bands its bootstrap; all panels
    share their axes. The metric's axis is zoomed to what is left after the first fifth of
    the time that all setups ran for; what lies beyond is cut off, not squeezed in. From four
    methods on, panels fill columns: RS over BO, then ASHA over MOBSTER.

    Args:
        study: The study.
        reference: Other results to compare with, drawn as thin dotted lines, with columns
            `method`, `n_workers`, `wallclock_s` (seconds) and `value` (in the metric's unit).
        interactive: Whether hovering shows values, the wheel zooms, and clicking the legend
            picks a line. Off for print.

    Raises:
        UsageError: If no experiment has a finite value, or `reference` lacks a column.
    """
    curves = {s: aggregate(runs, points=_STEPS_A_LINE) for s, runs in study.runs.items()}
    if not any(len(curve.times) for curve in curves.values()):
        raise UsageError(f"a figure needs finite values of {study.metric}; {study.path} has none")
    end = max(horizon(runs) for runs in study.runs.values())
    clock = style.clock_for(end)
    x = style.axis(0.0, end / clock.seconds, 12, snap=False)
    y = _value_axis(study, curves)
    colour, dash = style.line_channels("workers", study.worker_counts, label=_WORKERS)
    other = {} if reference is None else _reference_values(reference, clock)
    pointer = _Pointer() if interactive else None
    rows = _grid(study.methods)
    panels = []
    for i, row in enumerate(rows):
        for j, method in enumerate(row):
            values = [
                point
                for setup, curve in curves.items()
                if setup.method == method
                for point in _curve_values(setup, curve, clock, y, study.sign)
            ]
            last = i + 1 == len(rows) or j >= len(rows[i + 1])
            encoding: Encoding = {
                "x": style.x_channel("time", x, f"wall-clock time ({clock.name})", labelled=last),
                "y": style.y_channel("value", y, f"best {study.metric} so far", labelled=j == 0),
                "color": colour,
                "strokeDash": dash,
            }
            layers = _layers(values, encoding, pointer)
            if method in other:
                layers.insert(1, _reference_layer(other[method], encoding))
            panels.append(
                alt.layer(*layers).properties(
                    width=_WIDTH, height=_HEIGHT, title=style.panel_title(method)
                )
            )
    figure = _arranged(panels, len(rows[0]))
    figure = figure.resolve_scale(color="shared", strokeDash="shared")
    width = _WIDTH * len(rows[0])
    return style.styled(figure, _caption(study, with_reference=bool(other)), width)


def write_comparison(
    study: Study, folder: str | Path, *, reference: pl.DataFrame | None = None
) -> tuple[Path, Path, Path]:
    """Write `comparison.html`, `.png` and `.svg` into `folder`, which is made if need be.

    The page is interactive and needs no network.

    Args:
        study: The study.
        folder: Where the files go.
        reference: As in `comparison_figure`.

    Returns:
        The three paths, page first.
    """
    page = comparison_figure(study, reference=reference, interactive=True)
    still = comparison_figure(study, reference=reference)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    html, png, svg = (target / f"comparison.{kind}" for kind in ("html", "png", "svg"))
    page.save(html, inline=True)
    still.save(png, ppi=200)
    still.save(svg)
    return html, png, svg


def _grid(methods: Sequence[str]) -> list[list[str]]:
    """Return the rows of panels: one row, or two that are filled by columns."""
    if len(methods) <= _ONE_ROW:
        return [list(methods)]
    return [list(methods[0::2]), list(methods[1::2])]


def _arranged(panels: Sequence[alt.LayerChart | alt.FacetChart], columns: int) -> alt.ConcatChart:
    """Return the panels in rows of `columns`, their frames in line."""
    with warnings.catch_warnings():
        # The panels share their parameters on purpose; altair warns that it noticed.
        warnings.filterwarnings("ignore", message="Automatically deduplicated")
        return alt.concat(*panels, columns=columns, align="each", spacing={"row": 10, "column": 0})


def _value_axis(study: Study, curves: Mapping[Setup, Curve]) -> style.Axis:
    """Return the metric's axis, zoomed to what is left after the first fifth of common time."""
    settled = study.common_seconds / 5
    losses = []
    for curve in curves.values():
        if not len(curve.times):
            continue
        first = max(int(np.searchsorted(curve.times, settled, side="right")) - 1, 0)
        bottom = curve.low[-1] if np.isfinite(curve.low[-1]) else curve.iqm[-1]
        losses += [curve.iqm[first], bottom]
    ends = sorted((study.sign * min(losses), study.sign * max(losses)))
    return style.axis(ends[0], ends[1], 7)


def _curve_values(
    setup: Setup, curve: Curve, clock: style.Clock, y: style.Axis, sign: int
) -> Values:
    """Return the points of a line with its band, in the metric's own sign.

    Ends of the band that are far outside the axis (they may be infinite, which JSON cannot
    say) are drawn as a point well outside.
    """
    room = y.high - y.low
    points = []
    for time, centre, *band in zip(curve.times, curve.iqm, curve.low, curve.high, strict=True):
        ends = sorted(sign * end for end in band)
        point = {"workers": setup.n_workers, "time": time / clock.seconds, "value": sign * centre}
        if not np.isnan(ends).any():
            clipped = np.clip(ends, y.low - 9 * room, y.high + 9 * room)
            point |= {"low": clipped[0], "high": clipped[1]}
        points.append({key: style.rounded(value) for key, value in point.items()})
    return points


class _Pointer:
    """What the panels of one interactive figure react to.

    A click in the legend picks a line in all panels, the wheel and dragging move all panels
    together, and each panel shows the point nearest to the pointer.
    """

    def __init__(self) -> None:
        self.pick = alt.selection_point(name="pick", fields=["workers"], bind="legend")
        self._zoom = alt.selection_interval(name="zoom", bind="scales")
        self._panels = 0

    def for_next_panel(self) -> tuple[list[alt.Parameter], alt.Parameter]:
        """Return the parameters that panels share, and the one of this panel."""
        # There is one legend: the first panel owns its selection, and the others refer to it.
        common = [self._zoom] if self._panels else [self.pick, self._zoom]
        hover = alt.selection_point(
            name=f"hover_{self._panels}",
            on="pointerover",
            clear="pointerout",
            nearest=True,
            empty=False,
        )
        self._panels += 1
        return common, hover


def _layers(values: Values, encoding: Encoding, pointer: _Pointer | None) -> list[alt.Chart]:
    """Return a panel's band and lines, and the points that react to the pointer if any."""
    base = alt.Chart(alt.InlineData(values=values))
    low = encoding["y"].copy()
    low.shorthand = "low:Q"
    band = base.mark_area(interpolate="step-after", clip=True).encode(
        x=encoding["x"], y=low, y2="high:Q", color=encoding["color"], opacity=alt.value(0.18)
    )
    line = base.mark_line(interpolate="step-after", clip=True, strokeWidth=2).encode(**encoding)
    if pointer is None:
        return [band, line]
    parameters, hover = pointer.for_next_panel()
    band = band.encode(opacity=alt.condition(pointer.pick, alt.value(0.18), alt.value(0.03)))
    line = line.encode(opacity=alt.condition(pointer.pick, alt.value(1.0), alt.value(0.15)))
    dots = base.mark_circle(size=60, clip=True).encode(
        x=encoding["x"],
        y=encoding["y"],
        color=encoding["color"],
        opacity=alt.condition(hover, alt.value(1.0), alt.value(0.0)),
        tooltip=[
            alt.Tooltip("workers:O", title="workers"),
            alt.Tooltip("time:Q", title="time", format=".3f"),
            alt.Tooltip("value:Q", title="IQM", format=".4f"),
            alt.Tooltip("low:Q", title="band from", format=".4f"),
            alt.Tooltip("high:Q", title="band to", format=".4f"),
        ],
    )
    named = dots.properties(name=f"at_{hover.name}")
    return [band, line, named.add_params(*parameters, hover)]


def _reference_values(reference: pl.DataFrame, clock: style.Clock) -> dict[str, Values]:
    """Return the points of the reference lines by method."""
    missing = [name for name in _REFERENCE_COLUMNS if name not in reference.columns]
    if missing:
        raise UsageError(
            f"a reference must have the columns {', '.join(_REFERENCE_COLUMNS)}; lacks {missing}"
        )
    by_method: dict[str, Values] = {}
    for method, workers, seconds, value in reference.select(_REFERENCE_COLUMNS).iter_rows():
        by_method.setdefault(method, []).append(
            {
                "workers": workers,
                "time": style.rounded(seconds / clock.seconds),
                "value": style.rounded(value),
            }
        )
    return by_method


def _reference_layer(values: Values, encoding: Encoding) -> alt.Chart:
    """Return thin dotted lines in the colours of their numbers of workers."""
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(
            interpolate="step-after",
            clip=True,
            strokeWidth=1.6,
            strokeDash=[0.1, 3.2],
            strokeCap="round",
        )
        .encode(
            x=encoding["x"],
            y=encoding["y"],
            color=encoding["color"],
            detail="workers:N",
        )
    )
    return chart


def _caption(study: Study, *, with_reference: bool) -> list[str]:
    """Return the paragraphs under the figure."""
    counts = sorted({len(runs) for runs in study.runs.values()})
    first = study.metadata.row(0, named=True)
    where = ", ".join(
        part
        for part in (
            f"{study.tag}: {first['benchmark'] or 'a benchmark without a name'}",
            f"{first['backend']} backend" if first["backend"] else "",
            f"{first['profile']} profile" if first["profile"] else "",
        )
        if part
    )
    if counts == [1]:
        how = f"Lines: best {study.metric} so far of a single seed, so without a band."
    else:
        seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        how = (
            f"Lines: interquartile mean over {seeds} seeds of the best {study.metric} so far; "
            f"bands: {LEVEL:.0%} percentile bootstrap ({RESAMPLES:,} resamples)."
        ).replace("95%", "95 %")
    if with_reference:
        how += " Thin dotted lines: published results."
    if study.incomplete:
        how += f" Incomplete experiments left out: {len(study.incomplete)}."
    return [f"{where}. {how}", style.data_line(study.provenance)]
