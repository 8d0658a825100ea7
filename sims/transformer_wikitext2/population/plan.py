"""Which trainings are to be recorded, in order."""

from dataclasses import dataclass
from typing import NamedTuple

from sims.transformer_wikitext2.population.design import Planned, published, sobol
from sims.transformer_wikitext2.population.recipe import Recipe
from sims.transformer_wikitext2.population.rows import Key
from sims.transformer_wikitext2.training.settings import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be recorded, and how.

    Attributes:
        n_configs: Configs of the Sobol design.
        n_published: Configs of the published study, which come first.
        repeats: How many of the first configs are trained with `seeds` seeds.
        seeds: Seeds of these, counted from the recipe's.
        epochs: Epochs of a training.
        members: Most configs that are trained at once.
        block: Configs in a row of the design that share a batch size.
        design_seed: Seed of the design.
        precision: Of the training.
        source: What the rows say they come from.
    """

    n_configs: int
    n_published: int = 0
    repeats: int = 0
    seeds: int = 3
    epochs: int = 40
    members: int = 8
    block: int = 8
    design_seed: int = 0
    precision: Precision = "float"
    source: str = "collected"


class Item(NamedTuple):
    """A training that is planned."""

    planned: Planned
    seed: int

    @property
    def key(self) -> Key:
        """What it is recorded under."""
        return Key(self.planned.config_id, self.seed)


def items(plan: Plan, recipe: Recipe, train_tokens: int) -> list[Item]:
    """Return all trainings of a plan, in order.

    Args:
        plan: The plan.
        recipe: What is recorded.
        train_tokens: Tokens an epoch.
    """
    configs = published(plan.n_published) + sobol(
        recipe.config_space(),
        plan.n_configs,
        seed=plan.design_seed,
        block=plan.block,
        train_tokens=train_tokens,
        bptt=recipe.shape.bptt,
        region=recipe.region,
    )
    found = [Item(planned, recipe.seed) for planned in configs]
    for number in range(1, plan.seeds):
        found += [Item(planned, recipe.seed + number) for planned in configs[: plan.repeats]]
    return found
