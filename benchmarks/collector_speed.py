"""Configs an hour: the collector against the training script, on the same device.

Both train the same configs of one batch size on the same text. Epochs are timed in turns, a few of
each, so that what else the host does hits both; the medians are compared. On the CPU, processor
seconds of one thread count.

    python -m benchmarks.collector_speed --data FOLDER [--benchmark NAME] [--device NAME]
        [--members N ...] [--epochs N] [--precision P] [--json FILE]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.peers.report import table, write_json
from sims.transformer_wikitext2.population.cost import epoch_flop, peak
from sims.transformer_wikitext2.population.design import sobol
from sims.transformer_wikitext2.population.operations import choose
from sims.transformer_wikitext2.population.recipe import RECIPES, Recipe, recipe_of
from sims.transformer_wikitext2.population.trainer import Population
from sims.transformer_wikitext2.training.batches import fold
from sims.transformer_wikitext2.training.loop import evaluate, train_epoch
from sims.transformer_wikitext2.training.model import initial_model
from sims.transformer_wikitext2.training.precision import pick_device, set_matmul_precision
from sims.transformer_wikitext2.training.settings import PRECISIONS, Settings
from sims.transformer_wikitext2.training.text import Text, load

_EPOCHS_OF_A_CONFIG: Final = 40
_SECONDS_AN_HOUR: Final = 3600.0


def members_of(recipe: Recipe, n: int, train_tokens: int, precision: Any) -> list[Settings]:  # noqa: ANN401
    """Return the settings of `n` configs of the design that share a batch size."""
    planned = sobol(
        recipe.config_space(),
        n,
        seed=0,
        block=n,
        train_tokens=train_tokens,
        bptt=recipe.shape.bptt,
    )
    return [
        recipe.settings(p.config, seed=recipe.seed, epochs=_EPOCHS_OF_A_CONFIG, precision=precision)
        for p in planned
    ]


def script(one: Settings, text: Text, device: torch.device) -> Callable[[], None]:
    """Return a function that trains and evaluates an epoch as the script does."""
    model = initial_model(one, text.n_words).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=one.lr, momentum=one.momentum)
    training = fold(text.train, one.batch_size, device)
    validation = fold(text.valid, one.eval_batch_size, device)

    def epoch() -> None:
        train_epoch(model, optimizer, training, one)
        evaluate(model, validation, one)

    return epoch


def collector(members: Sequence[Settings], text: Text, device: torch.device) -> Callable[[], None]:
    """Return a function that trains and evaluates an epoch of all members."""
    population = Population(members, text, device, choose(device, members[0].precision))

    def epoch() -> None:
        population.train_epoch()
        population.evaluate()

    return epoch


def timed(epoch: Callable[[], None], device: torch.device) -> float:
    """Return the seconds of an epoch, of the processor or of the device."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    begin = clock()
    epoch()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begin


def measure(
    recipe: Recipe,
    text: Text,
    device: torch.device,
    sizes: Sequence[int],
    epochs: int,
    precision: Any,  # noqa: ANN401
) -> list[dict[str, Any]]:
    """Time the script, and the collector with each number of members."""
    set_matmul_precision(precision)
    all_members = members_of(recipe, max(sizes), len(text.train), precision)
    flop = epoch_flop(recipe.shape, text.n_words, len(text.train), len(text.valid))
    at_best = peak(device, precision)
    contenders = {"script": (1, script(all_members[0], text, device))}
    for n in sizes:
        contenders[f"collector, {n} members"] = (n, collector(all_members[:n], text, device))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(epochs + 1):
        for name, (n, epoch) in contenders.items():
            took = timed(epoch, device) / n
            if turn:  # the first warms up
                seconds[name].append(took)
    rows = []
    for name, (n, _) in contenders.items():
        an_epoch = statistics.median(seconds[name])
        rows.append(
            {
                "name": name,
                "members": n,
                "seconds_an_epoch": an_epoch,
                "configs_an_hour": _SECONDS_AN_HOUR / (_EPOCHS_OF_A_CONFIG * an_epoch),
                "ratio": statistics.median(seconds["script"]) / an_epoch,
                "share_of_peak": None if at_best is None else flop / an_epoch / at_best,
            }
        )
    return rows


def show(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table."""
    header = ["", "s an epoch and config", "configs an hour", "times the script", "share of peak"]
    cells = [
        [
            row["name"],
            f"{row['seconds_an_epoch']:.3g}",
            f"{row['configs_an_hour']:,.0f}",
            f"{row['ratio']:.2f}",
            "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}",
        ]
        for row in rows
    ]
    return table(header, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--cache", type=Path, metavar="FOLDER")
    parser.add_argument("--benchmark", choices=RECIPES, default="transformer_wikitext2_mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="float")
    parser.add_argument("--members", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--epochs", type=int, default=3, help="timed, of each")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    values = parser.parse_args()
    device = pick_device(values.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    recipe = recipe_of(values.benchmark)
    text = load(values.data, values.cache, recipe.vocabulary)
    text = text.shortened(recipe.train_tokens, recipe.valid_tokens)
    rows = measure(recipe, text, device, values.members, values.epochs, values.precision)
    print(f"{recipe.name} on {device}, {values.precision}\n")
    print(show(rows))
    write_json(values.json, {"benchmark": recipe.name, "device": str(device), "rows": rows})


if __name__ == "__main__":
    main()
