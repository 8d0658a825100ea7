"""One run of an optimizer on a problem: so many evaluations, by one worker or several."""

from heapq import heappop, heappush
from typing import Any, Final

import numpy as np

from benchmarks.peers.problems import Problem
from benchmarks.peers.process import Cost, Peer, RunningPeer, running
from benchmarks.peers.space import Config

_ROLE: Final = 6


def run(peer: Peer, problem: Problem, *, seed: int, n_workers: int, evaluations: int) -> Any:  # noqa: ANN401
    """Return what came of a run, as JSON values.

    Returns:
        "told": the values told, and "true" the same without noise, in the order in which the
        evaluations ended; "cpu": seconds of the processor that the optimizer took.
    """
    options = {"n_trials": evaluations} if peer.environment == "smac" else {}
    with running(peer, problem.parameters, seed=seed, options=options) as process:
        return _run(process, problem, seed, n_workers, evaluations)


def _run(
    process: RunningPeer, problem: Problem, seed: int, n_workers: int, evaluations: int
) -> dict[str, Any]:
    told: list[float] = []
    true: list[float] = []
    cost = Cost(0.0, 0.0)
    busy: list[tuple[float, int, Config]] = []  # when it ends, number, config
    n_asked, now = 0, 0.0
    while len(told) < evaluations:
        while len(busy) < n_workers and n_asked < evaluations:
            trial, spent = process.ask()
            cost += spent
            heappush(busy, (now + duration(seed, n_asked), trial.number, trial.config))
            n_asked += 1
        now, number, config = heappop(busy)
        told.append(problem.observed(config, seed, number))
        true.append(problem.truth(config))
        cost += process.tell(number, told[-1])[1]
    return {"told": told, "true": true, "cpu": cost.cpu}


def duration(seed: int, number: int) -> float:
    """Return how long an evaluation takes: so that they end in another order than they began."""
    key = np.random.SeedSequence(seed, spawn_key=(_ROLE, number))
    return float(np.random.Generator(np.random.PCG64(key)).uniform(0.5, 1.5))


def incumbents(told: list[float], true: list[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return after each evaluation the true value of the config with the lowest value told."""
    best = np.minimum.accumulate(told)
    at = np.maximum.accumulate(np.where(np.array(told) == best, np.arange(len(told)), 0))
    return np.asarray(true, dtype=np.float64)[at]
