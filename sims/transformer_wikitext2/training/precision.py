"""What precision the matrix products have."""

from contextlib import AbstractContextManager, nullcontext

import torch

from sims.transformer_wikitext2.training.settings import Precision


def set_matmul_precision(precision: Precision) -> None:
    """Allow or forbid TF32 in float32 matrix products, for the whole process."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context for the forward pass: bf16 products over float32 weights, or none."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def pick_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is CUDA where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
