"""Random configs of a problem, the same for whoever asks."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from benchmarks.peers.space import Parameter

_ROLE: Final = 5


def random_configs(
    parameters: Sequence[Parameter], n: int, *, seed: int
) -> tuple[dict[str, Any], ...]:
    """Return `n` configs, uniform on the scales of the parameters."""
    key = np.random.SeedSequence(seed, spawn_key=(_ROLE,))
    rng = np.random.Generator(np.random.PCG64(key))
    return tuple({p.name: _value(p, rng) for p in parameters} for _ in range(n))


def _value(p: Parameter, rng: np.random.Generator) -> Any:  # noqa: ANN401 - of any kind
    if p.kind == "choice":
        return p.values[int(rng.integers(len(p.values)))]
    if p.kind == "int" and not p.log:
        return int(rng.integers(int(p.low), int(p.high), endpoint=True))
    low, high = (math.log(p.low), math.log(p.high)) if p.log else (p.low, p.high)
    value = float(rng.uniform(low, high))
    value = min(max(math.exp(value) if p.log else value, p.low), p.high)
    return round(value) if p.kind == "int" else value
