"""What a local backend is made of."""

from pathlib import Path
from typing import NamedTuple

from asynctune.backends.local.command import Command
from asynctune.backends.local.reports import Wanted
from asynctune.backends.local.resources import Placement
from asynctune.backends.local.settings import LocalSettings
from asynctune.backends.local.store import CheckpointStore


class Setup(NamedTuple):
    """What a local backend is made of, and the supervisor of its attempts.

    Attributes:
        folder: The experiment's folder.
        command: Makes the command of a trial.
        wanted: What a report must have.
        max_resource: Resource level at which a trial is complete.
        settings: How patient to be.
        placement: Which devices a worker has.
        store: Keeps the checkpoints.
    """

    folder: Path
    command: Command
    wanted: Wanted
    max_resource: int
    settings: LocalSettings
    placement: Placement
    store: CheckpointStore
