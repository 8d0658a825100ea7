"""How long the whole study takes: four methods, 2, 4 and 8 workers, five seeds, in two processes.

All as `make demo` runs it, from nothing to the tables of results; the figures of proposals are
read from the journals. What a proposal costs is taken as the time of an experiment over its
proposals, its simulation included, which by itself is what RS and ASHA take.

    python -m benchmarks.study_speed [--quick] [--jobs N] [--json FILE]
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from asynctune.experiment import JOURNAL, read_metadata
from asynctune.journal import read_lines
from asynctune.methods import REFERENCE_METHODS
from asynctune.study import StudyPlan, open_study, run_experiments
from benchmarks.peers.report import table, write_json

RANDOM_SEED: Final = 2938702734
TARGET: Final = 120.0
GOAL: Final = 60.0


class Experiment(NamedTuple):
    """What one experiment took.

    Attributes:
        method: Name of the method.
        n_workers: Number of workers.
        seconds: Seconds of the host.
        reports: Reports of trials.
        proposals: Proposals of a model.
        observations: Observations that proposals of a model were made from, summed over them.
        refits: How often a model was fitted.
    """

    method: str
    n_workers: int
    seconds: float
    reports: int
    proposals: int
    observations: int
    refits: int


def read_experiment(folder: Path) -> Experiment:
    """Return what the experiment in `folder` took."""
    metadata = read_metadata(folder)
    if metadata is None:
        raise FileNotFoundError(f"{folder} holds no experiment")
    modelled = [line for line in read_lines(folder / JOURNAL) if line.get("origin") == "model"]
    fits = [line["fit"]["observations"] for line in modelled]
    return Experiment(
        metadata["method"],
        metadata["n_workers"],
        sum(metadata["host_seconds"].values()),
        metadata["n_reports"],
        len(modelled),
        sum(line["seen"] for line in modelled),
        bool(fits) + sum(a != b for a, b in pairwise(fits)),
    )


def figures(experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Return for each method and number of workers, and each method, what the table shows."""
    setups = sorted({(e.method, e.n_workers) for e in experiments}, key=_order)
    groups = [[e for e in experiments if (e.method, e.n_workers) == s] for s in setups]
    totals = [
        [e for e in experiments if e.method == m] for m in dict.fromkeys(m for m, _ in setups)
    ]
    rows = []
    for group in (*groups, *totals):
        proposals = sum(e.proposals for e in group)
        seconds = sum(e.seconds for e in group)
        counts = {e.n_workers for e in group}
        rows.append(
            {
                "method": group[0].method,
                "n_workers": counts.pop() if len(counts) == 1 else None,
                "experiments": len(group),
                "seconds": seconds,
                "reports": sum(e.reports for e in group),
                "proposals": proposals,
                "mean_observations": _share(sum(e.observations for e in group), proposals),
                "refits": sum(e.refits for e in group),
                "ms_a_proposal": _share(1e3 * seconds, proposals),
            }
        )
    return rows


def _order(setup: tuple[str, int]) -> tuple[int, int]:
    return REFERENCE_METHODS.index(setup[0]), setup[1]


def _share(total: float, n: int) -> float | None:
    return total / n if n else None


def show(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table."""
    header = ["method", "workers", "experiments", "seconds", "reports", "proposals"]
    header += ["mean observations", "refits", "ms a proposal"]
    return table(header, [list(_cells(row)) for row in rows])


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    yield row["method"]
    yield "all" if row["n_workers"] is None else str(row["n_workers"])
    yield str(row["experiments"])
    yield f"{row['seconds']:.1f}"
    yield f"{row['reports']:,}"
    for name, form in (("proposals", ",d"), ("mean_observations", ".0f"), ("refits", ",d")):
        yield format(row[name], form) if row["proposals"] else ""
    yield "" if row["ms_a_proposal"] is None else f"{row['ms_a_proposal']:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    plan = StudyPlan(
        tag="speed",
        benchmark="transformer_wikitext2",
        random_seed=RANDOM_SEED,
        n_workers=(2, 4, 8),
        num_seeds=1 if arguments.quick else 5,
        scale_max_wallclock_time=True,
    )
    with tempfile.TemporaryDirectory() as results:
        todo = open_study(plan, Path(results))
        folder = Path(results) / plan.tag
        begin = time.perf_counter()
        run_experiments(todo, folder, jobs=arguments.jobs, progress=lambda *_: None)
        seconds = time.perf_counter() - begin
        experiments = [read_experiment(folder / e.name) for e in todo]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    rows = figures(experiments)
    print(show(rows))
    said = f"{len(experiments)} experiments in {seconds:.1f} s ({cpu:.1f} s of the processor)"
    print(f"\n{said} with {arguments.jobs} processes; target {TARGET:.0f} s, goal {GOAL:.0f} s")
    total = {"seconds": seconds, "cpu_seconds": cpu, "jobs": arguments.jobs, "target": TARGET}
    write_json(arguments.json, {**total, "rows": rows})


if __name__ == "__main__":
    main()
