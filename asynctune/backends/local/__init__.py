"""Trials that are processes of this machine."""

from asynctune.backends.base import Backend, BackendRequest


def local_backend(request: BackendRequest) -> Backend:
    """Make the backend that was asked for, as the entry point `local` does.

    Raises:
        UsageError: If there is nothing to train, or a setting is out of range.
    """
    from pathlib import Path

    from asynctune.backends.local.backend import LocalBackend
    from asynctune.backends.local.command import Command
    from asynctune.backends.local.reports import Wanted
    from asynctune.backends.local.resources import make_placement
    from asynctune.backends.local.settings import split_options
    from asynctune.backends.local.setup import Setup
    from asynctune.backends.local.store import CheckpointStore
    from asynctune.exceptions import UsageError
    from asynctune.space import ConfigSpace

    benchmark = request.benchmark
    if benchmark.trainable is None:
        raise UsageError(
            f"a local run needs a script or a function to train; {benchmark.name} has none"
        )
    settings, others = split_options(request.options)
    folder = (request.folder or Path()).absolute()
    wanted = Wanted(benchmark.metric, benchmark.resource)
    return LocalBackend(
        Setup(
            folder,
            Command(benchmark.trainable, ConfigSpace(benchmark.space)),
            wanted,
            benchmark.max_resource,
            settings,
            make_placement(request.n_workers, others),
            CheckpointStore(
                folder,
                settings.disk_budget,
                wanted,
                1.0 if benchmark.mode == "min" else -1.0,
                benchmark.max_resource,
            ),
        )
    )
