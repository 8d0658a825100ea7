"""Run one experiment for real and simulated, and compare what is decided.

    python -m benchmarks.local_fidelity --n-workers 2 --epoch-seconds 1.0 --seeds 3

A script that sleeps is tuned on this machine, and its learning curves are replayed under
virtual time, with the start-up delay that was measured here. Where an epoch takes an order of
magnitude longer than a start varies, both must go the same way: the same trials, the same
configs, and the same decision on every report. The real journal is then replayed, which
must give the same decisions whatever the timing was.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from asynctune import Benchmark, Experiment, Script, StoppingCriterion, uniform
from asynctune.experiment import JOURNAL, replay_experiment, run_experiment
from asynctune.methods import METHODS
from sims.blackbox import Curve

LEVELS: Final = 9
# Each report comes when its epoch is over, counted from where the attempt began.
_TRAINING: Final = """
import argparse, time
from asynctune import checkpoint_dir, report
began = time.monotonic()
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--scale", type=float)
given = parser.parse_args()
done = checkpoint_dir() / "epoch"
first = int(done.read_text()) if done.exists() else 0
for epoch in range(first + 1, 10):
    due = began + (epoch - first) * given.scale * (0.5 + given.x)
    time.sleep(max(0.0, due - time.monotonic()))
    done.write_text(str(epoch))
    if report(epoch=epoch, loss=(given.x - 0.3) ** 2 + 1 / epoch):
        break
"""


def seconds(x: float, scale: float) -> float:
    """Return the seconds of an epoch, which differ between configs up to threefold."""
    return scale * (0.5 + x)


class Landscape:
    """The same as learning curves."""

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """Return what training the config gives."""
        del seed
        epochs = np.arange(1.0, LEVELS + 1)
        values = (config["x"] - 0.3) ** 2 + 1 / epochs
        return Curve({"loss": values}, seconds(config["x"], config["scale"]) * epochs)


class Course(NamedTuple):
    """What is run: a method with a seed, on so many workers, for so many trials."""

    method: str
    n_workers: int
    seed: int
    trials: int
    scale: float


def experiment(course: Course, script: Path, backend: str, **options: float) -> Experiment:
    benchmark = Benchmark(
        name="sleeping",
        space={"x": uniform(0.0, 1.0), "scale": course.scale},
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=LEVELS,
        max_wallclock_time=1e5,
        n_workers=course.n_workers,
        instance_types={"local": "ml.g4dn.xlarge"},
        blackbox=Landscape,
        trainable=Script(path=script),
    )
    return Experiment(
        tag="fidelity",
        method=course.method,
        benchmark=benchmark,
        n_workers=course.n_workers,
        seed=course.seed,
        scheduler_seed=course.seed,
        backend=backend,
        backend_options=options,
        profile="local",
        lookahead=0,
        stopping=StoppingCriterion(max_trials=course.trials),
    )


def facts(lines: list[dict[str, Any]]) -> dict[int, list[Any]]:
    """Return of each trial its config, its starts, and its reports with their decisions.

    A decision comes with its rung's entries and cut-off, so that trials which met in another
    order differ; what happens to one beside the other may change places.
    """
    found: dict[int, list[Any]] = {}
    for line in lines:
        match line["event"]:
            case "proposal_ready":
                found.setdefault(line["k"], []).append(line["config"])
            case "start":
                found[line["trial"]].append((line["attempt"], line["from"], line["until"]))
            case "report":
                report = line["resource"], line["metrics"], line.get("decision"), line.get("rung")
                found[line["trial"]].append(report)
    return found


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / JOURNAL).read_text(encoding="utf-8").splitlines()[1:]]


def start_delays(lines: list[dict[str, Any]], scale: float) -> list[float]:
    """Return the seconds from each start command until its training began."""
    configs = {e["k"]: e["config"] for e in lines if e["event"] == "proposal_ready"}
    begun: dict[int, float] = {}
    found = []
    for e in lines:
        if e["event"] == "start":
            begun[e["trial"]] = e["t"]
        elif e["event"] == "report" and e["index"] == 0:
            epoch = seconds(configs[e["trial"]]["x"], scale)
            found.append(e["t"] - begun[e["trial"]] - epoch)
    return found


def compare(folder: Path, course: Course) -> str:
    """Run both and return how they compare, one line."""
    script = folder / "train.py"
    script.write_text(_TRAINING, encoding="utf-8")
    real = experiment(course, script, "local")
    run_experiment(real, folder / "real")
    lines = lines_of(folder / "real")
    replay_experiment(real, folder / "real")  # raises if any decision would be another
    delays = start_delays(lines, course.scale)
    delay = float(np.median(delays))
    simulated = experiment(course, script, "simulated", startup_delay=delay, stop_delay=0.02)
    run_experiment(simulated, folder / "simulated")
    one, other = facts(lines), facts(lines_of(folder / "simulated"))
    count = sum(map(len, one.values()))
    other_ones = [k for k in sorted({*one, *other}) if one.get(k) != other.get(k)]
    verdict = f"trials {other_ones} differ" if other_ones else f"the same {count} facts"
    low, high = min(delays) * 1e3, max(delays) * 1e3
    which = f"{course.method}, {course.n_workers} workers, seed {course.seed}"
    return f"{which}: {verdict}; starts took {low:.0f} to {high:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--method", choices=METHODS, default="ASHA")
    parser.add_argument("--n-workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epoch-seconds", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    different = 0
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            course = Course(given.method, given.n_workers, seed, given.trials, given.epoch_seconds)
            line = compare(Path(folder), course)
        print(line, flush=True)
        different += "the same" not in line
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
