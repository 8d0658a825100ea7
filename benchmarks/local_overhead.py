"""What the local backend adds to training: from a report to its answer, from a trial to the next.

The training script writes down when its first line ran, when it called each report and when it was
answered. Beside it the same script is run by nothing but a loop that starts the next process when
the last one is over, so that the difference is what tuning costs, and by processes of Optuna that
share a journal, if `make peers` has set it up. A search that keeps the interpreter busy for two
seconds a proposal shows whether reports wait for proposals.

    python -m benchmarks.local_overhead [--trials N] [--many N] [--json FILE]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.local_timing import (
    Times,
    Work,
    optuna_installed,
    read_times,
    run_asynctune,
    run_bare,
    run_many,
    run_optuna,
    summary,
    waits_during_proposals,
)
from benchmarks.peers.report import table, write_json

TARGET_MS: Final = 20.0
_PROPOSAL_SECONDS: Final = 2.0
_SHORT: Final = Work(trials=64, workers=2, levels=1, seconds=0.001)


def measure(trials: int) -> dict[str, Any]:
    """Return the figures of short experiments, by what they are of."""
    one = Work(trials=trials, workers=1, levels=3, seconds=0.02)
    bare, _ = _timed(one, run_bare)
    tuned, _ = _timed(one, _run_asynctune)
    slow = Work(trials=6, workers=3, levels=200, seconds=0.02)
    _, waits = _timed(slow, _run_with_slow_proposals)
    figures = {
        "handover_bare": summary(bare.handovers()),
        "handover": summary(tuned.handovers()),
        "answer": summary(tuned.waited),
        "answer_while_proposing": summary(waits),
        "short_trials": {
            "trials": _SHORT.trials,
            "workers": _SHORT.workers,
            "bare_seconds": _timed(_SHORT, run_bare)[0].span(),
            "seconds": _timed(_SHORT, _run_asynctune)[0].span(),
        },
        "target_ms": TARGET_MS,
    }
    if optuna_installed():
        theirs, decided = _timed(one, run_optuna)
        figures["optuna"] = {
            "handover": summary(theirs.handovers()),
            "answer": summary(decided),
            "short_seconds": _timed(_SHORT, run_optuna)[0].span(),
        }
    return figures


def _run_asynctune(work: Work, times: Path) -> None:
    run_asynctune(work, times, times.parent / "experiment")


def _run_with_slow_proposals(work: Work, times: Path) -> list[float]:
    experiment = times.parent / "experiment"
    return waits_during_proposals(work, _PROPOSAL_SECONDS, experiment, times)


def _timed(work: Work, run: Callable[[Work, Path], Any]) -> tuple[Times, Any]:
    """Run the work; return what its processes wrote down, and what `run` returns."""
    with tempfile.TemporaryDirectory() as scratch:
        times = Path(scratch) / "times"
        times.mkdir()
        returned = run(work, times)
        return read_times(times), returned


def show(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables."""
    beyond = {
        name: figures["handover"][name] - figures["handover_bare"][name]
        for name in ("median_ms", "p95_ms")
    }
    said = [
        ("last report to the next process's first line, no tuner", figures["handover_bare"], ""),
        ("the same under asynctune", figures["handover"], ""),
        ("what that is beyond no tuner", beyond, f"{figures['target_ms']:.0f}"),
        ("report() to its answer", figures["answer"], f"{figures['target_ms']:.0f}"),
        (
            f"the same while a proposal keeps Python busy for {_PROPOSAL_SECONDS:.0f} s",
            figures["answer_while_proposing"],
            f"{figures['target_ms']:.0f}",
        ),
    ]
    if optuna := figures.get("optuna"):
        said.insert(2, ("the same under Optuna", optuna["handover"], ""))
        said.append(("report() to its answer in Optuna", optuna["answer"], ""))
    rows = [
        [what, f"{f['median_ms']:.1f}", f"{f['p95_ms']:.1f}", str(f.get("n", "")), aim]
        for what, f, aim in said
    ]
    yield table(["milliseconds", "median", "95 %", "n", "at most"], rows) + "\n"
    short = figures["short_trials"]
    yield (
        f"{short['trials']} trials of 1 ms on {short['workers']} workers: "
        f"{short['seconds']:.1f} s, without a tuner {short['bare_seconds']:.1f} s"
        + (f", under Optuna {optuna['short_seconds']:.1f} s" if optuna else "")
        + "\n"
    )
    if "many" in figures:
        rows = [
            [
                f"{row['trials']:,}",
                f"{row['seconds']:.0f}",
                f"{row['cpu_seconds']:.0f}",
                f"{row['rss_mib']:.0f}",
                str(row["descriptors"]),
                f"{row['median_ms']:.1f}",
                f"{row['p95_ms']:.1f}",
            ]
            for row in figures["many"]
        ]
        header = ["trials of a shell", "s", "tuner's CPU s", "MiB", "descriptors"]
        yield table([*header, "ms to the next, median", "95 %"], rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=40, help="of the timed experiments")
    parser.add_argument("--many", type=int, default=0, help="also run so many short trials")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = measure(arguments.trials)
    if arguments.many:
        with tempfile.TemporaryDirectory() as folder:
            every = max(1, arguments.many // 5)
            figures["many"] = run_many(arguments.many, 2, Path(folder), every)
    for text in show(figures):
        print(text)
    write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
