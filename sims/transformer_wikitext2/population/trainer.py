"""Train a population: an epoch, an evaluation, a checkpoint."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asynctune.exceptions import UsageError
from sims.transformer_wikitext2.population import graphs, head, update
from sims.transformer_wikitext2.population.dropout import Dropout
from sims.transformer_wikitext2.population.operations import PLAIN, Operations
from sims.transformer_wikitext2.population.stream import Steps, steps_of
from sims.transformer_wikitext2.population.weights import MASTER, Weights
from sims.transformer_wikitext2.training.batches import fold
from sims.transformer_wikitext2.training.model import initial_model, sinusoids
from sims.transformer_wikitext2.training.settings import Settings
from sims.transformer_wikitext2.training.text import Text

Vector = NDArray[np.float64]

# Sequences that are evaluated at a time; windows know nothing of each other.
_EVALUATED: Final = 64
# How often the clock is looked at where that makes the host wait for the device.
_STEPS_BETWEEN_LOOKS: Final = 50


class OutOfTimeError(Exception):
    """An epoch was broken off; the weights are those of no whole epoch."""


class Population:
    """Configs in training.

    Args:
        members: Their settings; they differ in lr, momentum, dropout, clip and seed alone.
        text: What they are trained on.
        device: Where.
        operations: How.

    Attributes:
        epoch: Epochs trained so far.

    Raises:
        UsageError: If there are no members, or they differ in more.
    """

    def __init__(
        self,
        members: Sequence[Settings],
        text: Text,
        device: torch.device,
        operations: Operations = PLAIN,
    ) -> None:
        if not members:
            raise UsageError("a population must have at least one member; got none")
        first = members[0]
        for name in ("batch_size", "shape", "precision", "eval_batch_size"):
            values = {getattr(member, name) for member in members}
            if len(values) > 1:
                raise UsageError(f"members must have the same {name}; got {values}")
        self._shape, self._device, self._operations = first.shape, device, operations
        dtype = MASTER[first.precision]
        training = fold(text.train, first.batch_size, device)
        validation = fold(text.valid, first.eval_batch_size, device)
        self._training = steps_of(training, self._shape.bptt, text.n_words)
        self._validation = steps_of(validation, self._shape.bptt, text.n_words)
        self._n_rows = len(training), len(validation)

        by_seed = {m.seed: initial_model(m, text.n_words).state_dict() for m in members}
        self._weights = Weights([by_seed[m.seed] for m in members], first.precision, device)
        torch.manual_seed(first.seed)  # dropout's; on every device

        def rate(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self._rates = update.Rates(
            rate([m.lr for m in members]),
            rate([m.momentum for m in members]),
            rate([m.clip for m in members]),
        )
        self._dropout = (
            Dropout([m.dropout for m in members], dtype, device)
            if any(m.dropout for m in members)
            else None
        )
        self._memory = head.Memory()
        self._positions = sinusoids(self._shape.bptt, self._shape.d_model).to(device, dtype)
        bptt = self._shape.bptt
        self._mask = torch.full((bptt, bptt), -torch.inf, dtype=dtype, device=device).triu(1)
        # What steps change, in place, so that a captured step finds it where it was.
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self._n_steps = torch.zeros((), dtype=torch.int64, device=device)
        self._total = torch.zeros(len(members), dtype=torch.float64, device=device)
        self._replayed = operations.replayed
        self._replay: Callable[[], None] | None = None
        self.epoch = 0

    @property
    def n_members(self) -> int:
        """How many configs are in training."""
        return self._weights.n_members

    @property
    def n_steps(self) -> int:
        """Steps an epoch."""
        return sum(len(steps.tokens) for steps in self._training)

    def train_epoch(self, out_of_time: Callable[[], bool] = lambda: False) -> Vector:
        """Train on every window once, in order.

        Args:
            out_of_time: Asked now and then; if it says so, the epoch is broken off.

        Returns:
            The training losses, weighted by the windows' lengths, shape ``(M,)``.

        Raises:
            OutOfTimeError: If the epoch was broken off.
        """
        self._total.zero_()
        for steps in self._training:
            self._at.zero_()
            self._take(steps, len(steps.tokens), out_of_time)
        self._catch_up_all()
        self.epoch += 1
        return self._to_host(self._total / (self._n_rows[0] - 1))

    def take_steps(self, n: int) -> None:
        """Take the first steps of an epoch and wait for them, to see how long they take."""
        self._at.zero_()
        self._take(self._training[0], min(n, len(self._training[0].tokens)), lambda: False)
        self._to_host(self._total)

    @torch.no_grad()
    def evaluate(self) -> Vector:
        """Return the validation losses, as the training script weights them, shape ``(M,)``."""
        total = torch.zeros_like(self._total)
        for steps in self._validation:
            tokens = steps.tokens.flatten(0, 1)
            targets = steps.targets.view_as(tokens)
            for some, their in zip(
                torch.split(tokens, _EVALUATED), torch.split(targets, _EVALUATED), strict=True
            ):
                found = head.losses(
                    self._hidden(self._weights.embedding[:, some], steps.length, None),
                    self._weights.shadow,
                    self._weights.bias,
                    their.flatten(),
                    self._operations.limit,
                    self._operations.row_loss,
                    self._memory,
                )
                total += found.sum(1, dtype=torch.float64)
        n_columns = self._validation[0].tokens.shape[1]
        return self._to_host(total / ((self._n_rows[1] - 1) * n_columns))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep besides the states of torch's generators."""
        return {
            "epoch": self.epoch,
            "n_steps": int(self._n_steps),
            "weights": self._weights.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state; torch's generators are the checkpoint's business."""
        self._weights.restore(state["weights"])
        self._n_steps.fill_(state["n_steps"])
        self.epoch = state["epoch"]

    def _take(self, steps: Steps, n: int, out_of_time: Callable[[], bool]) -> None:
        """Take `n` steps from where `_at` stands."""
        is_long = steps is self._training[0]
        done = 0
        if self._replayed and is_long and self._replay is None and n > graphs.WARM_UP:
            graphs.warm_up(lambda: self._step(steps), self._device)
            done = graphs.WARM_UP
            try:
                self._replay = graphs.capture(lambda: self._step(steps))
            except RuntimeError as error:
                self._replayed = False
                warnings.warn(f"steps are launched one by one: {error}", stacklevel=3)
        replay = self._replay if is_long else None
        for k in range(done, n):
            if self._device.type == "cpu" or k % _STEPS_BETWEEN_LOOKS == 0:
                self._wait()
                if out_of_time():
                    raise OutOfTimeError
            if replay is None:
                self._step(steps)
            else:
                replay()

    def _step(self, steps: Steps) -> None:
        """Take one step, at place `_at`."""
        weights, rates, operations = self._weights, self._rates, self._operations
        tokens, targets, words, places = (part.index_select(0, self._at)[0] for part in steps)
        with torch.no_grad():
            rows = update.Rows(
                weights.embedding.index_select(1, words),
                weights.embedding_momentum.index_select(1, words),
            )
            missed = self._n_steps - weights.current.index_select(0, words)
            rows = update.caught_up(rows, missed, rates)
        table = rows.weights.requires_grad_()
        embedded = table.index_select(1, places).view(
            self.n_members, *tokens.shape, self._shape.d_model
        )
        hidden = self._hidden(embedded, steps.length, self._dropout)

        bias = weights.bias
        size = weights.flat.shape[1] - bias.shape[1]  # the bias comes last
        of_bias = weights.flat_gradient[:, size:]
        loss, of_hidden = head.backward(
            hidden.detach(),
            weights.shadow,
            bias,
            targets,
            weights.output_gradient,
            of_bias,
            operations.limit,
            operations.row_loss,
            self._memory,
        )
        of_table, *others = torch.autograd.grad(hidden, [table, *weights.trunk], of_hidden)
        with torch.no_grad():
            for into, gradient in zip(weights.trunk_gradients, others, strict=True):
                into.copy_(gradient)
            factor = update.clip_factors(
                [weights.flat_gradient, weights.output_gradient, of_table], rates.clip
            )
            operations.descend(
                weights.flat,
                weights.flat_momentum,
                weights.flat_gradient,
                weights.flat,
                rates,
                factor,
            )
            operations.descend(
                weights.output,
                weights.output_momentum,
                weights.output_gradient,
                weights.shadow,
                rates,
                factor,
            )
            new = table.detach()
            update.descend(new, rows.momentum, of_table, new, rates, factor)
            weights.embedding.index_copy_(1, words, new)
            weights.embedding_momentum.index_copy_(1, words, rows.momentum)
            self._n_steps += 1
            weights.current.index_copy_(0, words, self._n_steps.expand(len(words)))
            self._total += loss * steps.length
            self._at += 1

    def _hidden(self, embedded: Tensor, length: int, dropout: Dropout | None) -> Tensor:
        return self._operations.hidden_states(
            embedded,
            self._weights.body,
            self._positions[:length],
            self._mask[:length, :length],
            self._shape,
            self._weights.compute,
            dropout,
        )

    @torch.no_grad()
    def _catch_up_all(self) -> None:
        """Let the rows of all words coast to the present."""
        weights = self._weights
        rows = update.Rows(weights.embedding, weights.embedding_momentum)
        rows = update.caught_up(rows, self._n_steps - weights.current, self._rates)
        weights.embedding.copy_(rows.weights)
        weights.embedding_momentum.copy_(rows.momentum)
        weights.current.copy_(self._n_steps.expand_as(weights.current))

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _to_host(self, values: Tensor) -> Vector:
        array: Vector = values.cpu().numpy().astype(np.float64)
        return array
