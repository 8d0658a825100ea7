"""The text of a population's steps, laid out on its device so that a step only takes its slice."""

from typing import NamedTuple

import torch
from torch import Tensor

from sims.transformer_wikitext2.training.batches import windows


class Steps(NamedTuple):
    """The steps of one length, in order.

    Attributes:
        tokens: Ids, shape ``(steps, n_columns, length)``.
        targets: The ids one row below, shape ``(steps, n_columns * length)``.
        words: The distinct ids of each step, filled up with an id beyond the vocabulary,
            shape ``(steps, most)``.
        places: Where in `words` each token stands, shape ``(steps, n_columns * length)``.
    """

    tokens: Tensor
    targets: Tensor
    words: Tensor
    places: Tensor

    @property
    def length(self) -> int:
        """Tokens a sequence."""
        return self.tokens.shape[2]


def steps_of(text: Tensor, bptt: int, n_words: int) -> list[Steps]:
    """Return the windows of a text, those of full length and then the shorter last one, if any.

    Args:
        text: Columns, shape ``(n_rows, n_columns)``.
        bptt: The full length.
        n_words: Size of the vocabulary; the id `n_words` stands for no word.
    """
    by_length: dict[int, list[Tensor]] = {}
    for start, length in windows(len(text), bptt):
        by_length.setdefault(length, []).append(text[start : start + length + 1])
    return [_stack(torch.stack(cut), n_words) for cut in by_length.values()]


def _stack(cut: Tensor, n_words: int) -> Steps:
    tokens = cut[:, :-1].transpose(1, 2).contiguous()
    targets = cut[:, 1:].transpose(1, 2).flatten(1).contiguous()
    found = [torch.unique(step, return_inverse=True) for step in tokens.flatten(1)]
    most = max(len(words) for words, _ in found)
    words = torch.full((len(found), most), n_words, dtype=tokens.dtype, device=tokens.device)
    for row, (distinct, _) in zip(words, found, strict=True):
        row[: len(distinct)] = distinct
    return Steps(tokens, targets, words, torch.stack([places for _, places in found]))
