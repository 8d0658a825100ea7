"""The transformer on WikiText-2, reduced to what one core trains in half a minute.

The same training script as of `transformer_wikitext2`, with a smaller model, vocabulary and text.
Learning rates are larger, as there are fewer steps: their range is such that curves are flat,
steep, unstable or over-fit within the space, as those of the full problem are.
"""

from typing import Any, Final

from asynctune.space import loguniform, randint, uniform

SPACE: Final[dict[str, Any]] = {
    "lr": loguniform(1e-3, 3.0),
    "dropout": uniform(0, 0.99),
    "batch_size": randint(16, 48),
    "momentum": uniform(0, 0.99),
    "clip": uniform(0, 1),
}

# What the training script is given besides the tuned hyperparameters.
TRAINING: Final[dict[str, Any]] = {
    "epochs": 40,
    "d_model": 64,
    "ffn_ratio": 1,
    "nlayers": 2,
    "nhead": 2,
    "bptt": 35,
    "vocabulary": 1000,
    "train_tokens": 30_000,
    "valid_tokens": 6_000,
    "seed": 1111,
}
