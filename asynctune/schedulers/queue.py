"""The proposals of one experiment: asked for, in stock, started; and what was observed so far."""

from collections import deque
from functools import partial
from typing import Final

from asynctune.exceptions import IllegalEventError
from asynctune.schedulers.base import Propose
from asynctune.searchers.base import Fit, Observation, Pending, Proposal, Snapshot
from asynctune.space import Config

# A named tuple made of its fields in one go: there are millions.
_observation: Final = partial(tuple.__new__, Observation)


class ProposalQueue:
    """Keeps proposals in order. A trial's number is its proposal's number.

    Every scheduler owns one; it is no scheduler itself.
    """

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.exhausted = False
        self._observations: list[Observation] = []
        self._stock: deque[int] = deque()
        self._asked: int | None = None
        self._expected: dict[int, int] = {}
        self._failed: set[int] = set()
        self._fit: Fit | None = None

    @property
    def asked(self) -> bool:
        """Whether a proposal is on its way."""
        return self._asked is not None

    def ask(self) -> Propose:
        """Ask for the next proposal."""
        self._asked = len(self.configs)
        return Propose(self._asked, len(self._observations))

    def ahead(self, lookahead: int) -> Propose | None:
        """Ask for a proposal in advance if the stock is below `lookahead`."""
        if self.asked or self.exhausted or len(self._stock) >= lookahead:
            return None
        return self.ask()

    def accept(self, proposal: Proposal, level: int) -> None:
        """Take the proposal asked for; its first value is expected at resource `level`."""
        if proposal.k != self._asked:
            raise IllegalEventError(
                f"proposal {proposal.k} was not asked for; asked for: {self._asked}", proposal.k
            )
        self._asked = None
        if proposal.fit is not None:
            self._fit = proposal.fit
        if proposal.config is None:
            self.exhausted = True
            return
        self.configs.append(proposal.config)
        self._stock.append(proposal.k)
        self._expected[proposal.k] = level

    def take(self) -> int | None:
        """Take the oldest proposal out of the stock; None if it is empty."""
        return self._stock.popleft() if self._stock else None

    def observe(self, trial: int, resource: int, value: float) -> None:
        """Record a value that searchers are to learn from."""
        self._observations.append(_observation((trial, resource, value)))

    def expect(self, trial: int, resource: int) -> None:
        """Record that the trial's next value is to come at `resource`."""
        self._expected[trial] = resource

    def settle(self, trial: int, *, failed: bool = False) -> None:
        """Record that no value is to come from the trial for now."""
        self._expected.pop(trial, None)
        if failed:
            self._failed.add(trial)

    def snapshot(self) -> Snapshot:
        """Return what is known now; the pending configs are those of which a value is to come."""
        pending = tuple(Pending(self.configs[k], level) for k, level in self._expected.items())
        return Snapshot(
            self.configs,
            self._observations,
            len(self._observations),
            pending,
            frozenset(self._failed),
            self._fit,
        )
