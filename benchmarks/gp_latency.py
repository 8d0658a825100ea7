"""What a proposal costs: ours and those of peers, at the same numbers of observations.

The space is that of the transformer benchmark, of five dimensions; four trials are under way
at any time, and values are its losses. An optimizer first gets random configs as its points to
evaluate, so that all know the same; then proposals are timed over a running sequence, in the
course of which the data grow by a tenth at least, so that refits take part. A proposal's cost
is that of the ask and of all tells since the last one, in the optimizer's process of one
thread. Processor seconds are what is compared: they hardly depend on what else the host does.

    python -m benchmarks.gp_latency [--quick] [--peers NAME ...] [--json FILE]
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.peers.problems import TRANSFORMER_SPACE
from benchmarks.peers.process import Cost, Peer, PeerError, RunningPeer, find_peers, running
from benchmarks.peers.report import table, write_json
from benchmarks.peers.sampling import random_configs
from benchmarks.peers.space import Config

N_PENDING: Final = 4
SIZES: Final = (50, 100, 200, 500)
# Before the timed ones: caches are filled, and a model is fitted that can be warm-started.
_UNTIMED: Final = 2
# Of new trials in successive halving, while so many values come in.
_LEAST: Final = 10
_MAX_EPOCHS: Final = 40
_LEVELS: Final = (1, 3, 9, 27, 40)
# Of a trial in successive halving by a third, how many levels it reaches in the mean.
_LEVELS_A_TRIAL: Final = 1.5
TARGETS: Final = {"Optuna GP": 1 / 8, "Syne Tune BO": 1 / 8, "Syne Tune MOBSTER": 1 / 50}
OURS: Final = {"BO": "asynctune BO", "MOBSTER": "asynctune MOBSTER"}
RIVALS: Final = {
    "BO": ("Optuna GP", "Syne Tune BO", "BoTorch qLogEI"),
    "MOBSTER": ("Syne Tune MOBSTER",),
}


class Costs(NamedTuple):
    """What proposals cost, in milliseconds."""

    cpu_median: float
    cpu_p95: float
    cpu_mean: float
    wall_median: float
    wall_p95: float
    n: int


class Curves:
    """Losses of configs by epoch, from the transformer benchmark's blackbox."""

    def __init__(self) -> None:
        from sims.transformer_wikitext2 import FIXED, load_blackbox

        self._blackbox, self._fixed = load_blackbox(), FIXED

    def losses(self, config: Config, number: int) -> list[float]:
        """Return a trial's loss after each epoch."""
        curve = self._blackbox.curve({**self._fixed, **config}, number)
        losses: list[float] = curve.values["val_loss"].tolist()
        return losses


def n_timed(size: int) -> int:
    """Return how many observations come in while proposals are timed."""
    return max(20, math.ceil(size / 10) + 1)


def summary(costs: Sequence[Cost]) -> Costs:
    """Return the statistics of what proposals cost."""
    wall, cpu = (1e3 * np.array(column) for column in zip(*costs, strict=True))
    return Costs(
        float(np.median(cpu)),
        float(np.quantile(cpu, 0.95)),
        float(cpu.mean()),
        float(np.median(wall)),
        float(np.quantile(wall, 0.95)),
        len(costs),
    )


def time_whole_trials(peer: Peer, size: int, timed: int, curves: Curves) -> Costs:
    """Time proposals where a trial has one value, around `size` observations."""
    start = size - timed // 2 - _UNTIMED
    points = random_configs(TRANSFORMER_SPACE, start + N_PENDING, seed=size)
    with running(peer, TRANSFORMER_SPACE, seed=1, points=points) as process:
        asked = [process.ask()[0] for _ in points]
        costs = []
        for k in range(start + _UNTIMED + timed):
            trial = asked[k]
            _, cost = process.tell(trial.number, curves.losses(trial.config, trial.number)[-1])
            if k >= start:
                proposed, ask = process.ask()
                asked.append(proposed)
                costs.append(cost + ask)
    return summary(costs[_UNTIMED:])


def time_halving(peer: Peer, size: int, timed: int, curves: Curves) -> Costs:
    """Time proposals of new trials in successive halving, around `size` values at rungs."""
    start = size - timed // 2 - _UNTIMED
    n_points = max(1, int(start / _LEVELS_A_TRIAL) - N_PENDING)
    points = random_configs(TRANSFORMER_SPACE, n_points, seed=size)
    with running(peer, TRANSFORMER_SPACE, seed=1, points=points, max_resource=_MAX_EPOCHS) as run:
        costs = []
        for n_values, cost in _proposals(run, curves, len(points)):
            if n_values >= start:
                costs.append(cost)
            if n_values >= start + timed and len(costs) >= _UNTIMED + _LEAST:
                break
    return summary(costs[_UNTIMED:])


