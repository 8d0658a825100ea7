"""Optuna: its GP sampler ("GP") and its tree-structured Parzen estimator ("TPE").

Trials with more than one level are pruned by Optuna's Hyperband.
"""

import warnings
from functools import partial
from typing import Any

import optuna

from benchmarks.peers.space import Parameter
from benchmarks.peers.wire import Asked, Opening, serve


class Optuna:
    """One of Optuna's samplers; both know of the trials under way.

    TPE takes them as bad ("constant liar"), as Optuna advises for parallel evaluation.
    """

    version: str = optuna.__version__

    def __init__(self, opening: Opening) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")  # of experimental arguments
        if opening.method == "GP":
            sampler = optuna.samplers.GPSampler(seed=opening.seed, **opening.options)
        else:
            sampler = optuna.samplers.TPESampler(
                seed=opening.seed, constant_liar=True, **opening.options
            )
        self._space = {p.name: _distribution(p) for p in opening.parameters}
        self._max = opening.max_resource
        pruner = optuna.pruners.HyperbandPruner(1, max(2, self._max), 3)
        self._study = optuna.create_study(sampler=sampler, pruner=pruner)
        self._trials: list[optuna.Trial] = []
        for point in opening.points:
            self._study.enqueue_trial(dict(point))

    def ask(self) -> Asked:
        """Return a new trial."""
        trial = self._study.ask(self._space)
        self._trials.append(trial)
        return Asked(trial.number, trial.params)

    def tell(self, number: int, resource: int, value: float) -> str:
        """Take a trial's value; "stop" if it is pruned."""
        if resource == self._max:
            self._study.tell(number, value)
            return "complete"
        trial = self._trials[number]
        trial.report(value, resource)
        if not trial.should_prune():
            return "continue"
        self._study.tell(number, state=optuna.trial.TrialState.PRUNED)
        return "stop"


def _distribution(p: Parameter) -> Any:  # noqa: ANN401 - a distribution of Optuna
    distributions = optuna.distributions
    if p.kind == "choice":
        return distributions.CategoricalDistribution(p.values)
    if p.kind == "int":
        return distributions.IntDistribution(int(p.low), int(p.high), log=p.log)
    return distributions.FloatDistribution(p.low, p.high, log=p.log)


main = partial(serve, Optuna)
