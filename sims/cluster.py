"""Cluster profiles: what it costs, in time and money, to run a trial on somebody's machines."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf, isfinite
from typing import Any, Final

import numpy as np

from asynctune.exceptions import UsageError, check_type

_ROLE_ATTEMPT: Final = 101
_BLOCK: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterProfile:
    """The delays, faults and prices of a cluster.

    Attributes:
        name: Name on the command line.
        startup_delay: Median seconds from a start command until the training script runs.
        startup_spread: Standard deviation of the logarithm of the start-up delay.
        warm_startup_delay: The same where a worker of an earlier attempt is still warm.
        keep_alive: Seconds for which a worker stays warm after an attempt; below 0: no warm pool.
        billed_startup: Share of the start-up delay that is billed.
        stop_delay: Seconds from a stop or pause command, or from an attempt's last report,
            until its worker is free.
        report_delay: Seconds from a report until the tuner learns of it.
        straggler_probability: Probability that an attempt runs on a slow worker.
        straggler_factor: How much slower a slow worker is.
        failure_rate: Faults of the machine an hour of running.
        preemption_rate: Times an hour of running at which the machine is taken away.
        checkpointing: Whether a paused or failed trial goes on from its last epoch; if not it
            starts from scratch.
        capacity: Attempts that the cluster can run at once, or None if there is no limit.
        prices: US dollars an hour of one worker, by instance type.
        instance_type: The instance type in use; None: the benchmark's.
        sources: Where each number comes from.
    """

    name: str
    startup_delay: float
    startup_spread: float = 0.0
    warm_startup_delay: float = 0.0
    keep_alive: float = -1.0
    billed_startup: float = 1.0
    stop_delay: float = 0.0
    report_delay: float = 0.0
    straggler_probability: float = 0.0
    straggler_factor: float = 1.0
    failure_rate: float = 0.0
    preemption_rate: float = 0.0
    checkpointing: bool = True
    capacity: int | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    instance_type: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _SECONDS:
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be a finite number of at least 0; got {value}")
        for name in ("straggler_probability", "billed_startup"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must lie between 0 and 1; got {getattr(self, name)}")
        if not 1 <= self.straggler_factor < inf:
            raise UsageError(
                f"straggler_factor must be a finite number of at least 1; "
                f"got {self.straggler_factor}"
            )
        if self.capacity is not None and self.capacity < 1:
            raise UsageError(f"capacity must be at least 1; got {self.capacity}")

    @property
    def random(self) -> bool:
        """Whether chance plays a part in what befalls an attempt."""
        return bool(
            self.startup_spread
            or self.straggler_probability
            or self.failure_rate
            or self.preemption_rate
        )

    def price(self, instance_type: str | None) -> float:
        """Return the US dollars a second of one worker of this instance type.

        Raises:
            UsageError: If the profile has no price for it.
        """
        if not self.prices:
            return 0.0
        if instance_type is None or instance_type not in self.prices:
            known = ", ".join(self.prices)
            raise UsageError(f"instance type must be one of {known}; got {instance_type!r}")
        return self.prices[instance_type] / 3600

    def with_options(self, options: Mapping[str, Any]) -> "ClusterProfile":
        """Return the profile with some of its numbers replaced.

        Raises:
            UsageError: If an option is not a number of the profile.
        """
        known = {f.name for f in fields(self)} - {"name", "sources"}
        for name, value in options.items():
            if name not in known:
                listed = ", ".join(sorted(known))
                raise UsageError(f"a profile's option must be one of {listed}; got {name!r}")
            if value is not None or name not in ("capacity", "instance_type"):
                check_type(name, value, _TYPES.get(name, float))
        return replace(self, **options)

    def describe(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {k: v for k, v in asdict(self).items() if k != "sources"}


_TYPES: Final[dict[str, type]] = {
    "checkpointing": bool,
    "capacity": int,
    "prices": dict,
    "instance_type": str,
}
_SECONDS: Final = (
    "startup_delay",
    "startup_spread",
    "warm_startup_delay",
    "stop_delay",
    "report_delay",
    "failure_rate",
    "preemption_rate",
)


class AttemptDraws:
    """The random side of a profile: what befalls each attempt.

    The draws of (trial, attempt) depend on the seed and on these two numbers alone, so that
    they do not depend on the order of events. They are made in blocks, which is cheaper.

    Args:
        seed: The experiment's seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._blocks: dict[tuple[int, int], list[list[float]]] = {}

    def draw(self, trial: int, attempt: int) -> list[float]:
        """Return (standard normal for start-up, uniform for stragglers, two exponentials)."""
        key = (trial // _BLOCK, attempt)
        block = self._blocks.get(key)
        if block is None:
            sequence = np.random.SeedSequence(self._seed, spawn_key=(_ROLE_ATTEMPT, *key))
            rng = np.random.Generator(np.random.PCG64(sequence))
            columns = (
                rng.standard_normal(_BLOCK),
                rng.random(_BLOCK),
                rng.standard_exponential(_BLOCK),
                rng.standard_exponential(_BLOCK),
            )
            block = self._blocks[key] = np.column_stack(columns).tolist()
        return block[trial % _BLOCK]
