"""What optimizers find with equal numbers of evaluations: ours and peers, over many seeds.

Each has its own defaults and its own way to begin; none is told where to begin. With eight
workers evaluations take unequal times, and an optimizer is asked while seven are under way. What
counts is the true value of the config with the lowest value told. Results are kept, so that the
comparison can be made in pieces: what is not there yet is run, and with `--show` nothing is.

    python -m benchmarks.optimizer_quality [--quick] [--problems NAME ...] [--peers NAME ...]
        [--workers N ...] [--seeds N] [--seconds S] [--show] [--json FILE]
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.aggregate import iqm, iqm_band
from benchmarks.peers.cache import CACHE, answers_of, cached, code_of
from benchmarks.peers.evaluation import incumbents, run
from benchmarks.peers.problems import PROBLEMS, Problem
from benchmarks.peers.process import Peer, PeerError, find_peers
from benchmarks.peers.report import table, write_json
from benchmarks.peers.statistics import counted, mean_ranks, resolved, verdict

Vector = NDArray[np.float64]
FOLDER: Final = CACHE / "optimizer_quality"
OURS: Final = "asynctune BO"
# The cheap ones first, so that a piece of the whole shows something early.
COMPARED: Final = (
    OURS,
    "random",
    "Optuna TPE",
    "Syne Tune BO",
    "Optuna GP",
    "BoTorch qLogNEI",
    "SMAC HPO",  # its facade for hyperparameters, with a random forest; "SMAC BB" takes far longer
)
_SHARES: Final = (1 / 3, 2 / 3, 1.0)
_QUICK: Final = 20


class Case(NamedTuple):
    """A problem and a number of workers."""

    problem: str
    n_workers: int

    def __str__(self) -> str:
        return f"{self.problem}, {self.n_workers} worker{'s' * (self.n_workers > 1)}"


class Plan(NamedTuple):
    """What is to be compared.

    Attributes:
        cases: Problems and numbers of workers.
        peers: Optimizers.
        n_seeds: How many seeds.
        evaluations: How many evaluations a run makes at most; None: as many as the problem says.
        seconds: How long new runs may be started; None: until all are done, 0: not at all.
    """

    cases: tuple[Case, ...]
    peers: tuple[Peer, ...]
    n_seeds: int
    evaluations: int | None
    seconds: float | None


Results = dict[Case, dict[str, dict[int, Vector]]]
"""By case, optimizer and seed: the incumbent's true value after each evaluation."""


def collect(plan: Plan) -> Results:
    """Return all results that are there or can be had in time."""
    begin = time.monotonic()
    code = {peer.name: code_of(peer) for peer in plan.peers}
    problems = {PROBLEMS[case.problem] for case in plan.cases}
    answers = {problem.name: answers_of(problem) for problem in problems}
    results: Results = {case: {peer.name: {} for peer in plan.peers} for case in plan.cases}
    for seed, case, peer in product(range(plan.n_seeds), plan.cases, plan.peers):
        problem = PROBLEMS[case.problem]
        key = {
            "peer": peer.name,
            "problem": case.problem,
            "n_workers": case.n_workers,
            "seed": seed,
            "evaluations": _evaluations(problem, plan.evaluations),
            "code": code[peer.name],
            "answers": answers[problem.name],
        }
        late = plan.seconds is not None and time.monotonic() - begin >= plan.seconds
        try:
            compute = None if late else partial(_run, peer, problem, key)
            result = cached(FOLDER, key, compute)
        except PeerError as error:
            print(f"{peer.name} on {case}, seed {seed}: {error}", file=sys.stderr)
            continue
        if result is not None:
            results[case][peer.name][seed] = incumbents(result["told"], result["true"])
    return results


def _run(peer: Peer, problem: Problem, key: Mapping[str, Any]) -> dict[str, Any]:
    workers, seed, evaluations = key["n_workers"], key["seed"], key["evaluations"]
    result: dict[str, Any] = run(
        peer, problem, seed=seed, n_workers=workers, evaluations=evaluations
    )
    final = incumbents(result["told"], result["true"])[-1]
    line = f"{peer.name} on {Case(problem.name, workers)}, seed {seed}: {final:.4f}"
    print(f"{line} in {result['cpu']:.1f} s", file=sys.stderr, flush=True)
    return result


def _evaluations(problem: Problem, limit: int | None) -> int:
    return problem.evaluations if limit is None else min(limit, problem.evaluations)


def common(by_peer: Mapping[str, Mapping[int, Vector]]) -> dict[str, NDArray[np.float64]]:
    """Return the curves of the optimizers that have any, over the seeds that all of these have.

    Returns:
        By optimizer, shape ``(seeds, evaluations)``.
    """
    having = {name: runs for name, runs in by_peer.items() if runs}
    if not having:
        return {}
    seeds = sorted(set.intersection(*(set(runs) for runs in having.values())))
    if not seeds:
        return {}
    return {name: np.stack([runs[s] for s in seeds]) for name, runs in having.items()}


