"""MOBSTER: a Gaussian process over configs and resource, for asynchronous Hyperband."""

from collections.abc import Mapping, Sequence
from typing import Any, final, get_args

from asynctune.exceptions import UsageError
from asynctune.gp.cost import Cost
from asynctune.gp.model import DecayKernel, LevelKernel, Model, ResourceKernel
from asynctune.searchers._gp_data import values_by_level
from asynctune.searchers._gp_proposal import PendingRule
from asynctune.searchers._gp_search import ModelSearch
from asynctune.searchers._gp_start import InitialConfigs
from asynctune.searchers._gp_surrogate import SingleProcess
from asynctune.searchers.base import Proposal, Snapshot
from asynctune.space import ConfigSpace


@final
class MOBSTERSearcher:
    """Proposes the config of highest expected improvement at a resource level with data.

    Tiao, Klein, Lienart, Archambeau, Seeger, "Model-based Asynchronous Hyperparameter and
    Neural Architecture Search", 2020. All values that the scheduler hands over enter one process
    over (config, resource); a diverged trial counts as bad as the worst. Expected improvement is
    taken at the largest resource that has at least 3 observations.

    Args:
        space: The config space.
        seed: Seed of the experiment.
        initial: The configs that all methods of one seed start with.
        max_resource: Resource levels of a full training.
        num_init_random: How many proposals come from `initial`; more do while
            there is no observation.
        max_data: How many observations the process is fitted to at most; beyond, those at the
            highest levels, the best, and an even sample of the rest are kept.
        resource_kernel: How learning curves are modelled, see `asynctune.gp.resource`, and for
            "independent" and "markov" `asynctune.gp.independent`. With "exp-decay-sum" they
            cannot cross.
        levels: The resource levels that values come from, ascending; needed by the last two.
        refit_growth: A fit serves until the data have grown by this share, or a new level has come
            to count.
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
        max_resource: int,
        num_init_random: int = 6,
        max_data: int = 300,
        resource_kernel: ResourceKernel = "exp-decay-combined",
        levels: Sequence[int] = (),
        refit_growth: float = 0.1,
        pending: PendingRule = "auto",
        cost: Cost | None = None,
    ) -> None:
        kernels = (*get_args(DecayKernel), *get_args(LevelKernel))
        if resource_kernel not in kernels:
            raise UsageError(
                f"resource_kernel must be one of {', '.join(kernels)}; got {resource_kernel!r}"
            )
        if resource_kernel in get_args(LevelKernel) and (
            not levels or list(levels) != sorted({*levels, max_resource})
        ):
            raise UsageError(
                f"levels must ascend, up to max_resource {max_resource}, for the resource_kernel "
                f"{resource_kernel!r}; got {list(levels)}"
            )
        self._settings = {
            "max_resource": max_resource,
            "num_init_random": num_init_random,
            "max_data": max_data,
            "refit_growth": refit_growth,
            "pending": pending,
            "resource_kernel": resource_kernel,
        }
        model = Model(space.dimension, resource_kernel, [r / max_resource for r in levels])
        self._search = ModelSearch(
            space,
            seed,
            initial,
            surrogate=SingleProcess(model),
            read=values_by_level,
            max_resource=max_resource,
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
        return {"searcher": "mobster", **self._settings}
