"""What a searcher is: a pure function from what was seen to the next config.

A searcher must not keep state between calls beyond caches that do not change its
answers: the same (snapshot, fit, k) gives the same proposal, in any process and
after any restart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from asynctune.space import Config


class Observation(NamedTuple):
    """A value that the scheduler handed to the searcher.

    Attributes:
        trial: Number of the trial.
        resource: Resource level (epochs) that the value was seen at.
        value: The metric, signed so that smaller is better; never NaN, but
            ``inf`` for a trial that diverged.
    """

    trial: int
    resource: int
    value: float


class Pending(NamedTuple):
    """A config whose next value is still to come.

    Attributes:
        config: The config. It may not have started yet (a proposal in stock).
        resource: The resource level at which its next value is expected.
    """

    config: Config
    resource: int


class Fit(NamedTuple):
    """The state of a fitted model that is journalled with the proposal it was used for.

    Attributes:
        parameters: Log-parameters of the model, in the model's own order.
        observations: How many observations of the log it was fitted to.
    """

    parameters: tuple[float, ...]
    observations: int


class Snapshot(NamedTuple):
    """All that a proposal may depend on besides its number.

    Attributes:
        configs: The configs of all trials so far, by trial number.
        observations: The append-only log of observations; only the first `length`
            entries belong to the snapshot.
        length: How many observations belong to it.
        pending: Configs that are running, or proposed and not yet started, each with
            the resource level of its next value.
        failed: Numbers of trials that failed for good; their configs are not proposed again.
        fit: The last journalled fit, or None.
    """

    configs: Sequence[Config]
    observations: Sequence[Observation]
    length: int
    pending: tuple[Pending, ...]
    failed: frozenset[int]
    fit: Fit | None


NO_SNAPSHOT: Final = Snapshot((), (), 0, (), frozenset(), None)
"""What a searcher is given whose proposals depend on their number alone."""


class Proposal(NamedTuple):
    """A searcher's answer.

    Attributes:
        k: Number of the proposal, from 0.
        config: The config, or None if the space is exhausted.
        fit: The fit that was used, or None where no model was.
        origin: Where the config comes from, for people: "points", "random", "model" ...
    """

    k: int
    config: Config | None
    fit: Fit | None = None
    origin: str = "random"


class Searcher(Protocol):
    """Proposes configs.

    `propose` must be a pure function of its arguments and of the searcher's
    construction; it may run in another thread than the one that built the snapshot.
    """

    @property
    def needs_data(self) -> bool:
        """False if proposals depend on k alone, so that no snapshot need be taken."""
        ...

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:
        """Return proposal number `k`, given `snapshot`."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return the searcher's settings as JSON values, for the journal's header."""
        ...
