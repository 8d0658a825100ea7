"""Clipping by the norm of a member's whole gradient, and SGD with momentum."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

Descend = Callable[[Tensor, Tensor, Tensor, Tensor, "Rates", Tensor], None]
"""Takes weights, momentum and gradient ``(M, ...)``, the copy of the weights that matrix
products use (the weights themselves if there is none), the rates and the factors by which
clipping shortens the gradients ``(M,)``; changes weights, momentum and copy."""


class Rates(NamedTuple):
    """One value a member of each, shape ``(M,)``.

    Attributes:
        lr: Learning rate.
        momentum: In [0, 1).
        clip: Norm to which the gradient is clipped; 0 for no clipping.
    """

    lr: Tensor
    momentum: Tensor
    clip: Tensor


def clip_factors(gradients: list[Tensor], clip: Tensor) -> Tensor:
    """Return the factors by which clipping shortens each member's gradient, shape ``(M,)``.

    Args:
        gradients: Those that belong together, each of shape ``(M, ...)``.
        clip: Norm to clip to, 0 for no clipping, shape ``(M,)``.
    """
    norms = [vector_norm(g.flatten(1), dim=1, dtype=clip.dtype) for g in gradients]
    norm = vector_norm(torch.stack(norms), dim=0)
    # The small number is that of torch.nn.utils.clip_grad_norm_, which the script uses.
    factor = (clip / (norm + 1e-6)).clamp(max=1.0)
    return torch.where(clip > 0, factor, 1.0)


def along(values: Tensor, like: Tensor) -> Tensor:
    """Return ``(M,)`` values in a shape that spreads over ``(M, ...)``."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def descend(
    weights: Tensor, momentum: Tensor, gradient: Tensor, copy: Tensor, rates: Rates, factor: Tensor
) -> None:
    """Take the step of a `Descend` with torch's own operations."""
    momentum.mul_(along(rates.momentum, momentum))
    momentum.addcmul_(gradient.to(momentum.dtype), along(factor, momentum))
    weights.addcmul_(momentum, along(rates.lr, momentum), value=-1)
    if copy is not weights:
        copy.copy_(weights)


class Rows(NamedTuple):
    """Some rows of the embeddings, up to date.

    Attributes:
        weights: Shape ``(M, k, d_model)``.
        momentum: Shape ``(M, k, d_model)``.
    """

    weights: Tensor
    momentum: Tensor


def caught_up(rows: Rows, missed: Tensor, rates: Rates) -> Rows:
    """Return rows after steps in which their gradient was zero.

    Such a row coasts: after k steps the momentum is m mu^k, and the row has moved by
    -lr m (mu + ... + mu^k). So rows need to be touched only when their word comes up.

    Args:
        rows: As they were left.
        missed: Steps since, shape ``(k,)``.
        rates: The members' rates.
    """
    mu = rates.momentum.double()[:, None]
    left = mu ** missed.double()
    moved = rates.lr.double()[:, None] * mu * (1 - left) / (1 - mu)
    dtype = rows.weights.dtype
    return Rows(
        rows.weights - moved.to(dtype)[..., None] * rows.momentum,
        rows.momentum * left.to(dtype)[..., None],
    )
