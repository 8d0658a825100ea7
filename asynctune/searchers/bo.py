"""Bayesian optimisation: a Gaussian process over the final values of trials."""

from collections.abc import Mapping
from typing import Any, final

from asynctune.gp.cost import Cost
from asynctune.gp.model import Model
from asynctune.searchers._gp_data import final_values
from asynctune.searchers._gp_proposal import PendingRule
from asynctune.searchers._gp_search import ModelSearch
from asynctune.searchers._gp_start import InitialConfigs
from asynctune.searchers._gp_surrogate import SingleProcess
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import ConfigSpace


@final
class BOSearcher:
    """Proposes the config of highest expected improvement under a Gaussian process.

    The process has a Matérn 5/2 kernel with a lengthscale per coordinate (Snoek, Larochelle,
    Adams, "Practical Bayesian Optimization of Machine Learning Algorithms", 2012). A trial's
    latest value counts; a diverged one counts as bad as the worst.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        initial: The configs that all methods of one seed start with.
        num_init_random: How many proposals come from `initial`; more do while
            there is no observation.
        max_data: How many observations the process is fitted to at most.
        refit_growth: A fit serves until the data have grown by this share.
        pending: What pending configs are taken to be: "believer", equal to their posterior mean;
            "fantasies", several joint draws from the posterior, over which the improvement is
            averaged; "auto", the first while they are few and the second from six on.
        cost: What configs cost, see `asynctune.gp.cost`; if given, what is maximised is the
            expected improvement per unit of cost.

    Raises:
        UsageError: If a number is out of range.
    """

    def __init__(
        self,
        space: ConfigSpace,
        seed: int,
        initial: InitialConfigs,
        *,
        num_init_random: int = 3,
        max_data: int = 500,
        refit_growth: float = 0.1,
        pending: PendingRule = "auto",
        cost: Cost | None = None,
    ) -> None:
        self._settings = {
            "num_init_random": num_init_random,
            "max_data": max_data,
            "refit_growth": refit_growth,
            "pending": pending,
        }
        self._search = ModelSearch(
            space,
            seed,
            initial,
            surrogate=SingleProcess(Model(space.dimension)),
            read=final_values,
            max_resource=None,
            num_init_random=num_init_random,
            max_data=max_data,
            cost=cost,
            refit_growth=refit_growth,
            pending=pending,
        )

    @property
    def needs_data(self) -> bool:
        """True: proposals depend on what was observed."""
        return True

    def propose(self, snapshot: Snapshot, k: int) -> Proposal:
        """Return proposal number `k`, given `snapshot`."""
        return self._search.propose(snapshot, k)

    def describe(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        return {"searcher": "bo", **self._settings}
