"""Dropout with a probability of its own for each member, from draws that they share."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Dropout:
    """Draws what elements are multiplied with: 0, or 1 over the probability to be kept.

    One uniform number an element is drawn for all members, from torch's generator for the
    device. So what a member drops depends on the seed alone, as in the training script, and
    not on who else is trained; and drawing costs a population no more than one config.

    Args:
        probabilities: Of being dropped, one a member, in [0, 1).
        dtype: Of the factors.
        device: Where they are drawn.
    """

    def __init__(
        self, probabilities: Sequence[float], dtype: torch.dtype, device: torch.device
    ) -> None:
        self._keep = torch.tensor([1 - p for p in probabilities], dtype=dtype, device=device)

    def factors(self, shape: tuple[int, ...]) -> Tensor:
        """Return factors; the shape's first number is that of members."""
        keep = self._keep.view(-1, *(1,) * (len(shape) - 1))
        drawn = torch.rand(shape[1:], dtype=keep.dtype, device=keep.device)
        # In place, and never as truth values: those are slow to multiply with on a CPU.
        return torch.lt(drawn, keep, out=keep.new_empty(shape)).div_(keep)

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` with its elements dropped or scaled up; its shape is ``(M, ...)``."""
        return x * self.factors(tuple(x.shape)).to(x.dtype)
