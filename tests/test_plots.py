import json
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import polars as pl
import pytest
import vl_convert
from synthetic_study import write_experiment, write_study

from asynctune import plot_style as style
from asynctune.aggregate import aggregate
from asynctune.exceptions import UsageError
from asynctune.plots import comparison_figure, write_comparison
from asynctune.results import Setup, load_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_study(folder / "tag", trials=8)
    return load_study("tag", folder)


@pytest.fixture(scope="module")
def still(study):
    return comparison_figure(study)


@pytest.fixture(scope="module")
def live(study):
    return comparison_figure(study, interactive=True)


def panels(figure):
    return figure.to_dict()["concat"]


def layer(panel, kind):
    return next(one for one in panel["layer"] if one["mark"]["type"] == kind)


def rows(figure, panel, kind="line"):
    """Return the values that a layer, its panel, or a named dataset of the figure holds."""
    one = layer(panel, kind)
    data = one.get("data") or panel.get("data") or figure.to_dict()["data"]
    return data["values"] if "values" in data else figure.to_dict()["datasets"][data["name"]]


def test_panels_fill_columns(still):
    assert [panel["title"]["text"] for panel in panels(still)] == ["RS", "ASHA", "BO", "MOBSTER"]
    assert still.to_dict()["columns"] == 2


def test_few_methods_stand_in_one_row(tmp_path):
    write_study(tmp_path / "tag", methods=("MOBSTER", "RS", "BO"), seeds=2, trials=2)
    figure = comparison_figure(load_study("tag", tmp_path))
    assert [panel["title"]["text"] for panel in panels(figure)] == ["RS", "BO", "MOBSTER"]
    assert figure.to_dict()["columns"] == 3


def test_lines_and_bands_are_the_aggregated_curves(study, still):
    points = [row for row in rows(still, panels(still)[0]) if row["workers"] == 8]
    curve = aggregate(study.runs[Setup("RS", 8)])
    assert [p["time"] for p in points] == pytest.approx(curve.times / 3600, rel=1e-5)
    assert [p["value"] for p in points] == pytest.approx(curve.iqm, rel=1e-5)
    assert [p["low"] for p in points] == pytest.approx(curve.low, rel=1e-5)
    assert [p["high"] for p in points] == pytest.approx(curve.high, rel=1e-5)


def test_panels_share_their_axes_and_cut_off_what_is_outside(study, still):
    domains = set()
    for panel in panels(still):
        for one in panel["layer"]:
            assert one["mark"]["clip"] is True
            encoding = one["encoding"]
            domains.add(json.dumps([encoding[c]["scale"]["domain"] for c in "xy"]))
    assert len(domains) == 1
    (left, right), (bottom, top) = json.loads(domains.pop())
    assert (left, right) == (0, 10)
    finals = [aggregate(runs).iqm[-1] for runs in study.runs.values()]
    assert bottom < min(finals)
    assert max(finals) < top < 10.8


def test_lines_differ_in_colour_and_in_dashes(still):
    encoding = layer(panels(still)[0], "line")["encoding"]
    for channel in ("color", "strokeDash"):
        assert encoding[channel]["scale"]["domain"] == [2, 4, 8]
        assert len({str(v) for v in encoding[channel]["scale"]["range"]}) == 3


def test_caption_tells_seeds_statistics_and_provenance(still):
    caption = " ".join(still.to_dict()["title"]["text"])
    assert "interquartile mean over 5 seeds" in caption
    assert "95 % percentile bootstrap (1,000 resamples)" in caption
    assert "simulated backend, sagemaker profile" in caption
    assert "Data: made up for tests." in caption


def test_one_seed_has_no_band(tmp_path):
    write_study(tmp_path / "tag", methods=("RS",), seeds=1)
    (tmp_path / "tag" / "RS-4w-1").mkdir()
    (tmp_path / "tag" / "RS-4w-1" / "journal.jsonl").touch()
    figure = comparison_figure(load_study("tag", tmp_path))
    assert all("low" not in row for row in rows(figure, panels(figure)[0]))
    caption = " ".join(figure.to_dict()["title"]["text"])
    assert "single seed" in caption
    assert "bootstrap" not in caption
    assert "Incomplete experiments left out: 1." in caption


