"""What methods find in equal simulated time: ours, Syne Tune's and Optuna's, on one blackbox.

Syne Tune runs in its own simulator, on the curves of our blackbox; Optuna, with its Hyperband
pruner, under a virtual clock of the same rules. A start or resume takes 240 s everywhere, as
with training jobs at SageMaker. Stopping takes no time: Syne Tune's simulator lets the whole
tuner wait for a trial to stop, which is not compared here. Neither does deciding.

Ours with "restarts" gives up what Syne Tune cannot do: a promoted trial that goes on at once
without a new start.

    python -m benchmarks.study_quality [--quick] [--workers N ...] [--seeds N] [--seconds S]
        [--methods NAME ...] [--show] [--json FILE]
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from asynctune.aggregate import Run, best_so_far, iqm, iqm_band, reach, run_losses
from asynctune.experiment import scheduler_seed
from asynctune.study import StudyPlan
from benchmarks.peers import virtual
from benchmarks.peers.cache import CACHE, answers_of, cached, code_of
from benchmarks.peers.problems import PROBLEMS, TRANSFORMER_SPACE
from benchmarks.peers.process import PEERS, Peer, PeerError, find_peers, process_of, running
from benchmarks.peers.report import table, write_json
from benchmarks.peers.space import Config
from benchmarks.simulated import finished

FOLDER: Final = CACHE / "study_quality"
RANDOM_SEED: Final = 2938702734
STARTUP: Final = 240.0
LOSSES: Final = (5.5, 5.3)
METHODS: Final = ("RS", "BO", "ASHA", "MOBSTER", "TPE", "GP")
_EPOCHS: Final = 40
_TARGET: Final = 0.7
_BENCHMARK: Final = "transformer_wikitext2"
OURS, RESTARTS, SYNE_TUNE, OPTUNA = "asynctune", "asynctune, restarts", "Syne Tune", "Optuna"


class Setup(NamedTuple):
    """Who runs which method with how many workers."""

    system: str
    method: str
    n_workers: int


class Plan(NamedTuple):
    """What is to be compared.

    Attributes:
        methods: Names of methods.
        n_workers: Numbers of workers.
        n_seeds: How many seeds.
        seconds: Virtual seconds of an experiment.
        host_seconds: How long new experiments of peers may be started; None: until all are done.
    """

    methods: tuple[str, ...]
    n_workers: tuple[int, ...]
    n_seeds: int
    seconds: float
    host_seconds: float | None


Runs = dict[Setup, tuple[Run, ...]]


def our_runs(plan: Plan) -> Runs:
    """Return the runs of our methods."""
    found: Runs = {}
    named = [m for m in plan.methods if m in ("RS", "BO", "ASHA", "MOBSTER")]
    found |= _our_study(plan, OURS, [*named, "OneEpoch"], {})
    halving = [m for m in named if m in ("ASHA", "MOBSTER")]
    if halving:
        found |= _our_study(plan, RESTARTS, halving, {"continue_in_place": False})
    return found


def _our_study(plan: Plan, system: str, methods: Sequence[str], options: Mapping[str, Any]) -> Runs:
    study = StudyPlan(
        tag="quality",
        benchmark=_BENCHMARK,
        random_seed=RANDOM_SEED,
        methods=methods,
        n_workers=plan.n_workers,
        num_seeds=plan.n_seeds,
        max_wallclock_time=plan.seconds,
        backend_options={"stop_delay": 0.0},
        method_options=options,
    )
    with finished(study) as (results, _):
        runs = results.runs
        return {Setup(system, s.method, s.n_workers): of_setup for s, of_setup in runs.items()}


@cache
def _blackbox() -> Any:  # noqa: ANN401 - a blackbox
    from sims.transformer_wikitext2 import load_blackbox

    return load_blackbox()


def curve_of(config: Config, seed: int) -> virtual.Curve:
    """Return the learning curve of a config."""
    from sims.transformer_wikitext2 import FIXED

    tuned = {p.name: config[p.name] for p in TRANSFORMER_SPACE}
    curve = _blackbox().curve({**FIXED, **tuned}, seed)
    return virtual.Curve(curve.values["val_loss"].tolist(), curve.seconds.tolist())


def training_seed(seed: int, trial: int) -> int:
    """Return the seed that a trial trains with, as in our simulator."""
    return (scheduler_seed(RANDOM_SEED, seed) + trial) % (2**31 - 1)


def run_syne_tune(peer: Peer, method: str, key: Mapping[str, Any]) -> dict[str, Any]:
    """Run an experiment in Syne Tune's simulator."""
    request = {
        "method": method,
        "parameters": [p._asdict() for p in TRANSFORMER_SPACE],
        "seed": scheduler_seed(RANDOM_SEED, key["seed"]),
        "max_resource": _EPOCHS,
        "startup_delay": STARTUP,
        "seconds": key["seconds"],
        "n_workers": key["n_workers"],
    }
    trials: dict[str, int] = {}
    with process_of(peer, "syne_tune_study") as process:
        answer = process.request(request)
        while "curve" in answer:
            config = answer["curve"]
            tuned = repr([config[p.name] for p in TRANSFORMER_SPACE])
            trial = trials.setdefault(tuned, len(trials))
            curve = curve_of(config, training_seed(key["seed"], trial))
            answer = process.request(curve._asdict())
    return {**answer, "n_trials": len(trials)}


