"""Checkpoints of torch in the trial's folder, whole or not there."""

from pathlib import Path
from typing import Any

from asynctune.files import replaced_durably
from asynctune.reporting import checkpoint_dir

NAME = "checkpoint.pt"


def save_checkpoint(state: Any, name: str = NAME) -> Path | None:  # noqa: ANN401 - as torch takes it
    """Write a checkpoint into the trial's folder: all of it is on the disk when this returns.

    Args:
        state: What `torch.save` takes, such as a dict of state dicts.
        name: Name of the file within the folder.

    Returns:
        The file, or None outside a tuner, where nothing is written.
    """
    folder = checkpoint_dir()
    if folder is None:
        return None
    import torch

    path = folder / name
    with replaced_durably(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)
    return path


def load_checkpoint(name: str = NAME, *, map_location: Any = "cpu") -> Any:  # noqa: ANN401
    """Return the state that `save_checkpoint` wrote; None if there is none, or outside a tuner.

    Args:
        name: Name of the file within the folder.
        map_location: Where tensors go, as `torch.load` takes it.
    """
    folder = checkpoint_dir()
    if folder is None or not (folder / name).exists():
        return None
    import torch

    return torch.load(folder / name, map_location=map_location, weights_only=True)
