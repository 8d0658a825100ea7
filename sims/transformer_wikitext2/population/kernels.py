"""What a GPU does in one pass over memory: the loss of rows of logits, and the step of SGD.

torch's own operations pass over the logits six times where two will do, and over the weights
three times where one will. Written for Triton, which comes with torch's builds for CUDA.
"""

# Triton has its own types for what kernels are given, and is not installed with torch for CPUs.
# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="import-not-found,untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl
from torch import Tensor

from sims.transformer_wikitext2.population.update import Rates


@triton.jit
def _row_loss(
    logits_ptr,
    bias_ptr,
    targets_ptr,
    losses_ptr,
    n_rows,
    n_words,
    WITH_GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program a row: the running maximum and sum of exponentials, then the gradient."""
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * n_words
    bias_ptr += (row // n_rows) * n_words
    target = tl.load(targets_ptr + row % n_rows)
    lanes = tl.arange(0, BLOCK)
    highest = float("-inf")
    total = 0.0
    at_target = 0.0
    for start in range(0, n_words, BLOCK):
        at = start + lanes
        inside = at < n_words
        scores = tl.load(logits_ptr + at, mask=inside, other=0.0).to(tl.float32)
        scores += tl.load(bias_ptr + at, mask=inside, other=float("-inf")).to(tl.float32)
        new = tl.maximum(highest, tl.max(scores, 0))
        total = total * tl.exp(highest - new) + tl.sum(tl.exp(scores - new), 0)
        at_target += tl.sum(tl.where(at == target, scores, 0.0), 0)
        highest = new
    log_total = highest + tl.log(total)
    tl.store(losses_ptr + row, log_total - at_target)
    if WITH_GRADIENT:
        for start in range(0, n_words, BLOCK):
            at = start + lanes
            inside = at < n_words
            scores = tl.load(logits_ptr + at, mask=inside, other=0.0).to(tl.float32)
            scores += tl.load(bias_ptr + at, mask=inside, other=float("-inf")).to(tl.float32)
            slope = tl.exp(scores - log_total) - tl.where(at == target, 1.0, 0.0)
            tl.store(logits_ptr + at, slope.to(logits_ptr.dtype.element_ty), mask=inside)


def row_loss(
    logits: Tensor, bias: Tensor, targets: Tensor, *, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Compute a `RowLoss` in one pass and, for the gradient, a second one."""
    n_members, n_rows, n_words = logits.shape
    if not (logits.is_contiguous() and targets.is_contiguous()):
        raise ValueError("logits and targets must be contiguous")
    bias = bias.contiguous()
    losses = torch.empty(n_members, n_rows, dtype=bias.dtype, device=logits.device)
    _row_loss[(n_members * n_rows,)](
        logits,
        bias,
        targets,
        losses,
        n_rows,
        n_words,
        WITH_GRADIENT=with_gradient,
        BLOCK=min(4096, triton.next_power_of_2(n_words)),
        num_warps=8,
    )
    return losses, logits


@triton.jit
def _descend(
    weights_ptr,
    momentum_ptr,
    gradient_ptr,
    copy_ptr,
    lr_ptr,
    mu_ptr,
    factor_ptr,
    size,
    stride,
    HAS_COPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program a block of one member's weights."""
    member = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    at += member * stride
    gradient = tl.load(gradient_ptr + at, mask=inside).to(tl.float32)
    momentum = tl.load(momentum_ptr + at, mask=inside)
    momentum = momentum * tl.load(mu_ptr + member) + gradient * tl.load(factor_ptr + member)
    weights = tl.load(weights_ptr + at, mask=inside) - momentum * tl.load(lr_ptr + member)
    tl.store(momentum_ptr + at, momentum, mask=inside)
    tl.store(weights_ptr + at, weights, mask=inside)
    if HAS_COPY:
        tl.store(copy_ptr + at, weights.to(copy_ptr.dtype.element_ty), mask=inside)


def descend(
    weights: Tensor, momentum: Tensor, gradient: Tensor, copy: Tensor, rates: Rates, factor: Tensor
) -> None:
    """Take the step of a `Descend` in one pass."""
    for tensor in (weights, momentum, gradient, copy):
        if not tensor.is_contiguous():
            raise ValueError("weights, momentum, gradient and copy must be contiguous")
    size = weights[0].numel()
    block = 2048
    _descend[(triton.cdiv(size, block), len(weights))](
        weights,
        momentum,
        gradient,
        copy,
        rates.lr,
        rates.momentum,
        factor,
        size,
        size,
        HAS_COPY=copy is not weights,
        BLOCK=block,
        num_warps=8,
    )
