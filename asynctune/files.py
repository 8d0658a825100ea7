"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
