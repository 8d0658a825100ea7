"""What the local backend adds to training: from a report to its answer, from a trial to the next.

The training script writes down when its first line ran, when it called each report and when it was
answered. Beside it the same script is run by nothing but a loop that starts the next process when
the last one is over, so that the difference is what tuning costs. A search that keeps the
interpreter busy for two seconds a proposal shows whether reports wait for proposals.

    python -m benchmarks.local_overhead [--trials N] [--many N] [--json FILE]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.local_timing import (
    Work,
    read_times,
    run_asynctune,
    run_bare,
    run_many,
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
    bare, _ = _in_folder(lambda folder: run_bare(one, folder))
    tuned, _ = _in_folder(lambda folder: run_asynctune(one, folder, folder.parent / "experiment"))
    slow = Work(trials=6, workers=3, levels=200, seconds=0.02)
    with tempfile.TemporaryDirectory() as scratch:
        times = _times_in(scratch)
        waits = waits_during_proposals(slow, _PROPOSAL_SECONDS, Path(scratch) / "experiment", times)
    _, short_bare = _in_folder(lambda folder: run_bare(_SHORT, folder))
    _, short_tuned = _in_folder(
        lambda folder: run_asynctune(_SHORT, folder, folder.parent / "experiment")
    )
    return {
        "handover_bare": summary(bare.handovers()),
        "handover": summary(tuned.handovers()),
        "answer": summary(tuned.waited),
        "answer_while_proposing": summary(waits),
        "short_trials": {
            "trials": _SHORT.trials,
            "workers": _SHORT.workers,
            "bare_seconds": short_bare,
            "seconds": short_tuned,
        },
        "target_ms": TARGET_MS,
    }


def _in_folder(run: Callable[[Path], float]) -> tuple[Any, float]:
    """Run in a folder for the processes' times; return them and what `run` returns."""
    with tempfile.TemporaryDirectory() as scratch:
        times = _times_in(scratch)
        seconds = run(times)
        return read_times(times), seconds


def _times_in(scratch: str) -> Path:
    folder = Path(scratch) / "times"
    folder.mkdir()
    return folder


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
    rows = [
        [what, f"{f['median_ms']:.1f}", f"{f['p95_ms']:.1f}", str(f.get("n", "")), aim]
        for what, f, aim in said
    ]
    yield table(["milliseconds", "median", "95 %", "n", "at most"], rows) + "\n"
    short = figures["short_trials"]
    yield (
        f"{short['trials']} trials of 1 ms on {short['workers']} workers: "
        f"{short['seconds']:.1f} s, without a tuner {short['bare_seconds']:.1f} s\n"
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
