"""The config sequences that random search and ASHA drew in the two published studies.

Both ran with the master seed printed in the tutorial. Random search and ASHA of one seed
share their configs; Bayesian optimisation shares its first four. The original drew them
from numpy's legacy generator, whose stream is frozen, so they can be computed.
"""

from typing import Any, Literal

import numpy as np

from asynctune.exceptions import UsageError

MASTER_SEED = 2938702734
Study = Literal["local", "sagemaker"]

MIDPOINT: dict[str, Any] = {
    "lr": 10**-4.5,
    "dropout": 0.495,
    "batch_size": 32,
    "momentum": 0.495,
    "clip": 0.5,
}


def config_sequence(study: Study, seed: int, n: int) -> list[dict[str, Any]]:
    """Return the first `n` configs that the original drew for `seed`.

    Config 0 is the midpoint of the space, the original's default; the others are random.

    Args:
        study: "local" (4 workers, 10 seeds) or "sagemaker" (2, 4, 8 workers, 5 seeds; it ran
            with an older version, which seeds in another way).
        seed: Number of the repetition, from 0.
        n: How many configs, at least 0.

    Raises:
        UsageError: If an argument is out of its range.
    """
    if n < 0 or seed < 0:
        raise UsageError(f"seed and n must not be negative; got seed {seed}, n {n}")
    # The original's stream exists only in the legacy generator.
    if study == "local":
        first = np.random.RandomState((MASTER_SEED + seed) % (2**31 - 1))
        state = int(first.randint(0, 2**31 - 1))
    elif study == "sagemaker":
        first = np.random.RandomState((MASTER_SEED + seed) % 2**32)
        state = int(first.randint(0, 2**32, dtype=np.int64))
    else:
        raise UsageError(f"study must be 'local' or 'sagemaker'; got {study!r}")
    random = np.random.RandomState(state)
    configs = [dict(MIDPOINT)]
    while len(configs) < n:
        configs.append(
            {
                "lr": float(np.exp(random.uniform(np.log(1e-6), np.log(1e-3)))),
                "dropout": float(random.uniform(0, 0.99)),
                "batch_size": int(random.randint(16, 49)),
                "momentum": float(random.uniform(0, 0.99)),
                "clip": float(random.uniform(0, 1)),
            }
        )
    return configs[:n]
