"""What the choices within BO and MOBSTER are worth: each against the default, seed by seed.

Every variant runs the transformer study's experiments in the simulator, with the seeds, configs
to begin with and cluster of the default, so that the differences are paired. Tried are: when the
model is fitted again, what pending configs are taken to be, how learning curves are modelled, and
how many observations are kept. Beside quality stands what a proposal costs.

    python -m benchmarks.model_choices [--quick] [--only TOPIC ...] [--seeds N] [--jobs N]
        [--json FILE]
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.aggregate import Run, losses_at, time_to_reach
from asynctune.experiment import read_metadata
from asynctune.study import StudyPlan
from benchmarks.peers.report import table, write_json
from benchmarks.simulated import finished

RANDOM_SEED: Final = 20_481
LOSSES: Final = (5.5, 5.3)
_BAND: Final = (0.025, 0.975)
_RESAMPLES: Final = 4_000


class Topic(NamedTuple):
    """A choice: a method, the default's options and those of its rivals.

    Attributes:
        name: What is chosen.
        method: Name of the method.
        n_workers: Number of workers.
        seconds: Virtual seconds of an experiment.
        variants: Options of the method by the variant's name; the default comes first.
    """

    name: str
    method: str
    n_workers: int
    seconds: float
    variants: Mapping[str, Mapping[str, Any]]


_GROWTHS: Final = {f"{g:.0%}": {"refit_growth": g} for g in (0.1, 0.0, 0.25, 0.5)}
_PENDING: Final = {rule: {"pending": rule} for rule in ("auto", "believer", "fantasies")}
_KERNELS: Final = {
    kernel: {"resource_kernel": kernel}
    for kernel in (
        "exp-decay-combined",
        "exp-decay-sum",
        "exp-decay-delta1",
        "independent",
        "markov",
    )
}
_CAPS: Final = {str(n): {"max_data": n} for n in (300, 100, 500)}
TOPICS: Final = (
    Topic("refit after growth by", "BO", 4, 18_000.0, _GROWTHS),
    Topic("refit after growth by", "MOBSTER", 4, 18_000.0, _GROWTHS),
    Topic("pending configs", "MOBSTER", 4, 18_000.0, _PENDING),
    Topic("pending configs", "BO", 8, 18_000.0, _PENDING),
    Topic("pending configs", "MOBSTER", 8, 18_000.0, _PENDING),
    Topic("pending configs", "BO", 64, 9_000.0, _PENDING),
    Topic("pending configs", "MOBSTER", 64, 9_000.0, _PENDING),
    Topic("learning curves", "MOBSTER", 2, 18_000.0, _KERNELS),
    Topic("learning curves", "MOBSTER", 8, 18_000.0, _KERNELS),
    Topic("observations kept", "MOBSTER", 8, 36_000.0, _CAPS),
    Topic("observations kept", "MOBSTER", 32, 18_000.0, _CAPS),
)


class Result(NamedTuple):
    """What the experiments of a variant came to, one number a seed.

    Attributes:
        finals: Best loss at the end, shape ``(seeds,)``.
        times: Seconds to each of `LOSSES`, inf where it was not reached, ``(losses, seeds)``.
        ms: Milliseconds of the host a trial, simulation included, shape ``(seeds,)``.
    """

    finals: NDArray[np.float64]
    times: NDArray[np.float64]
    ms: NDArray[np.float64]


def run_variant(topic: Topic, options: Mapping[str, Any], n_seeds: int, jobs: int) -> Result:
    """Run the experiments of a variant."""
    plan = StudyPlan(
        tag="choice",
        benchmark="transformer_wikitext2",
        random_seed=RANDOM_SEED,
        methods=(topic.method,),
        n_workers=(topic.n_workers,),
        num_seeds=n_seeds,
        max_wallclock_time=topic.seconds,
        method_options=options,
    )
    with finished(plan, jobs) as (results, folder):
        (runs,) = results.runs.values()
        metadata = [read_metadata(folder / e.name) for e in plan.experiments()]
    costs = [1e3 * m["host_seconds"]["loop"] / m["n_trials"] for m in metadata if m is not None]
    return _result(sorted(runs, key=lambda run: run.seed), topic.seconds, costs)


def _result(runs: Sequence[Run], seconds: float, costs: Sequence[float]) -> Result:
    end = np.array([seconds])
    finals = np.array([float(losses_at(run.steps, end)[0]) for run in runs])
    times = np.array([[time_to_reach(run, loss) for run in runs] for loss in LOSSES])
    return Result(finals, times, np.array(costs))


def compare(topic: Topic, results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Return for each variant of a topic what the table shows; the first is the default."""
    default = next(iter(results.values()))
    rows = []
    for name, result in results.items():
        row: dict[str, Any] = {
            "topic": topic.name,
            "method": topic.method,
            "n_workers": topic.n_workers,
            "seconds": topic.seconds,
            "variant": name,
            "n_seeds": len(result.finals),
            "final": float(np.median(result.finals)),
            "ms_a_trial": float(np.median(result.ms)),
        }
        row["final_worse_by"] = mean_and_band(result.finals - default.finals)
        for loss, own, reference in zip(LOSSES, result.times, default.times, strict=True):
            # Unreached counts as the end: an understatement, the same for both.
            capped, other = np.minimum(own, topic.seconds), np.minimum(reference, topic.seconds)
            row[f"reached_{loss}"] = int(np.isfinite(own).sum())
            row[f"time_ratio_{loss}"] = [
                float(np.exp(x)) for x in mean_and_band(np.log(capped / other))
            ]
        rows.append(row)
    return rows


def mean_and_band(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean of paired differences, shape ``(n,)``, and its 95 % bootstrap band."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(0)))
    draws = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), _BAND)
    return float(differences.mean()), float(low), float(high)


def show(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table a topic."""
    header = ["", "seeds", "final, median", "final worse by"]
    header += [f"time to {loss}, ratio" for loss in LOSSES]
    header += [f"reach {loss}" for loss in LOSSES]
    header += ["ms a trial"]
    setups = dict.fromkeys((r["topic"], r["method"], r["n_workers"], r["seconds"]) for r in rows)
    for topic, method, n_workers, seconds in setups:
        yield f"{topic}: {method}, {n_workers} workers, {seconds:,.0f} s (first: the default)\n"
        own = [
            r
            for r in rows
            if (r["topic"], r["method"], r["n_workers"]) == (topic, method, n_workers)
        ]
        yield table(header, [_cells(row) for row in own]) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [row["variant"], str(row["n_seeds"]), f"{row['final']:.3f}"]
    cells.append("{:+.3f} [{:+.3f}, {:+.3f}]".format(*row["final_worse_by"]))
    cells += ["{:.2f} [{:.2f}, {:.2f}]".format(*row[f"time_ratio_{loss}"]) for loss in LOSSES]
    cells += [str(row[f"reached_{loss}"]) for loss in LOSSES]
    return [*cells, f"{row['ms_a_trial']:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two seeds, 4,000 s")
    names = sorted({topic.name for topic in TOPICS})
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="TOPIC")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for topic in TOPICS:
        if topic.name not in arguments.only:
            continue
        seeds = 2 if arguments.quick else arguments.seeds
        shortened = topic._replace(seconds=4_000.0) if arguments.quick else topic
        results = {
            name: run_variant(shortened, options, seeds, arguments.jobs)
            for name, options in topic.variants.items()
        }
        found = compare(shortened, results)
        for text in show(found):
            print(text, flush=True)
        rows += found
    write_json(arguments.json, {"rows": rows})


if __name__ == "__main__":
    main()
