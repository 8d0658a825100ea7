"""An optimizer with several workers in virtual time: curves are replayed, decisions take none.

The clock is that of asynctune's simulator with a start-up delay alone: a worker that is free
asks at once, a trial reports at the ends of its levels, and what is told to stop has stopped.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

from benchmarks.peers.process import RunningPeer
from benchmarks.peers.space import Config


class Curve(NamedTuple):
    """Losses after each level, and seconds since the start of training at which they are known."""

    losses: list[float]
    seconds: list[float]


class _Running(NamedTuple):
    number: int
    begun: float  # when level 0 would have been left at this pace
    level: int  # that ends next
    curve: Curve


def simulate(
    process: RunningPeer,
    curve: Callable[[Config, int], Curve],
    *,
    n_workers: int,
    seconds: float,
    startup_delay: float,
) -> list[tuple[float, float]]:
    """Return (seconds, loss) of each report of an experiment.

    Args:
        process: The optimizer.
        curve: Makes the curve of a config, given the trial's number.
        n_workers: How many trials run at once.
        seconds: When the experiment is over.
        startup_delay: Seconds from a start or resume until training goes on.
    """
    curves: dict[int, Curve] = {}
    heap: list[tuple[float, int, _Running]] = []
    reports: list[tuple[float, float]] = []
    n_started = 0

    def start(now: float) -> None:
        nonlocal n_started
        trial, _ = process.ask()
        if trial.number not in curves:
            curves[trial.number] = curve(trial.config, trial.number)
        of_trial = curves[trial.number]
        done = of_trial.seconds[trial.reached - 1] if trial.reached else 0.0
        running = _Running(trial.number, now + startup_delay - done, trial.reached + 1, of_trial)
        n_started += 1
        heappush(heap, (_due(running), n_started, running))

    for _ in range(n_workers):
        start(0.0)
    while heap[0][0] <= seconds:
        now, order, running = heappop(heap)
        loss = running.curve.losses[running.level - 1]
        reports.append((now, loss))
        action, _ = process.tell(running.number, loss, running.level)
        if action == "continue":
            following = running._replace(level=running.level + 1)
            heappush(heap, (_due(following), order, following))
        else:
            start(now)
    return reports


def _due(running: _Running) -> float:
    return running.begun + running.curve.seconds[running.level - 1]
