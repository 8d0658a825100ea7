"""Choose how the heavy parts of a step are done on a device, checking what is chosen."""

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from sims.transformer_wikitext2.population import head, update
from sims.transformer_wikitext2.population.body import hidden_states
from sims.transformer_wikitext2.training.settings import Precision

# Bytes of logits at a time: on a CPU they stay in its cache, on a GPU they fill it with work.
_CPU_LIMIT: Final = 4 << 20
_GPU_LIMIT: Final = 2 << 30


class Operations(NamedTuple):
    """How the heavy parts of a step are done, and with how much memory.

    Attributes:
        row_loss: The loss of rows of logits.
        descend: The step of the weights.
        hidden_states: The body of the model.
        replayed: Whether steps are captured as a CUDA graph and replayed.
        limit: Most bytes of logits at a time.
    """

    row_loss: head.RowLoss
    descend: update.Descend
    hidden_states: Callable[..., Tensor] = hidden_states
    replayed: bool = False
    limit: int = _CPU_LIMIT


PLAIN: Final = Operations(head.row_loss, update.descend)


def choose(
    device: torch.device,
    precision: Precision,
    tell: Callable[[str], None] = lambda _: None,
) -> Operations:
    """Return the fastest operations that this device and this build of torch have.

    Args:
        device: Where they run. On a CPU torch's own operations are taken; on a GPU steps are
            captured and the fused kernels are used if they prove right on random input.
        precision: What they are computed in; the fused kernels have no float64.
        tell: Told what was not to be had, and why.
    """
    if device.type != "cuda":
        return PLAIN
    row_loss, descend = head.row_loss, update.descend
    if precision != "double":
        try:
            from sims.transformer_wikitext2.population import kernels

            check(kernels.row_loss, kernels.descend, device)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on without
            tell(f"no fused kernels: {type(error).__name__}: {error}")
        else:
            row_loss, descend = kernels.row_loss, kernels.descend
    return Operations(row_loss, descend, hidden_states, replayed=True, limit=_GPU_LIMIT)


def check(row_loss: head.RowLoss, descend: update.Descend, device: torch.device) -> None:
    """Compare operations with torch's own, on random input.

    Raises:
        ArithmeticError: If they do not agree.
    """
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    n_words = 5_000
    logits, bias = random(3, 7, n_words) * 3, random(3, n_words)
    bias[:, -24:] = -torch.inf
    targets = torch.randint(n_words - 24, (7,), generator=generator).to(device)
    for dtype, within in ((torch.float32, 1e-5), (torch.bfloat16, 4e-3)):
        for with_gradient in (False, True):
            ours, exact = logits.to(dtype), logits.to(dtype).double()
            losses, slopes = row_loss(ours, bias, targets, with_gradient=with_gradient)
            right, exact = head.row_loss(exact, bias.double(), targets, with_gradient=with_gradient)
            _agree("loss", losses, right, 1e-5)
            if with_gradient:
                _agree("gradient of the logits", slopes, exact, within)

    rates = update.Rates(*(random(3).abs() for _ in range(3)))
    factor = random(3).abs()
    for dtype in (torch.float32, torch.bfloat16):
        given = [random(3, 33, 100) for _ in range(2)]
        gradient = random(3, 33, 100).to(dtype)
        results = []
        for step in (descend, update.descend):
            weights, momentum = (tensor.clone() for tensor in given)
            copy = weights if dtype is torch.float32 else weights.to(dtype)
            step(weights, momentum, gradient, copy, rates, factor)
            results.append((weights, momentum, copy))
        for name, ours, theirs in zip(("weights", "momentum", "copy"), *results, strict=True):
            _agree(name, ours, theirs, 1e-5 if name != "copy" or dtype is torch.float32 else 4e-3)


def _agree(name: str, ours: Tensor, theirs: Tensor, within: float) -> None:
    ours, theirs = ours.double(), theirs.double()
    error = float((ours - theirs).norm() / theirs.norm())
    if not error <= within:
        raise ArithmeticError(f"{name}: relative error {error:.2g}, at most {within:.2g} is right")
