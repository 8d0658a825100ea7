"""Fold a text into columns, and cut the columns into windows."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from asynctune.exceptions import UsageError
from sims.transformer_wikitext2.training.text import Tokens


class Window(NamedTuple):
    """Rows `start` to `start + length` of the columns; its targets lie one row below."""

    start: int
    length: int


def fold(tokens: Tokens, n_columns: int, device: torch.device) -> Tensor:
    """Return the text as columns that are read side by side, each of them continuous.

    Args:
        tokens: Ids, shape ``(n,)``; the last ``n % n_columns`` are left out.
        n_columns: Columns, at least 1.
        device: Where the result is put.

    Returns:
        Ids of type int64, shape ``(n // n_columns, n_columns)``.

    Raises:
        UsageError: If there are fewer than two rows, and so nothing to predict.
    """
    n_rows = len(tokens) // n_columns
    if n_rows < 2:
        raise UsageError(
            f"a text must have at least two tokens a column; got {len(tokens)} for {n_columns}"
        )
    ids = torch.from_numpy(tokens[: n_rows * n_columns].astype("int64"))
    return ids.view(n_columns, n_rows).t().contiguous().to(device)


def windows(n_rows: int, bptt: int) -> Iterator[Window]:
    """Yield the windows that cover all rows but the last, which has no target."""
    for start in range(0, n_rows - 1, bptt):
        yield Window(start, min(bptt, n_rows - 1 - start))
