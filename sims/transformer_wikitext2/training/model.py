"""The language model: a small transformer encoder with a causal mask."""

import math

import torch
from torch import Tensor, nn

from sims.transformer_wikitext2.training.settings import Settings, Shape

INIT_RANGE = 0.1


def sinusoids(length: int, d_model: int) -> Tensor:
    """Return sinusoidal positions, shape ``(length, d_model)`` (Vaswani et al. 2017, 3.5)."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    scale = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000.0) / d_model))
    table = torch.empty(length, d_model)
    table[:, 0::2] = torch.sin(position * scale)
    table[:, 1::2] = torch.cos(position * scale)
    return table


class LanguageModel(nn.Module):
    """Embedding, sinusoidal positions, encoder layers, linear output.

    Embedding and output weights start uniform in (-0.1, 0.1), the output's bias at 0; the
    layers start as torch starts them, and all of them alike.

    Args:
        n_words: Size of the vocabulary.
        shape: The model's shape.
        dropout: Probability of dropout after the positions, in the attention and in the
            encoder layers.
    """

    def __init__(self, n_words: int, shape: Shape, dropout: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            shape.d_model, shape.nhead, shape.d_model * shape.ffn_ratio, dropout
        )
        self.encoder = nn.TransformerEncoder(layer, shape.nlayers, enable_nested_tensor=False)
        self.embedding = nn.Embedding(n_words, shape.d_model)
        self.output = nn.Linear(shape.d_model, n_words)
        self.dropout = nn.Dropout(dropout)
        self.scale = math.sqrt(shape.d_model)
        nn.init.uniform_(self.embedding.weight, -INIT_RANGE, INIT_RANGE)
        nn.init.zeros_(self.output.bias)
        nn.init.uniform_(self.output.weight, -INIT_RANGE, INIT_RANGE)
        self.register_buffer("positions", sinusoids(shape.bptt, shape.d_model), persistent=False)
        mask = nn.Transformer.generate_square_subsequent_mask(shape.bptt)
        self.register_buffer("mask", mask, persistent=False)
        self.positions: Tensor
        self.mask: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next words.

        Args:
            tokens: Ids, shape ``(length, n_columns)``, of at most bptt rows.

        Returns:
            Shape ``(length, n_columns, n_words)``.
        """
        n = len(tokens)
        hidden = self.embedding(tokens) * self.scale + self.positions[:n, None]
        mask = self.mask[:n, :n]
        hidden = self.encoder(self.dropout(hidden), mask=mask, is_causal=True)
        logits: Tensor = self.output(hidden)
        return logits


def initial_model(settings: Settings, n_words: int) -> LanguageModel:
    """Return the untrained model on the CPU; weights depend on the seed and the shape alone.

    It leaves torch's generator where drawing the weights has brought it, from where dropout
    goes on.
    """
    torch.manual_seed(settings.seed)
    model = LanguageModel(n_words, settings.shape, settings.dropout)
    return model.double() if settings.precision == "double" else model
