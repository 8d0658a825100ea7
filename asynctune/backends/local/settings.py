"""The settings of the local backend that have nothing to do with devices."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Final, Literal

from asynctune.exceptions import UsageError

ON_INTERRUPT: Final = ("pause", "stop", "detach")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How patient the backend is, and how much it keeps.

    Attributes:
        grace_period: Seconds that a trial has for its checkpoint when it is told to pause.
        report_timeout: Seconds without a report after which an attempt has failed; None: any.
        trial_timeout: Seconds of wall clock that a trial may take, over all of its attempts; None:
            any.
        disk_budget: Bytes that the checkpoints of trials that do not run may take; None: any.
        on_interrupt: What becomes of running trials when the tuner is interrupted: "pause" lets
            them write their checkpoints, "stop" does not wait for that, "detach" lets them run
            on until the tuner is started again.
    """

    grace_period: float = 30.0
    report_timeout: float | None = None
    trial_timeout: float | None = None
    disk_budget: int | None = None
    on_interrupt: Literal["pause", "stop", "detach"] = "pause"

    def __post_init__(self) -> None:
        for name in ("report_timeout", "trial_timeout", "disk_budget"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < inf):
                raise UsageError(f"{name} must be a number above 0, or None; got {value!r}")
        if not (_is_number(self.grace_period) and 0 <= self.grace_period < inf):
            raise UsageError(f"grace_period must be at least 0 seconds; got {self.grace_period!r}")
        if self.on_interrupt not in ON_INTERRUPT:
            raise UsageError(
                f"on_interrupt must be one of {', '.join(ON_INTERRUPT)}; got {self.on_interrupt!r}"
            )


SETTINGS: Final = tuple(field.name for field in fields(LocalSettings))
"""The names of the settings."""


def split_options(options: Mapping[str, Any]) -> tuple[LocalSettings, dict[str, Any]]:
    """Return the settings among a backend's options, and the options that are none of them."""
    own = {name: value for name, value in options.items() if name in SETTINGS}
    return LocalSettings(**own), {n: v for n, v in options.items() if n not in SETTINGS}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
