"""What the reduced problem is: the same script, a smaller model, vocabulary and text."""

from sims.transformer_wikitext2.population.recipe import Recipe
from sims.transformer_wikitext2.training.settings import Shape
from sims.transformer_wikitext2_mini import SPACE, TRAINING

_SHAPE = ("d_model", "ffn_ratio", "nlayers", "nhead", "bptt")


def mini_recipe() -> Recipe:
    """Return the recipe of `transformer_wikitext2_mini`."""
    return Recipe(
        name="transformer_wikitext2_mini",
        space=SPACE,
        shape=Shape(**{name: TRAINING[name] for name in _SHAPE}),
        vocabulary=TRAINING["vocabulary"],
        train_tokens=TRAINING["train_tokens"],
        valid_tokens=TRAINING["valid_tokens"],
    )
