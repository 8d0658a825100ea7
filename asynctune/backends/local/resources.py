"""Which devices a worker has: GPUs of its own or shares of one, and a share of the cores.

A worker keeps its devices, so that what a trial finds does not depend on when it starts.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from asynctune.backends.local.gpus import ORDER, VISIBLE, Device, allowed, chosen, read_gpus
from asynctune.backends.local.settings import SETTINGS
from asynctune.cores import available_cores
from asynctune.exceptions import UsageError

_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_KNOWN: Final = ("gpus", "gpus_per_trial", "trials_per_gpu", "threads")
_PATIENCE: Final = 15.0  # seconds that memory may take to become free
_SECONDS_BETWEEN_LOOKS: Final = 0.25
_SPARE: Final = 256  # MiB that a driver may keep, or others use, more than before


class Placement(Protocol):
    """Gives workers their devices; they are numbered, and keep theirs."""

    def environment(self, slot: int) -> Mapping[str, str]:
        """Return the environment variables that give a worker its devices."""
        ...

    async def ready(self, slot: int) -> None:
        """Wait until the devices of a worker are free of what ran on them last."""
        ...


class Machine:
    """Divides the devices of this machine among workers.

    Args:
        devices: The GPUs of each worker, by its number. A GPU may occur at several.
        trials_per_gpu: Trials that share a GPU.
        environment: Environment variables of all trials.
    """

    def __init__(
        self,
        devices: Sequence[Sequence[Device]],
        trials_per_gpu: int,
        environment: Mapping[str, str],
    ) -> None:
        self._devices = devices
        self._share = 1 / trials_per_gpu
        self._environment = environment
        self._most: dict[str, int] = {}  # MiB that have been free at once, by UUID

    def environment(self, slot: int) -> Mapping[str, str]:
        """Return the environment variables that give a worker its devices."""
        found = dict(self._environment)
        if self._devices:
            found[VISIBLE] = ",".join(device.name for device in self._devices[slot])
        return found

    async def ready(self, slot: int) -> None:
        """Wait until a worker's share of its GPUs' memory is free, or for 15 s.

        The memory of a process that was killed may be given back after its end. What was free
        when most was is taken for all that there is, as others may use a GPU as well.
        """
        watched = {d.uuid for d in self._devices[slot]} - {None} if self._devices else set()
        if not watched:
            return
        waited = 0.0
        while True:
            gpus = await asyncio.to_thread(read_gpus)
            free = {g.uuid: g.free for g in gpus if g.uuid in watched and g.free is not None}
            for uuid, size in free.items():
                self._most[uuid] = max(self._most.get(uuid, 0), size)
            if all(size >= self._most[u] * self._share - _SPARE for u, size in free.items()):
                return
            if waited >= _PATIENCE:
                self._most.update(free)  # somebody else has it: waiting again is of no use
                return
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            waited += _SECONDS_BETWEEN_LOOKS


def make_placement(n_workers: int, options: Mapping[str, Any]) -> Placement:
    """Return the placement that the options ask for.

    Args:
        n_workers: Number of workers.
        options: ``gpus``: those to use, such as "0,2", or "none"; default all that
            ``CUDA_VISIBLE_DEVICES`` allows. ``gpus_per_trial`` (default 1), or else
            ``trials_per_gpu`` (default 1). ``threads``: CPU threads of a trial, default an equal
            share of the cores.

    Raises:
        UsageError: If an option is unknown or not valid, or there are too few GPUs.
    """
    for name in options:
        if name not in _KNOWN:
            listed = ", ".join((*_KNOWN, *SETTINGS))
            raise UsageError(f"the local backend's options are: {listed}; got {name!r}")
    gpus_per_trial = _whole_number("gpus_per_trial", options)
    trials_per_gpu = _whole_number("trials_per_gpu", options)
    threads = _whole_number("threads", options)
    environment = _thread_variables(n_workers, threads)
    wanted, visible = options.get("gpus"), os.environ.get(VISIBLE)
    gpus = read_gpus()
    if not gpus:
        for name in ("gpus_per_trial", "trials_per_gpu", "gpus"):
            value = options.get(name)
            if value is not None and value != "none":
                raise UsageError(f"{name} needs GPUs, and nvidia-smi finds none; got {value!r}")
        return Machine((), 1, environment)
    devices = chosen(allowed(gpus, visible), gpus, wanted)
    if visible is None:
        environment[ORDER] = "PCI_BUS_ID"  # the numbers that nvidia-smi gives
    if not devices:
        if gpus_per_trial is not None or trials_per_gpu is not None:
            raise UsageError("gpus_per_trial and trials_per_gpu need GPUs; none is to be used")
        return Machine((), 1, {**environment, VISIBLE: ""})
    divided = _divide(devices, n_workers, gpus_per_trial or 1, trials_per_gpu or 1)
    return Machine(divided, trials_per_gpu or 1, environment)


def _divide(
    devices: Sequence[Device], n_workers: int, gpus_per_trial: int, trials_per_gpu: int
) -> list[list[Device]]:
    """Return the devices of each worker."""
    if gpus_per_trial > 1 and trials_per_gpu > 1:
        raise UsageError(
            f"a trial has several GPUs or a share of one; got gpus_per_trial {gpus_per_trial} "
            f"and trials_per_gpu {trials_per_gpu}"
        )
    room = len(devices) * trials_per_gpu // gpus_per_trial
    if n_workers > room:
        raise UsageError(
            f"n_workers must be at most {room}, with {len(devices)} GPU(s) to use, gpus_per_trial "
            f"{gpus_per_trial} and trials_per_gpu {trials_per_gpu} (gpus=none would use none); "
            f"got {n_workers}"
        )
    if gpus_per_trial > 1:
        return [list(devices[gpus_per_trial * n :][:gpus_per_trial]) for n in range(n_workers)]
    return [[devices[n % len(devices)]] for n in range(n_workers)]


def _thread_variables(n_workers: int, threads: int | None) -> dict[str, str]:
    """Return the variables that bound a trial's threads: those that nobody has set, or all."""
    share = str(threads or max(available_cores() // n_workers, 1))
    return {name: share for name in _THREADS if threads is not None or name not in os.environ}


def _whole_number(name: str, options: Mapping[str, Any]) -> int | None:
    value = options.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{name} must be a whole number of at least 1; got {value!r}")
    return value
