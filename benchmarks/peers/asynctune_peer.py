"""asynctune behind the same pipe as its peers."""

from functools import partial
from importlib.metadata import version
from typing import Any

from asynctune import AskTell, choice, lograndint, loguniform, randint, uniform
from benchmarks.peers.space import Parameter
from benchmarks.peers.wire import Asked, Opening, serve


class Asynctune:
    """One of asynctune's methods: "RS", "BO", "ASHA", "MOBSTER" ..."""

    version = version("asynctune")

    def __init__(self, opening: Opening) -> None:
        self._tuning = AskTell(
            {p.name: _domain(p) for p in opening.parameters},
            method=opening.method,
            max_resource=opening.max_resource,
            seed=opening.seed,
            points_to_evaluate=opening.points,
            method_options=opening.options,
        )

    def ask(self) -> Asked:
        """Return a new trial."""
        trial = self._tuning.ask()
        if trial is None:
            raise RuntimeError(f"no trial can start: {self._tuning.why}")
        return Asked(trial.number, dict(trial.config), trial.from_resource)

    def tell(self, number: int, resource: int, value: float) -> str:
        """Take a trial's value."""
        return self._tuning.tell(number, resource, value)


def _domain(p: Parameter) -> Any:  # noqa: ANN401 - a domain of asynctune
    if p.kind == "choice":
        return choice(list(p.values))
    if p.kind == "int":
        return (lograndint if p.log else randint)(int(p.low), int(p.high))
    return (loguniform if p.log else uniform)(p.low, p.high)


main = partial(serve, Asynctune)
