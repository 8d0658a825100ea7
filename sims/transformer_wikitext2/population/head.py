"""The output layer and the loss: most of the arithmetic, and most of the memory traffic.

Nothing is left for autograd to keep: logits live in one buffer that turns into their own
gradient, for as many members and rows at a time as fit a limit.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class RowLoss(Protocol):
    """The loss of rows of logits."""

    def __call__(
        self, logits: Tensor, bias: Tensor, targets: Tensor, *, with_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the rows' negative log-likelihoods and the logits' gradient.

        The losses have the shape ``(m, n)`` and the type of `bias`; the gradient, in the shape
        and type of the logits, is theirs by row. It may lie in the memory of the logits, which
        are lost in any case.

        Args:
            logits: Without the bias, shape ``(m, n, rows)``.
            bias: Shape ``(m, rows)``.
            targets: The words that came, shape ``(n,)``.
            with_gradient: Whether the gradient is wanted; if not, what is returned for it is
                undefined.
        """
        ...


class Chunk(NamedTuple):
    """Some members, and some of the rows of their hidden states."""

    members: slice
    rows: slice


def chunks(n_members: int, n_rows: int, row_bytes: int, limit: int) -> Iterator[Chunk]:
    """Yield what is worked on at a time: whole members if one fits the limit, else parts of one."""
    per_member = max(1, min(n_members, limit // max(1, row_bytes * n_rows)))
    per_row = n_rows if row_bytes * n_rows <= limit else max(1, limit // row_bytes)
    for member in range(0, n_members, per_member):
        for row in range(0, n_rows, per_row):
            yield Chunk(
                slice(member, min(n_members, member + per_member)),
                slice(row, min(n_rows, row + per_row)),
            )


def row_loss(
    logits: Tensor, bias: Tensor, targets: Tensor, *, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Compute a `RowLoss` with torch's own operations."""
    scores = logits if logits.dtype is bias.dtype else logits.to(bias.dtype)
    scores += bias[:, None]
    # In place: rows are normalised one by one.
    torch.log_softmax(scores, -1, out=scores)
    at = targets.expand(len(logits), -1)[..., None]
    losses = -scores.gather(-1, at)[..., 0]
    if with_gradient:
        scores.exp_()
        scores.scatter_add_(-1, at, scores.new_full((), -1.0).expand_as(at))
    return losses, scores.to(logits.dtype)


class Memory:
    """Memory for logits that is used again and again: on a CPU it stays in the cache.

    On a GPU torch's own allocator does as well, and knows of captured graphs.
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None

    def logits(self, hidden: Tensor, output: Tensor) -> Tensor:
        """Return the products of hidden states ``(m, n, d)`` and weights ``(m, rows, d)``."""
        across = output.transpose(1, 2)
        if hidden.device.type != "cpu":
            return torch.bmm(hidden, across)
        shape = (*hidden.shape[:2], output.shape[1])
        size = shape[0] * shape[1] * shape[2]
        if self._kept is None or len(self._kept) < size:
            self._kept = hidden.new_empty(size)
        return torch.bmm(hidden, across, out=self._kept[:size].view(shape))


@torch.no_grad()
def losses(
    hidden: Tensor,
    output: Tensor,
    bias: Tensor,
    targets: Tensor,
    limit: int,
    of_rows: RowLoss,
    memory: Memory,
) -> Tensor:
    """Return each token's negative log-likelihood, shape ``(M, n)``; arguments as of `backward`."""
    n_members, n_rows, _ = hidden.shape
    found = torch.empty((n_members, n_rows), dtype=bias.dtype, device=hidden.device)
    for members, rows in chunks(n_members, n_rows, output.shape[1] * output.element_size(), limit):
        logits = memory.logits(hidden[members, rows].to(output.dtype), output[members])
        found[members, rows], _ = of_rows(logits, bias[members], targets[rows], with_gradient=False)
    return found


@torch.no_grad()
def backward(
    hidden: Tensor,
    output: Tensor,
    bias: Tensor,
    targets: Tensor,
    output_gradient: Tensor,
    bias_gradient: Tensor,
    limit: int,
    of_rows: RowLoss,
    memory: Memory,
) -> tuple[Tensor, Tensor]:
    """Return the mean loss of each member, and what it is differentiated with.

    Args:
        hidden: Hidden states, shape ``(M, n, d_model)``.
        output: Output weights in the type of the matrix products, shape ``(M, rows, d_model)``.
        bias: Output biases, shape ``(M, rows)``.
        targets: The words that came, shape ``(n,)``.
        output_gradient: Overwritten with the gradient, shape as `output`.
        bias_gradient: Overwritten with the gradient, shape as `bias`.
        limit: Most bytes of logits at a time.
        of_rows: Computes the loss of rows of logits.
        memory: For the logits.

    Returns:
        Losses, shape ``(M,)``; the gradient of the hidden states, shape as `hidden`.
    """
    n_members, n_rows, _ = hidden.shape
    found = torch.empty((n_members, n_rows), dtype=bias.dtype, device=hidden.device)
    gradient = torch.empty_like(hidden)
    scaled = (hidden / n_rows).to(output.dtype)
    for members, rows in chunks(n_members, n_rows, output.shape[1] * output.element_size(), limit):
        weight = output[members]
        logits = memory.logits(hidden[members, rows].to(output.dtype), weight)
        loss, slopes = of_rows(logits, bias[members], targets[rows], with_gradient=True)
        found[members, rows] = loss
        gradient[members, rows] = torch.bmm(slopes, weight).to(hidden.dtype) / n_rows
        sums = slopes.sum(1, dtype=bias.dtype) / n_rows
        across = slopes.transpose(1, 2)
        if rows.start == 0:
            torch.bmm(across, scaled[members, rows], out=output_gradient[members])
            bias_gradient[members] = sums
        else:
            output_gradient[members].baddbmm_(across, scaled[members, rows])
            bias_gradient[members] += sums
    return found.mean(1), gradient
