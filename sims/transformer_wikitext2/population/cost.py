"""What an epoch costs at least, and which share of the device's peak a run reaches."""

import time
from typing import Final

import torch

from sims.transformer_wikitext2.training.settings import Precision, Shape

_BACKWARD: Final = 3  # forward, and two products of the same size backward
# Dense peaks of the makers' data sheets, FLOP a second: without sparsity, SXM form.
_PEAKS: Final[dict[str, dict[str, float]]] = {
    "H100": {"bf16": 989e12, "tf32": 495e12, "float": 67e12, "double": 67e12},
    "H200": {"bf16": 989e12, "tf32": 495e12, "float": 67e12, "double": 67e12},
    "A100": {"bf16": 312e12, "tf32": 156e12, "float": 19.5e12, "double": 19.5e12},
    "T4": {"float": 8.1e12},
}
_SIZE: Final = 512
_TRIES: Final = 8


def epoch_flop(shape: Shape, n_words: int, train_tokens: int, valid_tokens: int) -> float:
    """Return the operations in an epoch's matrix products, validation included.

    A product of shapes (a, b) and (b, c) counts 2abc; dropout, normalisation and softmax are left
    out, as is the causal mask's half.
    """
    d = shape.d_model
    a_layer = 4 * d * d + 2 * d * d * shape.ffn_ratio + 2 * shape.bptt * d
    a_token = 2.0 * (shape.nlayers * a_layer + d * n_words)
    return a_token * (_BACKWARD * train_tokens + valid_tokens)


def peak(device: torch.device, precision: Precision) -> float | None:
    """Return the device's peak, FLOP a second: of its data sheet, or measured if it is the CPU.

    None for a GPU that is not known.
    """
    if device.type != "cuda":
        return _measured(torch.float64 if precision == "double" else torch.float32)
    name = torch.cuda.get_device_name(device)
    for known, peaks in _PEAKS.items():
        if known in name:
            return peaks.get(precision)
    return None


def _measured(dtype: torch.dtype) -> float:
    """Return what a square product of matrices that stay in the cache reaches, at best."""
    a, b = torch.ones(2, _SIZE, _SIZE, dtype=dtype)
    best = float("inf")
    for _ in range(_TRIES):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - begin)
    return 2.0 * _SIZE**3 / best
