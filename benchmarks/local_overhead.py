"""What the local backend adds to training: from a report to its answer, from a trial to the next.

The training script writes down when its first line ran, when it called each report and when it was
answered. Beside it the same script is run by nothing but a loop that starts the next process when
the last one is over, so that the difference is what tuning costs, and, where `make peers` has set
them up, by processes of Optuna that share a journal and by Ray Tune. Of Ray Tune there are also
figures of the same training inside its actors: kept from trial to trial, for which no process is
started, and fresh, one a trial, which take so long to start that there are few of them. A search
that keeps the interpreter busy for two seconds a proposal shows whether reports wait for proposals.

    python -m benchmarks.local_overhead [--trials N] [--many N] [--json FILE]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.local_peers import OPTUNA, RAY, installed, run_optuna, run_ray
from benchmarks.local_timing import (
    Times,
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
# Inside Ray Tune's fresh actors, each of which takes seconds to start.
_FRESH_TRIALS: Final = 12
# By the ways of `ray_local`; the first is how the other tuners are used.
_RAY_WAYS: Final = {
    "command": "under Ray Tune",
    "kept": "inside Ray Tune's kept actors",
    "fresh": "inside Ray Tune's fresh actors",
}
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
    if installed(OPTUNA):
        figures["optuna"] = _of_peer(run_optuna, one) | _of_short(run_optuna)
    if installed(RAY):
        few = one._replace(trials=min(trials, _FRESH_TRIALS))
        command, kept, fresh = (partial(run_ray, way=way) for way in _RAY_WAYS)
        figures["ray"] = {
            "command": _of_peer(command, one) | _of_short(command),
            "kept": _of_peer(kept, one) | _of_short(kept),
            "fresh": _of_peer(fresh, few),
        }
    return figures


def _of_peer(run: Callable[[Work, Path], list[float]], work: Work) -> dict[str, Any]:
    times, decided = _timed(work, run)
    return {"handover": summary(times.handovers()), "answer": summary(decided)}


def _of_short(run: Callable[[Work, Path], list[float]]) -> dict[str, Any]:
    return {"short_seconds": _timed(_SHORT, run)[0].span()}


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
        ("what asynctune's is beyond no tuner", beyond, f"{figures['target_ms']:.0f}"),
        ("report() to its answer", figures["answer"], f"{figures['target_ms']:.0f}"),
        (
            f"the same while a proposal keeps Python busy for {_PROPOSAL_SECONDS:.0f} s",
            figures["answer_while_proposing"],
            f"{figures['target_ms']:.0f}",
        ),
    ]
    theirs = dict(_peers(figures))
    said[2:2] = [(f"the same {where}", found["handover"], "") for where, found in theirs.items()]
    said += [(f"report() to its answer {where}", f["answer"], "") for where, f in theirs.items()]
    rows = [
        [what, f"{f['median_ms']:.1f}", f"{f['p95_ms']:.1f}", str(f.get("n", "")), aim]
        for what, f, aim in said
    ]
    yield table(["milliseconds", "median", "95 %", "n", "at most"], rows) + "\n"
    short = figures["short_trials"]
    spans = [f"without a tuner {short['bare_seconds']:.1f} s"] + [
        f"{where} {found['short_seconds']:.1f} s"
        for where, found in theirs.items()
        if "short_seconds" in found
    ]
    yield (
        f"{short['trials']} trials of 1 ms on {short['workers']} workers: "
        f"{short['seconds']:.1f} s, {', '.join(spans)}\n"
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


def _peers(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield where other tuners' trials ran, and their figures."""
    if "optuna" in figures:
        yield "under Optuna", figures["optuna"]
    for way, where in _RAY_WAYS.items():
        if way in figures.get("ray", {}):
            yield where, figures["ray"][way]


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
