"""Syne Tune's schedulers by ask and tell, without its tuner and backends."""

import logging
from datetime import datetime, timezone
from functools import partial
from typing import Any

import syne_tune  # type: ignore[import-not-found]
from syne_tune.backend.trial_status import Trial  # type: ignore[import-not-found]
from syne_tune.config_space import (  # type: ignore[import-not-found]
    choice,
    lograndint,
    loguniform,
    randint,
    uniform,
)
from syne_tune.optimizer.baselines import (  # type: ignore[import-not-found]
    ASHA,
    MOBSTER,
    BayesianOptimization,
    RandomSearch,
)

from benchmarks.peers.space import Config, Parameter
from benchmarks.peers.wire import Asked, Opening, serve

METRIC, RESOURCE, MAX_RESOURCE = "loss", "epoch", "epochs"
_BORN = datetime(2024, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - runs on Python 3.9, too


def make_scheduler(
    method: str,
    parameters: tuple[Parameter, ...],
    *,
    seed: int,
    max_resource: int,
    points: tuple[Config, ...] | None = None,
) -> Any:  # noqa: ANN401 - a scheduler of Syne Tune
    """Return the scheduler "RS", "BO", "ASHA" or "MOBSTER" with its defaults.

    ASHA and MOBSTER are of promotion type. Without `points` they begin with the midpoint.
    """
    space = {p.name: _domain(p) for p in parameters} | {MAX_RESOURCE: max_resource}
    search_options = {} if method in ("RS", "ASHA") else {"debug_log": False}
    arguments = {
        "metric": METRIC,
        "mode": "min",
        "random_seed": seed,
        "search_options": search_options,
        "points_to_evaluate": None if points is None else [dict(p) for p in points],
    }
    if method in ("RS", "BO"):
        return (RandomSearch if method == "RS" else BayesianOptimization)(space, **arguments)
    return (ASHA if method == "ASHA" else MOBSTER)(
        space,
        type="promotion",
        resource_attr=RESOURCE,
        max_resource_attr=MAX_RESOURCE,
        **arguments,
    )


class SyneTune:
    """One of Syne Tune's schedulers."""

    version: str = syne_tune.__version__

    def __init__(self, opening: Opening) -> None:
        logging.disable(logging.WARNING)
        self._names = [p.name for p in opening.parameters]
        self._max = opening.max_resource
        self._scheduler = make_scheduler(
            opening.method,
            opening.parameters,
            seed=opening.seed,
            max_resource=opening.max_resource,
            points=opening.points,
        )
        self._trials: list[Trial] = []
        self._reached: dict[int, int] = {}

    def ask(self) -> Asked:
        """Return a new trial, or one that was paused."""
        suggestion = self._scheduler.suggest(len(self._trials))
        if suggestion is None:
            raise RuntimeError("no config is left")
        if not suggestion.spawn_new_trial_id:
            number = suggestion.checkpoint_trial_id
        else:
            number = len(self._trials)
            self._trials.append(Trial(number, suggestion.config, creation_time=_BORN))
            self._scheduler.on_trial_add(self._trials[number])
        config = self._trials[number].config
        return Asked(number, {n: config[n] for n in self._names}, self._reached.get(number, 0))

    def tell(self, number: int, resource: int, value: float) -> str:
        """Take a trial's value."""
        trial, self._reached[number] = self._trials[number], resource
        result = {METRIC: value, RESOURCE: resource}
        decision = str(self._scheduler.on_trial_result(trial, result))
        if resource == self._max:
            self._scheduler.on_trial_complete(trial, result)
            return "complete"
        if decision != "CONTINUE":
            self._scheduler.on_trial_remove(trial)
        return decision.lower()


def _domain(p: Parameter) -> Any:  # noqa: ANN401 - a domain of Syne Tune
    if p.kind == "choice":
        return choice(list(p.values))
    if p.kind == "int":
        return (lograndint if p.log else randint)(int(p.low), int(p.high))
    return (loguniform if p.log else uniform)(p.low, p.high)


main = partial(serve, SyneTune)
