"""The methods by name: which scheduler with which searcher."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from asynctune.exceptions import UsageError, check_type
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.base import Scheduler
from asynctune.schedulers.fifo import FIFO
from asynctune.schedulers.hyperband import Hyperband
from asynctune.schedulers.one_epoch import OneEpoch
from asynctune.schedulers.rungs import rung_levels
from asynctune.searchers.base import Searcher
from asynctune.searchers.random import InitialConfigs, RandomSearcher
from asynctune.space import Config, ConfigSpace

_ASHA_OPTIONS: Final = {
    "type": str,
    "grace_period": int,
    "reduction_factor": float,
    "continue_in_place": bool,
}
_HYPERBAND_OPTIONS: Final = _ASHA_OPTIONS | {"brackets": int, "shared_rungs": bool}
_MODEL_OPTIONS: Final = {"num_init_random": int, "max_data": int, "refit_growth": float}
_PROCESS_OPTIONS: Final = _MODEL_OPTIONS | {"pending": str}


class Pair(NamedTuple):
    """What an experiment is decided by."""

    scheduler: Scheduler
    searcher: Searcher


class Problem(NamedTuple):
    """What a method is told of the tuning problem.

    Attributes:
        space: The config space.
        max_resource: Resource level at which a trial is complete.
        seed: The experiment's seed; all methods of one seed see the same initial configs.
        points_to_evaluate: Configs to begin with; None means the midpoint, () none.
    """

    space: ConfigSpace
    max_resource: int
    seed: int
    points_to_evaluate: Sequence[Config] | None = None

    def initial(self) -> InitialConfigs:
        """Return the sequence of initial configs."""
        return InitialConfigs(self.space, self.seed, self.points_to_evaluate)


def _random_search(problem: Problem, options: Mapping[str, Any]) -> Pair:
    _check(options, {})
    return Pair(FIFO(max_resource=problem.max_resource), RandomSearcher(problem.initial()))


def _bayesian_optimisation(problem: Problem, options: Mapping[str, Any]) -> Pair:
    from asynctune.searchers.bo import BOSearcher

    _check(options, _PROCESS_OPTIONS)
    searcher = BOSearcher(problem.space, problem.seed, problem.initial(), **options)
    return Pair(FIFO(max_resource=problem.max_resource), searcher)


def _asha(problem: Problem, options: Mapping[str, Any]) -> Pair:
    _check(options, _ASHA_OPTIONS)
    scheduler = ASHA(max_resource=problem.max_resource, **options)
    return Pair(scheduler, RandomSearcher(problem.initial()))


def _mobster(problem: Problem, options: Mapping[str, Any]) -> Pair:
    from asynctune.searchers.mobster import MOBSTERSearcher

    own = _PROCESS_OPTIONS | {"resource_kernel": str}
    _check(options, _ASHA_OPTIONS | own)
    scheduler = ASHA(max_resource=problem.max_resource, **_part(options, _ASHA_OPTIONS))
    searcher = MOBSTERSearcher(
        problem.space,
        problem.seed,
        problem.initial(),
        max_resource=problem.max_resource,
        levels=(*scheduler.levels, problem.max_resource),
        **_part(options, own),
    )
    return Pair(scheduler, searcher)


def _hyperband(problem: Problem, options: Mapping[str, Any]) -> Pair:
    _check(options, _HYPERBAND_OPTIONS)
    scheduler = Hyperband(max_resource=problem.max_resource, seed=problem.seed, **options)
    return Pair(scheduler, RandomSearcher(problem.initial()))


def _one_epoch(problem: Problem, options: Mapping[str, Any]) -> Pair:
    _check(options, {"k": int, "grace_period": int})
    scheduler = OneEpoch(max_resource=problem.max_resource, **options)
    return Pair(scheduler, RandomSearcher(problem.initial()))


def _hypertune(problem: Problem, options: Mapping[str, Any]) -> Pair:
    from asynctune.searchers.hypertune import HyperTuneSearcher

    own = {"adaptive_brackets": bool}
    _check(options, _HYPERBAND_OPTIONS | _MODEL_OPTIONS | own)
    lowest, factor = options.get("grace_period", 1), options.get("reduction_factor", 3)
    levels = rung_levels(problem.max_resource, lowest, factor)
    searcher = HyperTuneSearcher(
        problem.space,
        problem.seed,
        problem.initial(),
        levels=(*levels, problem.max_resource),
        **_part(options, _MODEL_OPTIONS),
    )
    adaptive = options.get("adaptive_brackets", True)
    scheduler = Hyperband(
        max_resource=problem.max_resource,
        seed=problem.seed,
        bracket_weights=searcher.bracket_weights if adaptive else None,
        **_part(options, _HYPERBAND_OPTIONS),
    )
    return Pair(scheduler, searcher)


def _tpe(problem: Problem, options: Mapping[str, Any]) -> Pair:
    from asynctune.searchers.tpe import TPESearcher

    _check(options, {"num_init_random": int, "multivariate": bool})
    searcher = TPESearcher(problem.space, problem.seed, problem.initial(), **options)
    return Pair(FIFO(max_resource=problem.max_resource), searcher)


METHODS: Final[dict[str, Callable[[Problem, Mapping[str, Any]], Pair]]] = {
    "RS": _random_search,
    "BO": _bayesian_optimisation,
    "ASHA": _asha,
    "MOBSTER": _mobster,
    "Hyperband": _hyperband,
    "HyperTune": _hypertune,
    "OneEpoch": _one_epoch,
}
"""Makers of (scheduler, searcher) by the method's name, in the order they are shown in.

TPE is among them where Optuna is installed.
"""
if find_spec("optuna") is not None:
    METHODS["TPE"] = _tpe

DEFAULT_METHOD: Final = "MOBSTER"
"""What a problem of one's own is tuned with unless told otherwise."""

REFERENCE_METHODS: Final = ("RS", "BO", "ASHA", "MOBSTER")
"""The methods of the worker-scaling study, which a study compares unless told otherwise."""


def make_method(name: str, problem: Problem, options: Mapping[str, Any] | None = None) -> Pair:
    """Return scheduler and searcher of the method called `name`.

    Raises:
        UsageError: If there is no such method, or it has no such option.
    """
    return METHODS[method_name(name)](problem, options or {})


def method_name(name: str) -> str:
    """Return a method's name as it is written here, given in upper or lower case.

    Raises:
        UsageError: If there is no such method.
    """
    for known in METHODS:
        if known.lower() == name.lower():
            return known
    if name.lower() == "tpe":
        raise UsageError("TPE needs Optuna, which `pip install 'asynctune[tpe]'` brings")
    raise UsageError(f"method must be one of {', '.join(METHODS)}; got {name!r}")


def _check(options: Mapping[str, Any], known: Mapping[str, type]) -> None:
    """Raise a UsageError for an option that is not known or not of its type."""
    for name, value in options.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(f"the method's options are: {listed}; got {name!r}")
        check_type(name, value, known[name])


def _part(options: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """Return the options of one part of a method."""
    return {name: value for name, value in options.items() if name in known}
