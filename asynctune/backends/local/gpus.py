"""The GPUs of this machine, as ``nvidia-smi`` tells of them, and which of them may be used."""

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final, NamedTuple

from asynctune.exceptions import UsageError

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
ORDER: Final = "CUDA_DEVICE_ORDER"
_QUERY: Final = ("--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")
_PATIENCE: Final = 60.0  # seconds; a driver that nobody uses takes some to wake
_PART: Final = "MIG-"  # how the names of parts of GPUs begin


class Gpu(NamedTuple):
    """A GPU as the driver knows it.

    Attributes:
        number: Its number in the order of the bus.
        uuid: Its name, the same on every day.
        free: MiB of its memory that nothing uses; None if the driver does not say.
    """

    number: int
    uuid: str
    free: int | None


class Device(NamedTuple):
    """A GPU, or a part of one, that may be used.

    Attributes:
        name: What CUDA knows it by.
        uuid: UUID of the whole GPU whose memory can be watched; None for a part of one.
    """

    name: str
    uuid: str | None


def read_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs of this machine, none if it has no ``nvidia-smi`` or that finds none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        told = subprocess.run(  # noqa: S603 - the driver's own program
            [program, *_QUERY], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if told.returncode != 0:
        return ()
    rows = [[field.strip() for field in line.split(",")] for line in told.stdout.splitlines()]
    return tuple(
        Gpu(int(row[0]), row[1], int(row[2]) if row[2].isdigit() else None)
        for row in rows
        if len(row) == len(Gpu._fields) and row[0].isdigit()
    )


def allowed(gpus: Sequence[Gpu], visible: str | None) -> list[Device]:
    """Return the devices that the environment allows.

    Args:
        gpus: Those of the machine.
        visible: The value of ``CUDA_VISIBLE_DEVICES``: numbers, or UUIDs that may be cut short;
            None allows all. As CUDA does, what follows a -1 is left out.

    Raises:
        UsageError: If it names a GPU that there is not.
    """
    if visible is None:
        return [Device(str(gpu.number), gpu.uuid) for gpu in gpus]
    devices = []
    for name in _split(visible):
        if name == "-1":
            break
        found = _find(name, gpus)
        if not (found or name.startswith(_PART)):
            raise UsageError(
                f"{VISIBLE} must name GPUs of this machine, {_names(gpus)}; got {name!r}"
            )
        devices.append(Device(name, found.uuid if found else None))
    return devices


def chosen(
    devices: Sequence[Device], gpus: Sequence[Gpu], wanted: str | Sequence[int | str] | None
) -> list[Device]:
    """Return those of the allowed devices that the option ``gpus`` names.

    Args:
        devices: Those that the environment allows.
        gpus: Those of the machine.
        wanted: Numbers or UUIDs, such as "0,2" or [0, 2]; "none" for none; None for all.

    Raises:
        UsageError: If a GPU is named twice, or is not among the devices.
    """
    if wanted is None:
        return list(devices)
    if isinstance(wanted, str):
        wanted = [] if wanted.strip().lower() == "none" else _split(wanted) or [wanted]
    elif not isinstance(wanted, list | tuple):
        raise UsageError(f'gpus must be such as "0,2", [0, 2] or "none"; got {wanted!r}')
    found = []
    for name in map(str, wanted):
        gpu = _find(name, gpus)
        same = [
            device
            for device in devices
            if device.name == name or (gpu is not None and device.uuid == gpu.uuid)
        ]
        if len(same) != 1:
            names = ", ".join(device.name for device in devices) or "none"
            raise UsageError(f"gpus must be among those that can be used, {names}; got {name!r}")
        if same[0] in found:
            raise UsageError(f"gpus must name each GPU once; got {name!r} again")
        found.append(same[0])
    return found


def _find(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """Return the one GPU that a number or the beginning of a UUID names."""
    if name.isdigit():
        found = [gpu for gpu in gpus if gpu.number == int(name)]
    else:
        found = [gpu for gpu in gpus if name.startswith("GPU-") and gpu.uuid.startswith(name)]
    return found[0] if len(found) == 1 else None


def _names(gpus: Sequence[Gpu]) -> str:
    return ", ".join(str(gpu.number) for gpu in gpus)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
