"""What all figures share: colours, axes with round ticks, fonts, and the caption below."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import altair as alt

# Okabe and Ito (2008), "Color Universal Design", in an order in which neighbours also differ
# as greys. Every line has a dash pattern of its own besides, so that none rests on colour.
COLOURS = ("#E69F00", "#009E73", "#0072B2", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
DASHES = ([2, 2], [7, 3], [1, 0], [7, 2, 2, 2], [12, 3], [4, 4], [9, 2, 2, 2, 2, 2])
FAINT = "#666666"
_INK = "#222222"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
_CAPTION_SIZE = 12
# Mean advance of the caption's letters against their size: on the safe side for Arial.
_LETTER = 0.45


class Axis(NamedTuple):
    """The extent of an axis and where its ticks stand."""

    low: float
    high: float
    ticks: tuple[float, ...]


class Clock(NamedTuple):
    """The unit in which times are shown."""

    name: str
    seconds: float


def clock_for(seconds: float) -> Clock:
    """Return the unit that suits an axis from 0 to `seconds`."""
    if seconds >= 2 * 3600:
        return Clock("h", 3600.0)
    return Clock("min", 60.0) if seconds >= 2 * 60 else Clock("s", 1.0)


def round_step(span: float, most: int) -> float:
    """Return the smallest step of the form 1, 2 or 5 times 10^k with at most `most` in `span`."""
    if not (span > 0 and math.isfinite(span)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(m * power for m in (1, 2, 5, 10, 20) if span / (m * power) <= most * (1 + 1e-9))


def axis(low: float, high: float, most: int, *, snap: bool = True) -> Axis:
    """Return an axis over the values from `low` to `high` with at most about `most` ticks.

    Args:
        low: Smallest value.
        high: Largest value; if it equals `low`, room is made around them.
        most: Bound for the number of steps between ticks.
        snap: Whether the ends are moved outwards to fifths of a step, so that nothing lies
            on the frame.
    """
    if not high > low:
        room = abs(low) / 10 or 1.0
        low, high = low - room, high + room
    step = round_step(high - low, most)
    if snap:
        fifth = step / 5
        low, high = (math.ceil(low / fifth) - 1) * fifth, (math.floor(high / fifth) + 1) * fifth
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(rounded(i * step) for i in range(first, last + 1))
    return Axis(rounded(low), rounded(high), ticks)


def rounded(value: float) -> float:
    """Return `value` with six digits: more cannot be seen, and files grow with every digit."""
    return float(f"{value:.6g}")


def x_channel(
    field: str, extent: Axis, title: str, *, labelled: bool = True, log: bool = False
) -> alt.X:
    """Return a quantitative x channel; without labels if a panel below has them."""
    ticks = _axis(extent, title, labelled=labelled).copy()
    ticks.labels = labelled  # here there is no need of room: rows may move together
    return alt.X(f"{field}:Q", scale=_scale(extent, log=log), axis=ticks)


def y_channel(field: str, extent: Axis, title: str, *, labelled: bool = True) -> alt.Y:
    """Return a quantitative y channel; without labels if a panel to the left has them."""
    return alt.Y(f"{field}:Q", scale=_scale(extent), axis=_axis(extent, title, labelled=labelled))


def line_channels(
    field: str,
    domain: Sequence[Any],
    *,
    label: str = "datum.label",
    colours: Iterable[str] = COLOURS,
    dashes: Iterable[Sequence[int]] = DASHES,
) -> tuple[alt.Color, alt.StrokeDash]:
    """Return the colours and dashes of the values of `field`, with one legend for both.

    Args:
        field: Name of the field.
        domain: Its values, in the legend's order.
        label: Vega expression of a value's text in the legend.
        colours: Colours of the values, taken in turn.
        dashes: Their dash patterns.
    """
    n = len(domain)
    legend = alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        labelExpr=label,
        symbolType="stroke",
        symbolSize=900,
        symbolStrokeWidth=2.5,
        symbolOpacity=1,
        columnPadding=28,
        offset=10,
    )
    scales = [
        alt.Scale(domain=list(domain), range=_cycled(list(values), n))
        for values in (colours, dashes)
    ]
    return (
        alt.Color(f"{field}:N", scale=scales[0], sort=None, legend=legend),
        alt.StrokeDash(f"{field}:N", scale=scales[1], sort=None, legend=legend),
    )


def styled(figure: alt.ConcatChart, caption: Iterable[str], width: float) -> alt.ConcatChart:
    """Return `figure` with the common fonts and lines, and `caption` below it.

    Args:
        figure: The whole figure.
        caption: Paragraphs; empty ones are dropped.
        width: The figure's width, for breaking the caption's lines.
    """
    letters = int(width / (_CAPTION_SIZE * _LETTER))
    lines = [line for part in caption if part for line in textwrap.wrap(part, letters)]
    below = alt.Title(
        lines,
        orient="bottom",
        anchor="start",
        frame="bounds",
        fontSize=_CAPTION_SIZE,
        fontWeight="normal",
        color=FAINT,
        lineHeight=16,
        offset=14,
    )
    finished: alt.ConcatChart = (
        figure.properties(title=below, padding=14, background="white")
        .configure(font=_FONT)
        .configure_axis(
            labelFontSize=12,
            titleFontSize=13,
            titleFontWeight="normal",
            titleColor=_INK,
            labelColor=_INK,
            gridColor="#E8E8E8",
            domainColor="#888888",
            tickColor="#888888",
            titlePadding=8,
        )
        .configure_view(stroke="#888888", strokeWidth=0.8)
        .configure_legend(labelFontSize=13, labelColor=_INK)
        .configure_title(color=_INK, fontWeight="bold")
    )
    return finished


def panel_title(text: str) -> alt.Title:
    """Return the title of a panel."""
    return alt.Title(text, anchor="middle", fontSize=15, offset=8)


def data_line(provenance: str | None) -> str:
    """Return the caption's paragraph on where the values come from; empty if nobody says."""
    return f"Data: {provenance.rstrip('.')}." if provenance else ""


def _cycled(values: list[Any], n: int) -> list[Any]:
    return [values[i % len(values)] for i in range(n)]


def _scale(extent: Axis, *, log: bool = False) -> alt.Scale:
    ends = [extent.low, extent.high]
    if log:
        return alt.Scale(type="log", domain=ends, nice=False)
    return alt.Scale(domain=ends, nice=False, zero=False)


def _axis(extent: Axis, title: str, *, labelled: bool) -> alt.Axis:
    return alt.Axis(
        title=title if labelled else None,
        # Unseen labels keep the room of seen ones, so that all panels are laid out alike.
        labelOpacity=1 if labelled else 0,
        values=list(extent.ticks),
        labelOverlap=True,
        labelFlush=False,
    )
