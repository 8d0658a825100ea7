"""Pictures of the surrogate's validation: every left-out curve, and simulated beside published."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sims.transformer_wikitext2.crossvalidation import CHECKED, NORMAL_90, LeftOut
from sims.transformer_wikitext2.paired import Comparison
from sims.transformer_wikitext2.recorded import EPOCHS

if TYPE_CHECKING:
    import altair as alt

# Blue and orange of Okabe and Ito, which colour-blind readers tell apart.
PREDICTED, RECORDED = "#0072B2", "#D55E00"
_DRAWN = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 18, 21, 24, 27, 30, 33, 36, 40])
_COLUMNS = 10
_MOST_PANELS = 250


def left_out_chart(left_out: LeftOut) -> "alt.FacetChart":
    """Return one small panel a config, the worst ones first: the readings and the prediction."""
    import altair as alt
    import polars as pl

    rows: list[dict[str, Any]] = []
    error = np.where(np.isnan(left_out.error), -1, left_out.error)
    order = np.argsort(-error.max(axis=1), kind="stable")[:_MOST_PANELS]
    titles = []
    for i in order.tolist():
        title = _title(left_out, i)
        titles.append(title)
        half = NORMAL_90 * left_out.deviation[i]
        recorded = left_out.recorded.loss[i]
        rows += [
            {
                "config": title,
                "epoch": epoch,
                "predicted": float(left_out.mean[i, epoch - 1]),
                "low": float(left_out.mean[i, epoch - 1] - half[epoch - 1]),
                "high": float(left_out.mean[i, epoch - 1] + half[epoch - 1]),
                "recorded": None,
            }
            for epoch in _DRAWN.tolist()
        ]
        rows += [
            {"config": title, "epoch": epoch, "recorded": float(recorded[epoch - 1])}
            for epoch in range(1, EPOCHS + 1)
            if np.isfinite(recorded[epoch - 1])
        ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    base = alt.Chart().encode(x=alt.X("epoch:Q", title=None, scale=alt.Scale(domain=[0, 40])))
    # Rows of readings hold no prediction, which would break the line.
    curve = base.transform_filter("isValid(datum.predicted)")
    loss = alt.Scale(zero=False)
    band = curve.mark_area(opacity=0.25, color=PREDICTED).encode(
        # One width for all axes, or the panels would not stand in rows and columns.
        y=alt.Y("low:Q", title=None, scale=loss, axis=alt.Axis(minExtent=32, maxExtent=32)),
        y2="high:Q",
    )
    line = curve.mark_line(strokeWidth=1.3, color=PREDICTED).encode(y=alt.Y("predicted:Q"))
    points = base.mark_point(size=14, filled=True, color=RECORDED, opacity=0.9).encode(
        y=alt.Y("recorded:Q")
    )
    panels = (
        alt.layer(band, points, line, data=frame)
        .properties(width=118, height=74)
        .facet(
            facet=alt.Facet(
                "config:N", sort=titles, title=None, header=alt.Header(labelFontSize=8)
            ),
            columns=_COLUMNS,
            spacing={"row": 8, "column": 12},
        )
        .resolve_scale(y="independent")
    )
    n = len(left_out.mean)
    shown = f"{n} configs" if len(order) == n else f"{len(order)} of {n} configs"
    return _titled(
        panels,
        "Validation loss by epoch of every recorded config, predicted without it",
        f"{shown}, worst error first; dots: recorded; line and 90 % band: predicted. "
        "Titles: who trained it, then lr, dropout, batch size, momentum, clip",
    )


def errors_chart(left_out: LeftOut) -> "alt.FacetChart":
    """Return recorded against predicted loss at the checked epochs."""
    import altair as alt
    import polars as pl

    rows = [
        {"epoch": epoch, "recorded": float(recorded), "predicted": float(predicted)}
        for epoch in CHECKED
        for recorded, predicted in zip(
            left_out.recorded.loss[:, epoch - 1], left_out.mean[:, epoch - 1], strict=True
        )
        if np.isfinite(recorded)
    ]
    scale = alt.Scale(zero=False)
    dots = (
        alt.Chart()
        .mark_point(size=14, color=PREDICTED)
        .encode(x=alt.X("recorded:Q", scale=scale), y=alt.Y("predicted:Q", scale=scale))
    )
    exact = (
        alt.Chart()
        .mark_line(color="grey", strokeWidth=1)
        .encode(x="recorded:Q", y=alt.Y("recorded:Q"))
    )
    panels = (
        alt.layer(exact, dots, data=pl.DataFrame(rows))
        .properties(width=200, height=200)
        .facet(column=alt.Column("epoch:O", title="loss after this many epochs"))
        .resolve_scale(x="independent", y="independent")
    )
    return _titled(panels, "Recorded and predicted loss", "every config left out in turn")


def paired_chart(comparisons: Sequence[Comparison]) -> "alt.FacetChart":
    """Return simulated beside published, one panel a setup."""
    import altair as alt
    import polars as pl

    rows = [
        {
            "setup": f"{c.method}, {c.n_workers} workers ({c.study})",
            "hours": float(seconds) / 3600,
            "loss": float(loss),
            "origin": origin,
            "rows": len(c.seconds),
        }
        for c in comparisons
        for origin, losses in (("published", c.published), ("simulated", c.simulated))
        for seconds, loss in zip(c.seconds, losses, strict=True)
        if np.isfinite(loss)
    ]
    base = alt.Chart().encode(
        x=alt.X("hours:Q", title="wall-clock time (h)"),
        y=alt.Y("loss:Q", title="IQM of the best loss", scale=alt.Scale(zero=False)),
        color=alt.Color(
            "origin:N",
            title=None,
            scale=alt.Scale(domain=["published", "simulated"], range=[RECORDED, PREDICTED]),
        ),
    )
    # Of the local study two instants were published, which make no curve.
    curve = base.mark_line(interpolate="step-after", strokeWidth=1).transform_filter(
        "datum.rows > 2"
    )
    points = base.mark_point(size=14, filled=True, opacity=1)
    panels = (
        alt.layer(curve, points, data=pl.DataFrame(rows))
        .properties(width=260, height=180)
        .facet(facet=alt.Facet("setup:N", sort=None, title=None), columns=3)
        .resolve_scale(x="independent", y="independent")
    )
    return _titled(
        panels,
        "The original's own configs, simulated, beside what was published",
        "interquartile mean over the seeds of the best validation loss so far",
    )


def save(chart: "alt.FacetChart", stem: Path) -> list[Path]:
    """Write the chart as a page that works offline and as a picture; returns both paths."""
    import altair as alt

    page, picture = stem.with_suffix(".html"), stem.with_suffix(".png")
    with alt.data_transformers.enable("default", max_rows=None):
        chart.save(str(page), inline=True)
        chart.save(str(picture), scale_factor=1.5)
    return [page, picture]


def _titled(chart: "alt.FacetChart", title: str, subtitle: str) -> "alt.FacetChart":
    import altair as alt

    titled: alt.FacetChart = chart.properties(
        title=alt.TitleParams(title, subtitle=subtitle, anchor="start")
    )
    return titled


def _title(left_out: LeftOut, i: int) -> str:
    lr, dropout, batch_size, momentum, clip = left_out.recorded.configs[i]
    copies = "+".join(c.label for c in left_out.recorded.readings[i])
    return f"{copies}: {lr:.0e} {dropout:.2f} {batch_size:.0f} {momentum:.2f} {clip:.2f}"
