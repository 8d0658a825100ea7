"""What is recorded: a space of configs, and everything that all of them have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asynctune.space import ConfigSpace
from sims.transformer_wikitext2.population.design import Region
from sims.transformer_wikitext2.training.settings import Precision, Settings, Shape

_FULL: Final = Shape()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One tuning problem as the collector sees it.

    Attributes:
        name: Name of the benchmark.
        space: The tuned hyperparameters: lr, dropout, batch_size, momentum, clip.
        shape: The model's shape.
        vocabulary: How many words are kept; None for all.
        train_tokens: Tokens an epoch; None for all.
        valid_tokens: Tokens that are validated on; None for all.
        region: Where more configs are wanted, if anywhere.
        seed: Of the first training of each config.
    """

    name: str
    space: Mapping[str, Any]
    shape: Shape = _FULL
    vocabulary: int | None = None
    train_tokens: int | None = None
    valid_tokens: int | None = None
    region: Region | None = None
    seed: int = 1111

    def config_space(self) -> ConfigSpace:
        """Return the tuned part of the space."""
        return ConfigSpace(ConfigSpace(self.space).domains)

    def settings(
        self, config: Mapping[str, Any], *, seed: int, epochs: int, precision: Precision
    ) -> Settings:
        """Return what the training script would be given for a config."""
        return Settings(**config, shape=self.shape, seed=seed, epochs=epochs, precision=precision)


def full_recipe() -> Recipe:
    """Return the recipe of `transformer_wikitext2`.

    Half of the configs lie where the published curves leave the space empty and the best losses
    are to be expected: long paths and little dropout.
    """
    from sims.transformer_wikitext2 import benchmark

    made = benchmark()
    return Recipe(
        name=made.name,
        space=made.space,
        region=Region(least_path=1.0, most_dropout=0.35, share=0.5),
    )


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a benchmark that can be recorded, by its name.

    Raises:
        KeyError: If there is none.
    """
    if name == "transformer_wikitext2_mini":
        from sims.transformer_wikitext2_mini.recipe import mini_recipe

        return mini_recipe()
    return {"transformer_wikitext2": full_recipe}[name]()


RECIPES = ("transformer_wikitext2", "transformer_wikitext2_mini")
