"""The members' weights, gradients and momenta, stacked along a leading axis."""

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import torch
from torch import Tensor

from sims.transformer_wikitext2.training.settings import Precision

_ALIGN: Final = 64  # rows of the output layer come in this multiple, for fast matrix products
_OUTPUT, _EMBEDDING, _BIAS = "output.weight", "embedding.weight", "output.bias"

MASTER: Final[Mapping[Precision, torch.dtype]] = {
    "float": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.float32,
    "double": torch.float64,
}


class Weights:
    """All that training changes.

    The embedding is kept apart because a step touches few of its rows, the output layer
    because it is most of the work; all else, the body, lies in one buffer a member.

    Args:
        initial: The state of each member's untrained model.
        precision: Of the weights and the matrix products.
        device: Where they are put.

    Attributes:
        n_members: How many members, M.
        n_words: Size of the vocabulary, V; the output layer has `rows` >= V rows, of which
            those beyond V have the bias minus infinity and never change.
        flat: The body, shape ``(M, P)``.
        body: Views of `flat` by name, shape ``(M, ...)``, that gradients can be asked for.
        output: Output weights, shape ``(M, rows, d_model)``.
        shadow: What matrix products use of them: `output` itself or a copy in bf16.
        embedding: Shape ``(M, V + 1, d_model)``; row V belongs to no word.
        current: How many steps each row of the embedding has seen, shape ``(V + 1,)``.
        flat_momentum, output_momentum, embedding_momentum: As their weights.
        trunk_gradients: Views of `flat_gradient` by weight, in the order of `trunk`.
        flat_gradient, output_gradient: As their weights; the latter in the precision of
            the matrix products.
    """

    def __init__(
        self, initial: list[Mapping[str, Tensor]], precision: Precision, device: torch.device
    ) -> None:
        dtype = MASTER[precision]
        self.compute = torch.bfloat16 if precision == "bf16" else dtype
        self.n_members, self.n_words = len(initial), len(initial[0][_OUTPUT])
        self.rows = -(-self.n_words // _ALIGN) * _ALIGN
        first = initial[0]
        d_model = first[_OUTPUT].shape[1]
        names = [name for name in first if name not in {_OUTPUT, _EMBEDDING}]
        shapes = {n: (self.rows,) if n == _BIAS else tuple(first[n].shape) for n in names}

        def empty(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
            return torch.zeros(self.n_members, *shape, dtype=dtype, device=device)

        size = sum(prod(shape) for shape in shapes.values())
        self.flat, self.flat_momentum, self.flat_gradient = (empty(size) for _ in range(3))
        self.body: dict[str, Tensor] = {}
        self.trunk_gradients: list[Tensor] = []
        start = 0
        for name, shape in shapes.items():
            stop = start + prod(shape)
            self.body[name] = self.flat[:, start:stop].view(-1, *shape).requires_grad_()
            if name != _BIAS:
                self.trunk_gradients.append(self.flat_gradient[:, start:stop].view(-1, *shape))
            start = stop
        self.output, self.output_momentum = (empty(self.rows, d_model) for _ in range(2))
        self.output_gradient = empty(self.rows, d_model, dtype=self.compute)
        self.embedding = empty(self.n_words + 1, d_model)
        self.embedding_momentum = torch.zeros_like(self.embedding)
        self.current = torch.zeros(self.n_words + 1, dtype=torch.int64, device=device)
        with torch.no_grad():
            self.bias[:, self.n_words :] = -torch.inf
            for member, state in enumerate(initial):
                for name in names:
                    self.body[name][member][: len(state[name])] = state[name].to(dtype)
                self.output[member, : self.n_words] = state[_OUTPUT].to(dtype)
                self.embedding[member, : self.n_words] = state[_EMBEDDING].to(dtype)
        same = self.compute is dtype
        self.shadow = self.output if same else self.output.to(self.compute)

    @property
    def bias(self) -> Tensor:
        """The output layer's bias, shape ``(M, rows)``."""
        return self.body[_BIAS]

    @property
    def trunk(self) -> list[Tensor]:
        """The body without the output layer's bias, which comes last in it."""
        return [weight for name, weight in self.body.items() if name != _BIAS]

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint has to keep, not copied."""
        kept = ("flat", "output", "embedding")
        tensors = {name: getattr(self, name) for name in kept}
        tensors |= {f"{name}_momentum": getattr(self, f"{name}_momentum") for name in kept}
        return {**tensors, "current": self.current}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        if self.shadow is not self.output:
            self.shadow.copy_(self.output)
