"""Causal self-attention with its own backward pass: few passes over memory, and few launches."""

import math
from typing import Any

import torch
from torch import Tensor

from sims.transformer_wikitext2.population.dropout import Dropout


class Attention(torch.autograd.Function):
    """Scaled dot-product attention with dropout of the weights (Vaswani et al. 2017, 3.2.1)."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own type is not public
        projected: Tensor,
        mask: Tensor,
        n_heads: int,
        dropout: Dropout | None,
    ) -> Tensor:
        """Return what each head sees, side by side.

        Args:
            ctx: Keeps what `backward` needs.
            projected: Queries, keys and values side by side, each of them by head,
                shape ``(M, n_columns, length, 3 * d_model)``.
            mask: 0 where a token may look, else minus infinity, shape ``(length, length)``.
            n_heads: Heads.
            dropout: Applied to the weights; None for none.

        Returns:
            Shape ``(M, n_columns, length, d_model)``.
        """
        n_members, n_columns, length, width = projected.shape
        size = width // 3 // n_heads
        apart = projected.view(n_members, n_columns, length, 3, n_heads, size)
        query, key, value = apart.permute(3, 0, 1, 4, 2, 5).contiguous().view(3, -1, length, size)
        scale = 1 / math.sqrt(size)
        scores = torch.baddbmm(mask.to(query.dtype), query, key.transpose(1, 2), alpha=scale)
        looks = torch.softmax(scores, -1, dtype=mask.dtype)
        kept = None
        dropped = looks
        if dropout is not None:
            kept = dropout.factors((n_members, n_columns * n_heads * length * length)).view_as(
                looks
            )
            dropped = looks * kept
        dropped = dropped.to(query.dtype)
        seen = torch.bmm(dropped, value)
        ctx.save_for_backward(query, key, value, looks, dropped, kept)
        ctx.shape = (n_members, n_columns, n_heads, length, size)
        return _by_token(seen, ctx.shape)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: Tensor,
    ) -> tuple[Tensor, None, None, None]:
        """Return the gradient of `projected`."""
        query, key, value, looks, dropped, kept = ctx.saved_tensors
        n_members, n_columns, n_heads, length, size = ctx.shape
        by_head = gradient.view(n_members, n_columns, length, n_heads, size).transpose(2, 3)
        by_head = by_head.reshape(-1, length, size)
        found = query.new_empty(3, *query.shape)
        torch.bmm(dropped.transpose(1, 2), by_head, out=found[2])
        of_looks = torch.bmm(by_head, value.transpose(1, 2)).to(looks.dtype)
        if kept is not None:
            of_looks *= kept
        # Of the softmax, whose rows sum to one; then of the scaled product.
        of_scores = looks * (of_looks - (of_looks * looks).sum(-1, keepdim=True))
        of_scores = (of_scores / math.sqrt(size)).to(query.dtype)
        torch.bmm(of_scores, key, out=found[0])
        torch.bmm(of_scores.transpose(1, 2), query, out=found[1])
        apart = found.view(3, n_members, n_columns, n_heads, length, size)
        together = apart.permute(1, 2, 4, 0, 3, 5).reshape(n_members, n_columns, length, -1)
        return together, None, None, None


def attended(projected: Tensor, mask: Tensor, n_heads: int, dropout: Dropout | None) -> Tensor:
    """Apply `Attention`, whose arguments these are."""
    seen: Tensor = Attention.apply(projected, mask, n_heads, dropout)  # type: ignore[no-untyped-call]
    return seen


def _by_token(seen: Tensor, shape: tuple[int, int, int, int, int]) -> Tensor:
    n_members, n_columns, _, length, _ = shape
    return seen.view(shape).transpose(2, 3).reshape(n_members, n_columns, length, -1)
