"""Checkpoints that are whole or not there, and from which training goes on as if never cut."""

import pickle
from pathlib import Path
from typing import Any, Final

import torch

from asynctune.exceptions import UsageError
from asynctune.files import replaced_durably

NAME: Final = "checkpoint.pt"
_FORMAT: Final = 1


def save(path: Path, state: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write a checkpoint: all of it is on the disk, under its name, when this returns.

    Args:
        path: The file; its folder is made if it does not exist.
        state: Tensors and plain values. The states of torch's generators are added.
        identity: What a training that goes on from here must have in common with this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"format": _FORMAT, "identity": identity, "state": state, "random": _random_state()}
    with replaced_durably(path) as temporary, temporary.open("wb") as file:
        torch.save(whole, file)


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state of a checkpoint, on the CPU, or None if there is none.

    torch's generators are set to where they were.

    Raises:
        UsageError: If the file is no checkpoint, or one of another training.
    """
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(whole, dict) or whole.get("format") != _FORMAT:
        raise UsageError(f"{path} must be a checkpoint of format {_FORMAT}")
    for name, value in identity.items():
        if whole["identity"].get(name) != value:
            raise UsageError(
                f"a checkpoint must be of the same training: {path} has {name} "
                f"{whole['identity'].get(name)!r}, asked for is {value!r}"
            )
    _set_random_state(whole["random"])
    state: dict[str, Any] = whole["state"]
    return state


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
