"""The tables of figures in the README and in `docs/benchmarks.md`, made of what was measured.

Each benchmark leaves its figures in `benchmarks/measured/NAME.json` when it is run with
`--json benchmarks/measured/NAME.json`. From these files, and from nothing else, the tables are
made: the README has a summary between two marks, the other page has all of them.

    python -m benchmarks.figures [--check]
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import (
    gp_latency,
    local_overhead,
    model_choices,
    optimizer_quality,
    study_quality,
    study_speed,
)
from benchmarks.peers.report import table

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "measured"
README: Final = ROOT / "README.md"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
BEGIN: Final = "<!-- figures: made by python -m benchmarks.figures -->"
END: Final = "<!-- end of figures -->"

Row = tuple[str, str, str, str]
Figures = Mapping[str, Any]


def read(folder: Path = RESULTS) -> dict[str, Any]:
    """Return what was measured, by the benchmark's name."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}


def summary(measured: Figures) -> str:
    """Return the README's table."""
    rows = [
        row for name, make in _SUMMARIES.items() if name in measured for row in make(measured[name])
    ]
    return table(["what", "asynctune", "beside it", "aim"], rows)


def _throughput(rows: Sequence[Figures]) -> Iterator[Row]:
    for row in rows:
        if row["n_workers"] == 1_000:
            aim = "50,000" if row["method"] == "ASHA" else ""
            what = f"simulated reports a second, {row['method']} with 1,000 workers"
            yield what, f"{row['reports_per_second']:,.0f}", "", aim


def _study(figures: Figures) -> Iterator[Row]:
    n = sum(row["experiments"] for row in figures["rows"] if row["n_workers"] is None)
    what = f"seconds for the study's {n} experiments, two processes"
    yield what, f"{figures['seconds']:.0f}", "", f"{figures['target']:.0f}"


def _latency(figures: Figures) -> Iterator[Row]:
    for row in figures["rows"]:
        if row["target"] is None or "cpu_median_ratio" not in row:
            continue
        ours = row["cpu_median_ratio"] * row["cpu_median"]
        what = f"ms a {row['kind']} proposal, {row['size']} observations"
        theirs = f"{row['peer']}: {row['cpu_median']:,.0f} (1/{1 / row['cpu_median_ratio']:.0f})"
        yield what, f"{ours:.1f}", theirs, f"1/{1 / row['target']:.0f}"


def _quality(figures: Figures) -> Iterator[Row]:
    ended = [row for row in figures["rows"] if row["share"] == 1.0]
    names = list(dict.fromkeys(row["optimizer"] for row in ended))
    ranks = {
        name: sum(own := [r["mean_rank"] for r in ended if r["optimizer"] == name]) / len(own)
        for name in names
    }
    cases = len({(row["problem"], row["n_workers"]) for row in ended})
    others = sorted((rank, name) for name, rank in ranks.items() if name != optimizer_quality.OURS)
    said = ", ".join(f"{name} {rank:.2f}" for rank, name in others)
    what = f"mean rank at equal evaluations, {cases} cases"
    yield what, f"{ranks[optimizer_quality.OURS]:.2f}", said, "the lowest"


def _study_quality(figures: Figures) -> Iterator[Row]:
    by = {(r["system"], r["method"], r["n_workers"]): r for r in figures["rows"]}
    for row in figures["ratios"]:
        if row["method"] != "MOBSTER" or row["system"] != study_quality.OURS:
            continue
        for loss in study_quality.LOSSES:
            n = row["n_workers"]
            ours = by[study_quality.OURS, "MOBSTER", n][f"to_{loss}"]
            theirs = by[study_quality.SYNE_TUNE, "MOBSTER", n][f"to_{loss}"]
            ratio = row[f"ratio_{loss}"]
            beside = "never" if theirs is None else f"{theirs:,.0f}"
            ratio_said = "" if ratio is None else f" ({row[f'bound_{loss}']}{ratio:.2f})"
            yield (
                f"simulated s to a loss of {loss}, MOBSTER, {n} workers",
                "never" if ours is None else f"{ours:,.0f}",
                f"Syne Tune: {beside}{ratio_said}",
                "0.70",
            )


