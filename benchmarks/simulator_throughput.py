"""Reports a second of the simulator, journal included, for RS and ASHA.

Each case runs in a process of its own, one after the other, on one core. The blackbox is a
closed form that costs little, so that what is measured is the tuner's loop, the scheduler, the
simulated backend and the journal.

    python -m benchmarks.simulator_throughput [--reports 1000000] [--json FILE]
"""

import argparse
import json
import math
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynctune.benchmark import Benchmark
from asynctune.experiment import Experiment, run_experiment
from asynctune.processes import one_thread_each
from asynctune.space import loguniform, uniform
from asynctune.stopping import StoppingCriterion

LEVELS = 81
CASES = [(method, n) for method in ("RS", "ASHA") for n in (8, 1_000, 10_000)]
_EPOCHS = np.arange(1.0, LEVELS + 1)
# Of power laws from slow to fast: what a benchmark's blackbox costs is not what is measured here.
_SHAPES = 4.0 * _EPOCHS ** np.linspace(-0.3, -0.7, 256)[:, None]


def curve(config: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a power-law learning curve and epochs of 20 to 60 seconds."""
    distance = abs(math.log10(config["lr"]) + 3) / 3 + config["dropout"]
    values = _SHAPES[int(config["momentum"] * (len(_SHAPES) - 1))] + (1.0 + distance)
    return values, _EPOCHS * (20.0 + 40.0 * config["width"])


def benchmark() -> Benchmark:
    """Return the closed form as a benchmark."""
    return Benchmark(
        name="closed_form",
        space={
            "lr": loguniform(1e-6, 1.0),
            "dropout": uniform(0, 1),
            "momentum": uniform(0, 1),
            "width": uniform(0, 1),
            "clip": uniform(0, 1),
        },
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=LEVELS,
        max_wallclock_time=1e9,
        n_workers=8,
        blackbox=lambda: curve,
    )


def measure(method: str, n_workers: int, reports: int) -> dict[str, Any]:
    """Run one experiment that ends after `reports` reports, and say how fast it was."""
    experiment = Experiment(
        tag="throughput",
        method=method,
        benchmark=benchmark(),
        n_workers=n_workers,
        seed=0,
        scheduler_seed=0,
        profile="local",
        backend_options={"prices": {}},
        stopping=StoppingCriterion(max_evaluations=reports),
    )
    with tempfile.TemporaryDirectory() as folder:
        metadata = run_experiment(experiment, Path(folder) / "experiment")
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20
    return {
        "method": method,
        "n_workers": n_workers,
        "reports": metadata["n_reports"],
        "reports_per_second": metadata["n_reports"] / metadata["host_seconds"]["loop"],
        "peak_rss_mib": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    print(f"{'method':8}{'workers':>9}{'reports':>11}{'reports/s':>11}{'peak MiB':>10}")
    for method, n_workers in CASES:
        with one_thread_each(), context.Pool(1) as pool:
            row = pool.apply(measure, (method, n_workers, arguments.reports))
        rows.append(row)
        print(
            f"{method:8}{n_workers:9,}{row['reports']:11,}{row['reports_per_second']:11,.0f}"
            f"{row['peak_rss_mib']:10,.0f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
