"""What every searcher must keep to, whatever it is shown."""

from collections.abc import Callable
from math import inf
from typing import Final

import numpy as np
import orjson

from asynctune.searchers.base import (
    NO_SNAPSHOT,
    Fit,
    Observation,
    Pending,
    Proposal,
    Searcher,
    Snapshot,
)
from asynctune.space import Config, ConfigSpace
from asynctune.testing._require import require
from asynctune.testing._state import state_of

_ROLE: Final = 202


def check_searcher(
    make: Callable[[], Searcher],
    space: ConfigSpace,
    *,
    max_resource: int,
    n_proposals: int = 20,
    seed: int = 0,
) -> None:
    """Ask a searcher for proposals along a made-up experiment.

    Args:
        make: Makes a fresh searcher; called several times.
        space: The space that it proposes from.
        max_resource: Resource level at which a trial is complete.
        n_proposals: Number of proposals to ask for.
        seed: Seed of what is made up.

    Raises:
        AssertionError: If it breaks a rule of its protocol.
    """
    searcher = make()
    settings = searcher.describe()
    told = orjson.loads(orjson.dumps(dict(settings)))
    require(told == settings, f"settings are JSON values; got {settings}")
    snapshots, proposals = _experiment(searcher, space, max_resource, n_proposals, seed)
    fresh = make()
    for k in reversed(range(len(proposals))):
        again = fresh.propose(snapshots[k], k)
        require(
            again == proposals[k],
            f"proposal {k} depends on its snapshot and number alone, not on the calls before; "
            f"got {again} and {proposals[k]}",
        )
    require(searcher.describe() == settings, "settings do not change")


def _experiment(
    searcher: Searcher, space: ConfigSpace, max_resource: int, n_proposals: int, seed: int
) -> tuple[list[Snapshot], list[Proposal]]:
    """Return the snapshots and proposals of an experiment in which much goes wrong."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_ROLE,))
    rng = np.random.Generator(np.random.PCG64(sequence))
    configs: list[Config] = []
    observations: list[Observation] = []
    failed: set[int] = set()
    fit: Fit | None = None
    snapshots: list[Snapshot] = []
    proposals: list[Proposal] = []
    for k in range(n_proposals):
        pending = tuple(
            Pending(configs[t], int(rng.integers(1, max_resource + 1)))
            for t in range(max(0, k - 3), k)
            if t not in failed
        )
        snapshot = Snapshot(
            configs[:], observations, len(observations), pending, frozenset(failed), fit
        )
        proposal = searcher.propose(snapshot, k)
        _check_proposal(searcher, proposal, snapshot, space, k)
        snapshots.append(snapshot)
        proposals.append(proposal)
        if proposal.config is None:
            break
        configs.append(proposal.config)
        fit = proposal.fit or fit
        for level in (1, max_resource):
            value = inf if rng.random() < 0.1 else float(rng.integers(0, 40)) / 8
            observations.append(Observation(k, level, value))
        if rng.random() < 0.1:
            failed.add(k)
    return snapshots, proposals


def _check_proposal(
    searcher: Searcher, proposal: Proposal, snapshot: Snapshot, space: ConfigSpace, k: int
) -> None:
    require(proposal.k == k, f"proposal {k} says its number; got {proposal}")
    before = state_of(snapshot)
    again = searcher.propose(snapshot, k)
    require(again == proposal, f"proposal {k} is the same twice; got {again} and {proposal}")
    require(state_of(snapshot) == before, "a snapshot is for reading")
    more = snapshot._replace(
        observations=[*list(snapshot.observations)[: snapshot.length], Observation(0, 1, -1e9)]
    )
    require(
        searcher.propose(more, k) == proposal,
        "observations beyond a snapshot's length do not belong to it",
    )
    if not searcher.needs_data:
        require(
            searcher.propose(NO_SNAPSHOT, k) == proposal,
            "a searcher that needs no data proposes the same without any",
        )
    config = proposal.config
    if config is None:
        require(
            space.size is not None and len(snapshot.configs) >= space.size,
            f"a space is exhausted when all its configs were proposed; got {len(snapshot.configs)}",
        )
        return
    require(
        dict(space.complete(config)) == dict(config), f"a proposal is a whole config; got {config}"
    )
    require(
        orjson.loads(orjson.dumps(dict(config))) == dict(config),
        f"a config comes back from JSON as it was; got {config}",
    )
    known = {space.key(other) for other in snapshot.configs}
    require(space.key(config) not in known, f"no config is proposed twice; got {config}")