def _overhead(figures: Figures) -> Iterator[Row]:
    aim = f"{figures['target_ms']:.0f}"
    answer, after, bare = (figures[name] for name in ("answer", "handover", "handover_bare"))
    theirs = {}
    if "optuna" in figures and "ray" in figures:  # all or none, so that none is picked out
        theirs = {"Optuna": figures["optuna"], "Ray Tune": figures["ray"]["command"]}
    beside = [f"{name} {found['answer']['median_ms']:.1f}" for name, found in theirs.items()]
    yield (
        "ms from a report to its answer, local",
        f"{answer['median_ms']:.1f}",
        ", ".join(beside),
        aim,
    )
    what = "ms from a trial's last report to the next trial's first line, local"
    beside = [f"{name} {found['handover']['median_ms']:.0f}" for name, found in theirs.items()]
    beside = [f"without a tuner {bare['median_ms']:.0f}", *beside]
    yield what, f"{after['median_ms']:.0f}", ", ".join(beside), f"{aim} more"


_SUMMARIES: Final[Mapping[str, Callable[[Any], Iterator[Row]]]] = {
    "simulator_throughput": _throughput,
    "study_speed": _study,
    "gp_latency": _latency,
    "optimizer_quality": _quality,
    "study_quality": _study_quality,
    "local_overhead": _overhead,
}


def _throughput_tables(rows: Sequence[Figures]) -> Iterator[str]:
    cells = [
        [
            row["method"],
            f"{row['n_workers']:,}",
            f"{row['reports']:,}",
            f"{row['reports_per_second']:,.0f}",
            f"{row['peak_rss_mib']:,.0f}",
        ]
        for row in rows
    ]
    yield table(["method", "workers", "reports", "reports a second", "peak MiB"], cells)


_PAGES: Final[Mapping[str, tuple[str, Callable[[Any], Iterator[str]]]]] = {
    "simulator_throughput": ("Throughput of the simulator", _throughput_tables),
    "study_speed": ("Time for the whole study", lambda f: iter([study_speed.show(f["rows"])])),
    "gp_latency": (
        "Milliseconds of the processor a proposal",
        lambda f: iter([gp_latency.show(f["rows"])]),
    ),
    "optimizer_quality": (
        "Quality at equal evaluations",
        lambda f: optimizer_quality.show(f["rows"]),
    ),
    "study_quality": (
        "Quality at equal simulated time",
        lambda f: study_quality.show(f["rows"], f["ratios"]),
    ),
    "model_choices": (
        "What the choices within BO and MOBSTER are worth",
        lambda f: model_choices.show(f["rows"]),
    ),
    "local_overhead": ("What the local backend adds to training", local_overhead.show),
}

_INTRODUCTION: Final = """Made by `python -m benchmarks.figures` of the files in
`benchmarks/measured/`, which the scripts in `benchmarks/` write with `--json`. Each script says
at its top what it measures and how.
"""


def page(measured: Figures) -> str:
    """Return the page of all tables."""
    parts = ["# What was measured\n", _INTRODUCTION]
    for name, (title, tables) in _PAGES.items():
        if name in measured:
            parts += [f"## {title}\n", f"`python -m benchmarks.{name}`\n"]
            parts += [text.rstrip("\n") + "\n" for text in tables(measured[name])]
    return "\n".join(parts)


def replaced(text: str, between: str) -> str:
    """Return `text` with what stands between the marks replaced.

    Raises:
        ValueError: If it does not have both marks, in their order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text must have the marks {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{between}\n\n{END}{tail}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if any is stale")
    arguments = parser.parse_args()
    measured = read()
    wanted = {README: replaced(README.read_text(), summary(measured)), PAGE: page(measured)}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not arguments.check:
            path.write_text(wanted[path])
        print(f"{'stale' if arguments.check else 'wrote'}: {path.relative_to(ROOT)}")
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