def _proposals(run: RunningPeer, curves: Curves, n_points: int) -> Iterator[tuple[int, Cost]]:
    """Yield (values at rungs so far, cost) of each model-based proposal of a new trial.

    All epochs take the same time.
    """
    n_values = n_new = 0
    cost = Cost(0.0, 0.0)
    queue: list[tuple[int, int, int, Config]] = []  # time, number, epoch that ends then, config
    for time in range(N_PENDING):
        trial, _ = run.ask()
        n_new += 1
        queue.append((time, trial.number, 1, trial.config))
    heapify(queue)
    while True:
        time, number, epoch, config = heappop(queue)
        action, spent = run.tell(number, curves.losses(config, number)[epoch - 1], epoch)
        cost += spent
        n_values += epoch in _LEVELS
        if action == "continue":
            heappush(queue, (time + N_PENDING, number, epoch + 1, config))
            continue
        trial, spent = run.ask()
        cost += spent
        heappush(queue, (time + N_PENDING, trial.number, trial.reached + 1, trial.config))
        if trial.reached == 0:
            n_new += 1
            if n_new > n_points:
                yield n_values, cost
            cost = Cost(0.0, 0.0)


def measure(kind: str, peers: Sequence[Peer], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Time all peers of a kind at all sizes."""
    curves = Curves()
    timer = time_whole_trials if kind == "BO" else time_halving
    rows = []
    for size in sizes:
        for peer in peers:
            try:
                costs = timer(peer, size, n_timed(size), curves)
            except PeerError as error:
                print(f"  {error}", file=sys.stderr)
                continue
            rows.append({"kind": kind, "peer": peer.name, "size": size, **costs._asdict()})
            said = f"{costs.cpu_median:.1f} ms, 95 % {costs.cpu_p95:.1f}, mean {costs.cpu_mean:.1f}"
            print(f"  {peer.name} at {size}: {said}, wall {costs.wall_median:.1f}", flush=True)
    return rows


def with_ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, each with our cost as a share of the peer's, and the target if any."""
    ours = {(row["kind"], row["size"]): row for row in rows if row["peer"] == OURS[row["kind"]]}
    found = []
    for row in rows:
        own = ours.get((row["kind"], row["size"]))
        shares = {} if own is None else {f"{k}_ratio": own[k] / row[k] for k in _COMPARED}
        found.append({**row, **shares, "target": TARGETS.get(row["peer"])})
    return found


_COMPARED: Final = ("cpu_median", "cpu_p95", "cpu_mean", "wall_median")


def show(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of costs and ratios."""
    header = ["method", "observations", "median", "95 %", "mean", "wall median", "proposals"]
    header += ["ours / theirs", "at 95 %", "target", "met"]
    return table(header, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    costs = [f"{row[k]:.1f}" for k in ("cpu_median", "cpu_p95", "cpu_mean", "wall_median")]
    cells = [row["peer"], str(row["size"]), *costs, str(row["n"])]
    if row["peer"] in OURS.values() or "cpu_median_ratio" not in row:
        return [*cells, "", "", "", ""]
    median, p95, target = row["cpu_median_ratio"], row["cpu_p95_ratio"], row["target"]
    ratios = [f"1/{1 / median:.1f}", f"1/{1 / p95:.1f}"]
    if target is None:
        return [*cells, *ratios, "", ""]
    met = "yes" if max(median, p95) <= target else "no"
    return [*cells, *ratios, f"1/{1 / target:.0f}", met]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="50 and 100 observations only")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of observations")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these peers")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    sizes = arguments.sizes or (SIZES[:2] if arguments.quick else SIZES)
    rows = []
    try:
        for kind, rivals in RIVALS.items():
            chosen = [name for name in rivals if name in (arguments.peers or rivals)]
            if chosen:
                rows += measure(kind, find_peers([OURS[kind], *chosen]), sizes)
    except PeerError as error:
        raise SystemExit(str(error)) from None
    rows = with_ratios(rows)
    print("\nMilliseconds of the processor a proposal (and by the wall's clock):\n")
    print(show(rows))
    write_json(arguments.json, {"n_pending": N_PENDING, "rows": rows})


if __name__ == "__main__":
    main()