def run_optuna(peer: Peer, method: str, key: Mapping[str, Any]) -> dict[str, Any]:
    """Run an experiment of Optuna under a virtual clock."""
    del method  # the peer knows
    seed = scheduler_seed(RANDOM_SEED, key["seed"])
    with running(peer, TRANSFORMER_SPACE, seed=seed, max_resource=_EPOCHS) as process:
        reports = virtual.simulate(
            process,
            lambda config, number: curve_of(config, training_seed(key["seed"], number)),
            n_workers=key["n_workers"],
            seconds=key["seconds"],
            startup_delay=STARTUP,
        )
    return {"reports": reports}


_PEERS: Final[dict[str, tuple[str, str, Callable[..., dict[str, Any]]]]] = {
    "RS": (SYNE_TUNE, "Syne Tune BO", run_syne_tune),
    "BO": (SYNE_TUNE, "Syne Tune BO", run_syne_tune),
    "ASHA": (SYNE_TUNE, "Syne Tune MOBSTER", run_syne_tune),
    "MOBSTER": (SYNE_TUNE, "Syne Tune MOBSTER", run_syne_tune),
    "TPE": (OPTUNA, "Optuna TPE", run_optuna),
    "GP": (OPTUNA, "Optuna GP", run_optuna),
}


def peer_runs(plan: Plan) -> Runs:
    """Return the runs of peers that are there or can be had in time."""
    begin = time.monotonic()
    answers = answers_of(PROBLEMS[_BENCHMARK])
    installed = {p.name for p in find_peers(sorted({_PEERS[m][1] for m in plan.methods}))}
    found: dict[Setup, list[Run]] = {}
    for seed, n_workers, method in product(range(plan.n_seeds), plan.n_workers, plan.methods):
        system, name, simulate = _PEERS[method]
        if name not in installed:
            continue
        peer = PEERS[name]
        key = {
            "peer": f"{system} {method}",
            "problem": _BENCHMARK,
            "n_workers": n_workers,
            "seed": seed,
            "seconds": plan.seconds,
            "startup": STARTUP,
            "code": code_of(peer),
            "answers": answers,
        }
        late = plan.host_seconds is not None and time.monotonic() - begin >= plan.host_seconds
        try:
            compute = None if late else partial(_told, simulate, peer, method, key)
            result = cached(FOLDER, key, compute)
        except PeerError as error:
            print(f"{system} {method}, {n_workers} workers, seed {seed}: {error}", file=sys.stderr)
            continue
        if result is not None:
            setup = Setup(system, method, n_workers)
            found.setdefault(setup, []).append(as_run(seed, result["reports"], plan.seconds))
    return {setup: tuple(runs) for setup, runs in found.items()}


def _told(
    simulate: Callable[..., dict[str, Any]], peer: Peer, method: str, key: Mapping[str, Any]
) -> dict[str, Any]:
    begin = time.monotonic()
    result = simulate(peer, method, key)
    best = min(loss for _, loss in result["reports"])
    taken = time.monotonic() - begin
    line = f"{key['peer']}, {key['n_workers']} workers, seed {key['seed']}: {best:.4f}"
    print(f"{line} in {taken:.0f} s", file=sys.stderr, flush=True)
    return result


def as_run(seed: int, reports: Sequence[Sequence[float]], seconds: float) -> Run:
    """Return what the statistics need of an experiment, from (seconds, loss) of its reports."""
    within = np.array([r for r in reports if r[0] <= seconds], dtype=np.float64).reshape(-1, 2)
    first = float(within[:, 0].min()) if len(within) else 0.0
    return Run(seed, first, seconds, best_so_far(within[:, 0], within[:, 1]))


