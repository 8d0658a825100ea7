"""Files that are written whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
NO_ROOM: Final = ("No space left on device", "Disk quota exceeded")
"""What programs say where there is no room."""
_LITTLE: Final = 16 << 20  # bytes


def is_full(folder: Path) -> bool:
    """Return whether there is so little room in a folder that no program gets far."""
    return shutil.disk_usage(folder).free < _LITTLE


def tells_of_no_room(error: BaseException) -> bool:
    """Return whether an error says that the disk is full, or the share of it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    return any(words in str(error) for words in NO_ROOM)


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place if the block succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_durably(path: Path) -> Iterator[Path]:
    """As `replaced_atomically`; the disk has it, under its name, when the block is left."""
    with replaced_atomically(path) as temporary:
        yield temporary
        _to_disk(temporary)
    _to_disk(path.parent)  # the new name is safe only when the folder is


def _to_disk(path: Path) -> None:
    """Wait until the disk has a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
