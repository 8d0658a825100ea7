"""Which configs are recorded: scrambled Sobol points, more of them where a region is preferred.

Points come in blocks that share a batch size, because a population does. Batch sizes follow a
Sobol sequence over the blocks, the other parameters one over the configs. So the design has no
last point: the first n configs cover the space evenly for every n, and it can go on for ever.
"""

from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from asynctune.exceptions import UsageError
from asynctune.space import ConfigSpace

_BATCH_SIZE: Final = "batch_size"
_CHUNK: Final = 256  # a power of two: Sobol points keep their balance
_MOST_TRIES: Final = 2**16
# Roles of the keyed random streams that scramble the sequences.
_OF_BLOCKS, _OF_SPACE, _OF_REGION = range(3)


class Planned(NamedTuple):
    """A config to record.

    Attributes:
        config_id: Its name: design, seed, stream, number. It never changes.
        config: The tuned hyperparameters.
    """

    config_id: str
    config: Mapping[str, Any]


class Region(NamedTuple):
    """Where more points are wanted.

    Attributes:
        least_path: Least length of the path walked in an epoch,
            lr / (1 - momentum) x clip x steps an epoch.
        most_dropout: Most dropout.
        share: Share of the configs that are drawn inside, in [0, 1].
    """

    least_path: float
    most_dropout: float
    share: float

    def has(self, config: Mapping[str, Any], steps: float) -> bool:
        """Return whether a config of so many steps an epoch lies inside."""
        length = config["lr"] / (1 - config["momentum"]) * config["clip"] * steps
        return bool(length >= self.least_path and config["dropout"] <= self.most_dropout)


def sobol(
    space: ConfigSpace,
    n: int,
    *,
    seed: int,
    block: int,
    train_tokens: int,
    bptt: int,
    region: Region | None = None,
) -> list[Planned]:
    """Return the first `n` configs of a design.

    Args:
        space: Has a parameter `batch_size`, and with a region `lr`, `momentum`, `clip` and
            `dropout`.
        n: How many configs.
        seed: Scrambles the sequences.
        block: Configs in a row that share a batch size.
        train_tokens: Tokens an epoch, for the length of the path.
        bptt: Tokens a sequence.
        region: Where more points are wanted, if anywhere.

    Raises:
        UsageError: If an argument is out of its range, or the region is all but empty.
    """
    if n < 0 or block < 1 or seed < 0:
        raise UsageError(f"n, seed >= 0 and block >= 1 must hold; got {n}, {seed}, {block}")
    if region is not None and not 0 <= region.share <= 1:
        raise UsageError(f"the region's share must be in [0, 1]; got {region.share}")
    whole = _stream("space", _points(space, seed, _OF_SPACE))
    inside = _stream("region", _points(space, seed, _OF_REGION))
    n_inside = 0 if region is None else round(region.share * block)
    planned: list[Planned] = []
    for (sizes,) in _sequence(1, seed, _OF_BLOCKS):
        if len(planned) >= n:
            break
        steps = train_tokens / bptt / _config(space, sizes, None)[_BATCH_SIZE]
        for position in range(block):
            # Spread over the block, so that a part of it has its part of the region.
            is_inside = (position + 1) * n_inside // block > position * n_inside // block
            for tried, (name, point) in enumerate(inside if is_inside else whole):
                config = _config(space, sizes, point)
                if region is None or not is_inside or region.has(config, steps):
                    planned.append(Planned(f"sobol-{seed}-{name}", config))
                    break
                if tried == _MOST_TRIES:
                    raise UsageError(f"no point of the space was found in the region {region}")
    return planned[:n]


def published(n: int) -> list[Planned]:
    """Return the first `n` configs that the published study drew (local study, seed 0)."""
    from sims.transformer_wikitext2.sequences import config_sequence

    return [
        Planned(f"published-local-0-{i}", c) for i, c in enumerate(config_sequence("local", 0, n))
    ]


def next_population(pending: list[Planned], members: int) -> list[Planned]:
    """Return the configs to train together: those in line that share the first one's batch size."""
    if not pending:
        return []
    batch_size = pending[0].config[_BATCH_SIZE]
    same = (planned for planned in pending if planned.config[_BATCH_SIZE] == batch_size)
    return list(islice(same, members))


def _sequence(dimension: int, seed: int, role: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(role,))))
    sequence = qmc.Sobol(dimension, scramble=True, rng=rng)
    while True:
        yield from sequence.random(_CHUNK)


def _points(space: ConfigSpace, seed: int, role: int) -> Iterator[NDArray[np.float64]]:
    return _sequence(len(space.names) - 1, seed, role)


def _stream(
    name: str, points: Iterator[NDArray[np.float64]]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    return ((f"{name}-{i}", point) for i, point in zip(count(), points, strict=False))


def _config(
    space: ConfigSpace, batch_size: float, others: NDArray[np.float64] | None
) -> Mapping[str, Any]:
    """Return the config at a point of the unit cube, given in two parts."""
    point = np.zeros(len(space.names))
    at = space.names.index(_BATCH_SIZE)
    point[at] = batch_size
    if others is not None:
        point[np.arange(len(point)) != at] = others
    (config,) = space.from_unit(point[None])
    return {name: config[name] for name in space.names}
