"""Record learning curves of many configs, trained together, into a table.

    python -m sims.transformer_wikitext2.collect --data FOLDER --record FOLDER
        [--benchmark NAME] [--configs N] [--budget-minutes M] [--export FILE]

What is recorded is kept epoch by epoch; started again, it goes on. No config is recorded twice.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from asynctune.exceptions import UsageError
from sims.transformer_wikitext2.population.recipe import RECIPES, Recipe, recipe_of
from sims.transformer_wikitext2.training.settings import PRECISIONS, Shape, flag
from sims.transformer_wikitext2.training.text import load


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="collect", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    made.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the text")
    made.add_argument("--download", action="store_true", help="fetch what --data lacks")
    made.add_argument("--cache", type=Path, metavar="FOLDER", help="for token ids; default --data")
    made.add_argument("--record", type=Path, required=True, metavar="FOLDER", help="the record")
    made.add_argument("--benchmark", choices=RECIPES, default=RECIPES[0])
    made.add_argument("--configs", type=int, default=400, metavar="N", help="of a Sobol design")
    made.add_argument("--published", type=int, default=0, metavar="N", help="of the study, first")
    made.add_argument("--repeats", type=int, default=0, metavar="N", help="first N with 3 seeds")
    made.add_argument("--epochs", type=int, default=40, metavar="N")
    made.add_argument("--members", type=int, default=8, metavar="N", help="trained at once")
    made.add_argument("--block", type=int, default=8, metavar="N", help="share a batch size")
    made.add_argument("--design-seed", type=int, default=0, metavar="N")
    made.add_argument("--precision", choices=PRECISIONS, default="float")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    made.add_argument("--threads", type=int, metavar="N", help="threads of torch on the CPU")
    made.add_argument("--budget-minutes", type=float, metavar="M", help="stop before they are over")
    made.add_argument("--export", type=Path, metavar="FILE", help="write the table as parquet")
    for name in ("vocabulary", "train_tokens", "valid_tokens"):
        flag(made, name, type=int, metavar="N", help="instead of the benchmark's")
    for field in fields(Shape):
        flag(made, field.name, type=int, metavar="N", help="instead of the benchmark's")
    return made


def recipe_for(values: argparse.Namespace) -> Recipe:
    """Return the recipe that the flags ask for."""
    made = recipe_of(values.benchmark)
    shape = {f.name: v for f in fields(Shape) if (v := getattr(values, f.name)) is not None}
    text = {
        name: value
        for name in ("vocabulary", "train_tokens", "valid_tokens")
        if (value := getattr(values, name)) is not None
    }
    return replace(made, shape=replace(made.shape, **shape), **text)


def check(values: argparse.Namespace) -> None:
    """Raise a UsageError for a number that is out of range."""
    rules = {"configs": 0, "published": 0, "repeats": 0, "epochs": 1, "members": 1, "block": 1}
    for name, least in rules.items():
        if getattr(values, name) < least:
            raise UsageError(f"{name} must be at least {least}; got {getattr(values, name)}")
    if values.budget_minutes is not None and not values.budget_minutes > 0:
        raise UsageError(f"budget-minutes must be above 0; got {values.budget_minutes}")


def collect(values: argparse.Namespace) -> None:
    """Record, and write the table if one is asked for."""
    begun = time.monotonic()
    check(values)
    recipe = recipe_for(values)
    if values.download:
        from sims.transformer_wikitext2.training.download import download

        download(values.data)
    text = load(values.data, values.cache, recipe.vocabulary)
    text = text.shortened(recipe.train_tokens, recipe.valid_tokens)
    import torch

    from sims.transformer_wikitext2.population.collector import Collector
    from sims.transformer_wikitext2.population.plan import Plan
    from sims.transformer_wikitext2.training.precision import pick_device

    if values.threads is not None:
        torch.set_num_threads(values.threads)
    plan = Plan(
        n_configs=values.configs,
        n_published=values.published,
        repeats=values.repeats,
        epochs=values.epochs,
        members=values.members,
        block=values.block,
        design_seed=values.design_seed,
        precision=values.precision,
    )
    collector = Collector(recipe, plan, text, values.record, pick_device(values.device), tell=_tell)
    minutes = values.budget_minutes
    budget = float("inf") if minutes is None else 60 * minutes - (time.monotonic() - begun)
    try:
        collector.run(budget)
    finally:
        if values.export is not None and collector.record.rows:
            n_rows = collector.record.export(values.export)
            _tell(f"wrote {n_rows} rows to {values.export}")


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    values = parser().parse_args(arguments)
    try:
        collect(values)
    except UsageError as error:
        sys.stderr.write(f"collect: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(
            f"collect: interrupted; what was recorded is saved in {values.record}, and the same "
            "command goes on with it\n"
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
