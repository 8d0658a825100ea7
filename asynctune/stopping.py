"""When an experiment is over."""

from dataclasses import asdict, dataclass, fields
from math import inf, isnan
from typing import Any

from asynctune.exceptions import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingCriterion:
    """Bounds of an experiment; it ends when the first of them is reached.

    The bounds count what the tuner has learnt of: an event stamped exactly at
    `max_wallclock_time` still counts. At `max_trials` no new trial is started, and those that
    were started are brought to their end; at any other bound all running trials are stopped.

    Attributes:
        max_wallclock_time: Seconds since the experiment's start.
        max_trials: Trials started.
        max_evaluations: Reports.
        max_resource_total: Resource (epochs) over all trials, repeated ones not counted.
        max_cost: US dollars.
        metric_value: The experiment ends when a trial is as good as this, or better.
    """

    max_wallclock_time: float = inf
    max_trials: int | None = None
    max_evaluations: int | None = None
    max_resource_total: int | None = None
    max_cost: float | None = None
    metric_value: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isnan(value) or (field.name != "metric_value" and value <= 0):
                raise UsageError(f"{field.name} must be a number above 0; got {value}")
        if all(v is None or v == inf for v in asdict(self).values()):
            raise UsageError("an experiment must have at least one stopping criterion; got none")

    def describe(self) -> dict[str, Any]:
        """Return the bounds that are set, as JSON values."""
        return {k: v for k, v in asdict(self).items() if v is not None and v != inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a trial is tried again after an attempt failed, by cause.

    Attributes:
        user_error: Further attempts after the script's own fault, which would mostly repeat.
        infrastructure: Further attempts after a fault of the machine.
        preemption: Further attempts after the machine was taken away.
        timeout: Further attempts after the trial hung.
        backoff: Seconds before the next attempt after an infrastructure fault; it doubles with
            every further one of the same trial.
        max_failures: The experiment ends with an error when more trials than this have failed
            for good.
    """

    user_error: int = 0
    infrastructure: int = 3
    preemption: int = 20
    timeout: int = 1
    backoff: float = 10.0
    max_failures: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < inf:
                raise UsageError(
                    f"{field.name} must be at least 0 and finite; got {getattr(self, field.name)}"
                )

    def describe(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return asdict(self)