def figures(runs: Runs, seconds: float) -> list[dict[str, Any]]:
    """Return for each setup what the table shows."""
    rows = []
    for setup, of_setup in sorted(runs.items(), key=lambda item: (item[0].n_workers, item[0])):
        finals = run_losses(of_setup, seconds)
        low, high = iqm_band(finals[:, None])
        row: dict[str, Any] = {**setup._asdict(), "n_seeds": len(of_setup)}
        row |= {"final": float(iqm(finals)), "low": float(low[0]), "high": float(high[0])}
        for loss in LOSSES:
            reached = reach(of_setup, loss)
            row[f"to_{loss}"] = reached.median if isfinite(reached.median) else None
            row[f"reached_{loss}"] = reached.reached
        rows.append(row)
    return rows


def ratios(rows: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Return our time to each loss over Syne Tune's with the same method and workers.

    Where theirs never gets there, the ratio is an upper bound, by the end of the experiment;
    where ours does not, a lower one.
    """
    by_setup = {Setup(row["system"], row["method"], row["n_workers"]): row for row in rows}
    found = []
    for setup, own in by_setup.items():
        theirs = by_setup.get(setup._replace(system=SYNE_TUNE))
        if setup.system not in (OURS, RESTARTS) or theirs is None:
            continue
        row: dict[str, Any] = {**setup._asdict(), "final": own["final"] - theirs["final"]}
        for loss in LOSSES:
            a, b = own[f"to_{loss}"], theirs[f"to_{loss}"]
            known = None if a is None and b is None else (a or seconds) / (b or seconds)
            bound = "" if (a is None) == (b is None) else "<" if b is None else ">"
            row |= {f"ratio_{loss}": known, f"bound_{loss}": bound}
        found.append(row)
    return found


def show(rows: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the tables."""
    header = ["system", "method", "workers", "seeds", "final loss, IQM and 95 % band"]
    header += [f"s to {loss}" for loss in LOSSES]
    yield table(header, [_cells(row) for row in rows]) + "\n"
    header = ["ours over Syne Tune's", "method", "workers", "final loss less by"]
    header += [f"time to {loss}" for loss in LOSSES]
    yield table([*header, "MOBSTER's target"], [_ratio_cells(row) for row in compared]) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    times = []
    for loss in LOSSES:
        median, n = row[f"to_{loss}"], row[f"reached_{loss}"]
        times.append(f"{'never' if median is None else f'{median:,.0f}'} ({n}/{row['n_seeds']})")
    final = f"{row['final']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    return [row["system"], row["method"], str(row["n_workers"]), str(row["n_seeds"]), final, *times]


def _ratio_cells(row: Mapping[str, Any]) -> list[str]:
    shown = []
    for loss in LOSSES:
        ratio = row[f"ratio_{loss}"]
        shown.append("" if ratio is None else f"{row[f'bound_{loss}']}{ratio:.2f}")
    cells = [row["system"], row["method"], str(row["n_workers"]), f"{-row['final']:.3f}", *shown]
    return [*cells, judged(row) if row["method"] == "MOBSTER" else ""]


def judged(row: Mapping[str, Any]) -> str:
    """Return whether a row of ratios is what MOBSTER is to reach: "met", "missed" or "open"."""
    known = [(row[f"ratio_{loss}"], row[f"bound_{loss}"]) for loss in LOSSES]
    missed = [bound == ">" or ((ratio or 0.0) > _TARGET and bound == "") for ratio, bound in known]
    if row["final"] > 0 or any(missed):
        return "missed"
    return "met" if all(ratio is not None and ratio <= _TARGET for ratio, _ in known) else "open"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, 4 workers, 6,000 s")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="start none after so many seconds")
    parser.add_argument("--show", action="store_true", help="run no peer, show what is there")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    plan = Plan(
        methods=tuple(arguments.methods),
        n_workers=(4,) if arguments.quick else tuple(arguments.workers),
        n_seeds=1 if arguments.quick else arguments.seeds,
        seconds=6_000.0 if arguments.quick else 18_000.0,
        host_seconds=0.0 if arguments.show else arguments.seconds,
    )
    rows = figures({**our_runs(plan), **peer_runs(plan)}, plan.seconds)
    compared = ratios(rows, plan.seconds)
    for text in show(rows, compared):
        print(text)
    write_json(arguments.json, {"rows": rows, "ratios": compared, "seconds": plan.seconds})


if __name__ == "__main__":
    main()
