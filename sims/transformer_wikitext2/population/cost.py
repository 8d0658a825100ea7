"""What an epoch costs at least, which share of the device's peaks a run reaches, what limits it."""

import time
from typing import Final, NamedTuple

import torch

from sims.transformer_wikitext2.population.weights import MASTER
from sims.transformer_wikitext2.training.settings import Precision, Shape

_BACKWARD: Final = 3  # forward, and two products of the same size backward
# Dense peaks of the makers' data sheets, FLOP a second: without sparsity, SXM form.
_PEAKS: Final[dict[str, dict[str, float]]] = {
    "H100": {"bf16": 989e12, "tf32": 495e12, "float": 67e12, "double": 67e12},
    "H200": {"bf16": 989e12, "tf32": 495e12, "float": 67e12, "double": 67e12},
    "A100": {"bf16": 312e12, "tf32": 156e12, "float": 19.5e12, "double": 19.5e12},
    "T4": {"float": 8.1e12},
}
# Of the same data sheets, bytes a second.
_BANDWIDTHS: Final = {"H100": 3.35e12, "H200": 4.8e12, "A100": 2.0e12, "T4": 0.32e12}
_SIZE: Final = 512
_TRIES: Final = 8
# Times that logits pass to or from memory: written, read for the loss, read and written for the
# gradient, read for that of the hidden states, of the weights, and of the biases; or without.
_LOGIT_PASSES: Final = 7
_LOGIT_PASSES_EVALUATED: Final = 2
# Times that a step passes over the output weights in the precision of the products (read twice;
# their gradient written, read for its norm and for the step), and over the weights and the
# momentum that the step changes.
_WEIGHT_PASSES: Final = 5
_UPDATE_PASSES: Final = 4


def epoch_flop(shape: Shape, n_words: int, train_tokens: int, valid_tokens: int) -> float:
    """Return the operations in an epoch's matrix products, validation included.

    A product of shapes (a, b) and (b, c) counts 2abc; dropout, normalisation and softmax are left
    out, as is the causal mask's half.
    """
    d = shape.d_model
    a_layer = 4 * d * d + 2 * d * d * shape.ffn_ratio + 2 * shape.bptt * d
    a_token = 2.0 * (shape.nlayers * a_layer + d * n_words)
    return a_token * (_BACKWARD * train_tokens + valid_tokens)


class Problem(NamedTuple):
    """What an epoch of a config is made of.

    Attributes:
        shape: The model's shape.
        n_words: Size of the vocabulary.
        train_tokens: Tokens trained on.
        valid_tokens: Tokens validated on.
        precision: Of the matrix products.
    """

    shape: Shape
    n_words: int
    train_tokens: int
    valid_tokens: int
    precision: Precision

    @property
    def flop(self) -> float:
        """Operations in the matrix products of an epoch of one config."""
        return epoch_flop(self.shape, self.n_words, self.train_tokens, self.valid_tokens)

    @property
    def evaluation_share(self) -> float:
        """Operations of the evaluation over those of the training."""
        return self.valid_tokens / (_BACKWARD * self.train_tokens)

    def traffic(self, batch_size: int) -> float:
        """Return the bytes that an epoch of one config moves to and from memory at least.

        That is what the output layer and its weights take with fused kernels, which is most of it
        where the vocabulary is large; the layers below it are left out.
        """
        master = torch.finfo(MASTER[self.precision]).bits // 8
        product = 2 if self.precision == "bf16" else master
        steps = self.train_tokens / (batch_size * self.shape.bptt)
        a_step = _WEIGHT_PASSES * product + _UPDATE_PASSES * master
        a_step += product if product != master else 0  # the copy that products use
        logits = _LOGIT_PASSES * self.train_tokens + _LOGIT_PASSES_EVALUATED * self.valid_tokens
        return self.n_words * (steps * self.shape.d_model * a_step + logits * float(product))


class Device(NamedTuple):
    """What a device can do at best.

    Attributes:
        peak: FLOP a second, None if that is not known.
        bandwidth: Bytes a second to and from memory, None if that is not known.
    """

    peak: float | None
    bandwidth: float | None

    def least(self, problem: Problem, batch_size: int, epochs: int) -> float | None:
        """Return the seconds that `epochs` epochs of one config need at least; None if unknown."""
        if self.peak is None:
            return None
        moving = problem.traffic(batch_size) / self.bandwidth if self.bandwidth else 0.0
        return epochs * max(problem.flop / self.peak, moving)

    def speed(self, problem: Problem, batch_size: int, epochs: int, seconds: float) -> str:
        """Say how fast `epochs` epochs of one config, trained at once, were in so many seconds."""
        rate = problem.flop * epochs / seconds
        said = f"{rate / 1e12:.3g} TFLOP/s"
        if self.peak is None:
            return said
        said += f", {rate / self.peak:.0%} of the device's peak"
        if self.bandwidth is None:
            return said
        moved = problem.traffic(batch_size) * epochs / seconds / self.bandwidth
        return f"{said} and {moved:.0%} of its memory's, {limit(rate / self.peak, moved)}"


def limit(arithmetic: float, memory: float) -> str:
    """Say what limits a run that reaches these shares of a device's two peaks."""
    if max(arithmetic, memory) < 0.4:
        return "limited by neither"
    return "limited by memory traffic" if memory > arithmetic else "limited by arithmetic"


def device_of(device: torch.device, precision: Precision) -> Device:
    """Return what a device can do: of its data sheet, or measured if it is the CPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    known = (value for key, value in _BANDWIDTHS.items() if key in name)
    return Device(peak(device, precision), next(known, None))


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