def figures(results: Results) -> list[dict[str, Any]]:
    """Return for each case and optimizer what the tables show."""
    rows = []
    for case, by_peer in results.items():
        curves = common(by_peer)
        resolution = PROBLEMS[case.problem].resolution
        for share in _SHARES:
            at = {name: _at(matrix, share, resolution) for name, matrix in curves.items()}
            ranks = mean_ranks(at) if at else {}
            for name, values in at.items():
                low, high = iqm_band(values[:, None])
                rows.append(
                    {
                        "problem": case.problem,
                        "n_workers": case.n_workers,
                        "optimizer": name,
                        "share": share,
                        "n_seeds": len(values),
                        "iqm": float(iqm(values)),
                        "low": float(low[0]),
                        "high": float(high[0]),
                        "mean_rank": ranks[name],
                        "ours": verdict(at[OURS], values) if OURS in at else None,
                    }
                )
    return rows


def _at(matrix: NDArray[np.float64], share: float, resolution: float) -> Vector:
    return resolved(matrix[:, round(share * matrix.shape[1]) - 1], resolution)


def show(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the tables: values by case, then ranks and verdicts by optimizer."""
    for case in dict.fromkeys(Case(row["problem"], row["n_workers"]) for row in rows):
        of_case = [row for row in rows if (row["problem"], row["n_workers"]) == case]
        yield f"{case}, {of_case[0]['n_seeds']} seeds: IQM and its 95 % band\n"
        yield _case_table(of_case)
    yield "Mean rank over cases, and our wins/ties/losses\n"
    yield _rank_table(rows)


def _case_table(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ["optimizer", "at 1/3", "at 2/3", "at the end", "mean rank", "ours is"]
    cells = []
    for name in dict.fromkeys(row["optimizer"] for row in rows):
        own = [row for row in rows if row["optimizer"] == name]
        values = [f"{r['iqm']:.4g} [{r['low']:.4g}, {r['high']:.4g}]" for r in own]
        said = "" if name == OURS else {"win": "better", "loss": "worse"}.get(own[-1]["ours"], "")
        cells.append((own[-1]["mean_rank"], [name, *values, f"{own[-1]['mean_rank']:.2f}", said]))
    return table(header, [row for _, row in sorted(cells)]) + "\n"


def _rank_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return mean ranks over the cases that all optimizers have, and verdicts over all."""
    counts = sorted({row["n_workers"] for row in rows})
    names = list(dict.fromkeys(row["optimizer"] for row in rows))
    header = ["optimizer", "at 1/3", "at 2/3", "at the end"]
    header += [f"{n} worker{'s' * (n > 1)}" for n in counts]
    header += ["cases last", "ours: 1/3", "2/3", "end"]
    cells = []
    for name in names:
        own = [row for row in rows if row["optimizer"] == name]
        ended = [row for row in own if row["share"] == 1.0]
        shares = [_mean([r for r in own if r["share"] == share]) for share in _SHARES]
        by_count = [_mean([r for r in ended if r["n_workers"] == n]) for n in counts]
        verdicts = [[r["ours"] for r in own if r["share"] == share] for share in _SHARES]
        said = ["", "", ""] if name == OURS else [counted(v) for v in verdicts]
        ranks = [f"{mean:.2f}" for mean in (*shares, *by_count)]
        last = sum(_is_last(row, rows) for row in ended)
        cells.append((shares[-1], [name, *ranks, f"{last} of {len(ended)}", *said]))
    return table(header, [row for _, row in sorted(cells)]) + "\n"


def _mean(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([row["mean_rank"] for row in rows])) if rows else float("nan")


def _is_last(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    same = ("problem", "n_workers", "share")
    rivals = [r["mean_rank"] for r in rows if all(r[k] == row[k] for k in same)]
    return len(rivals) > 1 and row["mean_rank"] == max(rivals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two seeds, two problems, 20 values")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, help="only these")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these optimizers")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, help="start no run after so many seconds")
    parser.add_argument("--show", action="store_true", help="run nothing, show what is there")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    problems = arguments.problems or (["branin", "mixed"] if arguments.quick else list(PROBLEMS))
    try:
        peers = find_peers(arguments.peers or COMPARED)
    except PeerError as error:
        raise SystemExit(str(error)) from None
    plan = Plan(
        cases=tuple(Case(*pair) for pair in product(problems, arguments.workers)),
        peers=tuple(peers),
        n_seeds=2 if arguments.quick else arguments.seeds,
        evaluations=_QUICK if arguments.quick else None,
        seconds=0 if arguments.show else arguments.seconds,
    )
    rows = figures(collect(plan))
    for text in show(rows):
        print(text)
    write_json(arguments.json, {"rows": rows})


if __name__ == "__main__":
    main()
