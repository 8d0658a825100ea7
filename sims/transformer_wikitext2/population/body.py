"""From embedded tokens to hidden states, for all members at once."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from sims.transformer_wikitext2.population.attention import attended
from sims.transformer_wikitext2.population.dropout import Dropout
from sims.transformer_wikitext2.training.settings import Shape


def hidden_states(
    embedded: Tensor,
    weights: Mapping[str, Tensor],
    positions: Tensor,
    mask: Tensor,
    shape: Shape,
    compute: torch.dtype,
    dropout: Dropout | None,
) -> Tensor:
    """Return what the output layer is given.

    The layers are those of Vaswani et al. (2017) with the normalisation after the residual.
    Matrix products take their operands in `compute`; sums and normalisation do not.

    Args:
        embedded: Unscaled, shape ``(M, n_columns, length, d_model)``.
        weights: By the names that the training script's model gives them, stacked.
        positions: Shape ``(length, d_model)``.
        mask: 0 where a token may look, else minus infinity, shape ``(length, length)``.
        shape: The model's shape.
        compute: Type of the matrix products.
        dropout: None for none.

    Returns:
        Shape ``(M, n_columns * length, d_model)``.
    """
    n_members, n_columns, length, d_model = embedded.shape
    drop = dropout if dropout is not None else _untouched

    def linear(x: Tensor, name: str) -> Tensor:
        weight, bias = weights[f"{name}weight"].to(compute), weights[f"{name}bias"].to(compute)
        return torch.baddbmm(bias[:, None], x.to(compute), weight.transpose(1, 2))

    def normalised(x: Tensor, name: str) -> Tensor:
        gain, offset = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return torch.addcmul(offset[:, None], layer_norm(x, (d_model,)), gain[:, None])

    x = drop(embedded * math.sqrt(d_model) + positions)
    x = x.reshape(n_members, n_columns * length, d_model)
    for layer in range(shape.nlayers):
        name = f"encoder.layers.{layer}"
        projected = linear(x, f"{name}.self_attn.in_proj_").view(n_members, n_columns, length, -1)
        seen = attended(projected, mask, shape.nhead, dropout).view_as(x)
        x = normalised(x + drop(linear(seen, f"{name}.self_attn.out_proj.")), f"{name}.norm1")
        inner = drop(torch.relu(linear(x, f"{name}.linear1.")))
        x = normalised(x + drop(linear(inner, f"{name}.linear2.")), f"{name}.norm2")
    return x


def _untouched(x: Tensor) -> Tensor:
    return x
