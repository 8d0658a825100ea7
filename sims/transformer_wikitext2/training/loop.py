"""Train an epoch, and evaluate."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sims.transformer_wikitext2.training.batches import windows
from sims.transformer_wikitext2.training.model import LanguageModel
from sims.transformer_wikitext2.training.precision import autocast
from sims.transformer_wikitext2.training.settings import Settings

# How often the device is asked whether the loss is still finite; asking makes the host wait.
_CHECK_EVERY = 200


def _loss(model: LanguageModel, rows: Tensor, settings: Settings) -> Tensor:
    """Return the mean negative log-likelihood of rows 1.. given rows 0.., in float32 or more."""
    with autocast(settings.precision, rows.device):
        logits = model(rows[:-1])
    if logits.dtype is torch.bfloat16:
        logits = logits.float()
    return cross_entropy(logits.flatten(0, 1), rows[1:].flatten())


def train_epoch(
    model: LanguageModel, optimizer: torch.optim.Optimizer, text: Tensor, settings: Settings
) -> float:
    """Train on every window once, in order.

    Args:
        model: Trained in place.
        optimizer: Its optimizer.
        text: The columns, shape ``(n_rows, batch_size)``.
        settings: How to train.

    Returns:
        The training loss: the mean of the windows' losses, weighted by their lengths. Once
        it is not finite the epoch is cut short and that value is returned.
    """
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=text.device)
    for step, (start, length) in enumerate(windows(len(text), settings.shape.bptt)):
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(model, text[start : start + length + 1], settings)
        loss.backward()
        if settings.clip > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        total += loss.detach() * length
        if step % _CHECK_EVERY == 0 and not bool(total.isfinite()):
            return float(total)
    return float(total) / (len(text) - 1)


@torch.no_grad()
def evaluate(model: LanguageModel, text: Tensor, settings: Settings) -> float:
    """Return the loss without dropout: the mean over windows, weighted by their lengths."""
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=text.device)
    for start, length in windows(len(text), settings.shape.bptt):
        total += _loss(model, text[start : start + length + 1], settings) * length
    return float(total) / (len(text) - 1)
