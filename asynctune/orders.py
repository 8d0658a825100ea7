"""What backends are told to start, and what a restart expects them to be running."""

from typing import NamedTuple

from asynctune.space import Config


class Order(NamedTuple):
    """What is to be started: an attempt of a trial.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt, from 0.
        slot: Number of the worker that it takes, from 0.
        config: The trial's config.
        from_resource: Resource level whose checkpoint it goes on from; 0: from scratch.
        until: Resource level at which it is to end by itself.
        slot_free_since: When the worker became free, or None if it was never used.
    """

    trial: int
    attempt: int
    slot: int
    config: Config
    from_resource: int
    until: int
    slot_free_since: float | None


class Expected(NamedTuple):
    """An attempt that the journal says was started and does not say is over.

    Attributes:
        order: The command it was started with.
        time: When it was commanded.
        running: Whether its `Started` event, or a report, was seen.
        reports: How many of its reports were seen.
        commands: The commands given since, ("pause" or "stop", time).
    """

    order: Order
    time: float
    running: bool
    reports: int
    commands: tuple[tuple[str, float], ...]