def test_reference_lines(study):
    reference = pl.DataFrame(
        {
            "method": ["BO", "BO", "Hyperband"],
            "n_workers": [2, 2, 2],
            "wallclock_s": [3600, 7200, 3600],
            "value": [8.0, 7.0, 9.0],
        }
    )
    figure = comparison_figure(study, reference=reference)
    by_title = {panel["title"]["text"]: panel for panel in panels(figure)}
    assert [len(panel["layer"]) for panel in by_title.values()] == [2, 2, 3, 2]
    dotted = by_title["BO"]["layer"][1]
    data = dotted["data"]
    points = data.get("values") or figure.to_dict()["datasets"][data["name"]]
    assert [(p["time"], p["value"]) for p in points] == [(1.0, 8.0), (2.0, 7.0)]
    assert "published" in " ".join(figure.to_dict()["title"]["text"])
    with pytest.raises(UsageError, match=r"lacks \['value'\]"):
        comparison_figure(study, reference=reference.drop("value"))


def test_a_metric_to_maximise_keeps_its_sign(tmp_path):
    write_study(tmp_path / "tag", methods=("RS",), sign=-1)
    figure = comparison_figure(load_study("tag", tmp_path))
    points = rows(figure, panels(figure)[0])
    assert all(p["low"] <= p["value"] <= p["high"] for p in points)
    assert points[0]["value"] < points[-1]["value"] < 0


def test_runs_without_values_do_not_break_the_band(tmp_path):
    nan, ok = float("nan"), [8.0, 7.0]
    for seed, values in enumerate([ok, ok, ok, ok, [nan, nan]]):
        write_experiment(
            tmp_path / "tag" / f"RS-4w-{seed}",
            {"tuner_time": [10.0, 20.0], "val_loss": values},
            seed=seed,
        )
    spec = comparison_figure(load_study("tag", tmp_path)).to_json()
    assert "Infinity" not in spec
    assert "NaN" not in spec


def test_nothing_finite(tmp_path):
    columns = {"tuner_time": [1.0], "val_loss": [float("nan")]}
    write_experiment(tmp_path / "tag" / "RS-4w-0", columns)
    with pytest.raises(UsageError, match="needs finite values of val_loss"):
        comparison_figure(load_study("tag", tmp_path))


def test_figure_is_reproducible(study, still):
    assert comparison_figure(study).to_json() == still.to_json()


def test_interactive_figure_compiles_and_its_parameters_have_views(live):
    spec = live.to_dict()
    names = [one["name"] for panel in spec["concat"] for one in panel["layer"] if "name" in one]
    for parameter in spec["params"]:
        assert set(parameter["views"]) <= set(names)
    assert next(p for p in spec["params"] if p["name"] == "zoom")["views"] == names
    # Vega itself must accept it: names of signals clash only there.
    assert vl_convert.vegalite_to_svg(spec).startswith("<svg")


def test_written_files(study, tmp_path):
    html, png, svg = write_comparison(study, tmp_path / "new" / "folder")
    assert png.read_bytes().startswith(b"\x89PNG")
    texts = " ".join(ET.fromstring(svg.read_text()).itertext())  # noqa: S314 - we wrote it
    for word in ("MOBSTER", "8 workers", "wall-clock time (h)", "best val_loss so far", "Data:"):
        assert word in texts
    page = html.read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    assert html.stat().st_size < 2_000_000


def test_import_asynctune_is_light():
    code = "import sys, asynctune; print({'polars', 'altair'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("span", "most", "step"),
    [(10, 12, 1), (10, 10, 1), (10, 9, 2), (5, 12, 0.5), (0.03, 5, 0.01), (0, 5, 1)],
)
def test_round_step(span, most, step):
    assert style.round_step(span, most) == pytest.approx(step)


def test_axes_contain_their_values():
    assert style.axis(0, 10, 12, snap=False) == (0, 10, tuple(range(11)))
    axis = style.axis(4.93, 8.31, 7)
    assert axis.low < 4.93
    assert axis.high > 8.31
    assert axis.ticks == (5, 5.5, 6, 6.5, 7, 7.5, 8)
    flat = style.axis(5.0, 5.0, 7)
    assert flat.low < 5.0 < flat.high


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [(36000, ("h", 3600)), (7200, ("h", 3600)), (600, ("min", 60)), (20, ("s", 1))],
)
def test_clock(seconds, clock):
    assert style.clock_for(seconds) == clock
