"""The problems that optimizers are compared on, all to be minimised.

Closed forms and their boxes as in Surjanovic and Bingham, "Virtual Library of Simulation
Experiments" (2013), unless another source is named.
"""

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from benchmarks.peers.space import Config, Parameter

Function = Callable[[Config], float]
_ROLE_NOISE: Final = 7
_ROLE_CURVE: Final = 8


class Problem(NamedTuple):
    """A problem.

    Attributes:
        name: Its name in tables.
        parameters: The space.
        truth: Config to value, without noise.
        evaluations: How many a run may make.
        optimum: The smallest value, None if it is not known.
        resolution: Differences below this are no differences.
        noise: Standard deviation of what is added to a value that is told.
    """

    name: str
    parameters: tuple[Parameter, ...]
    truth: Function
    evaluations: int
    optimum: float | None
    resolution: float
    noise: float = 0.0

    def observed(self, config: Config, seed: int, number: int) -> float:
        """Return what an optimizer is told of its evaluation `number` in a run of `seed`."""
        value = self.truth(config)
        if not self.noise:
            return value
        key = np.random.SeedSequence(seed, spawn_key=(_ROLE_NOISE, number))
        return value + self.noise * float(np.random.Generator(np.random.PCG64(key)).normal())


def vector(config: Config, prefix: str = "x") -> list[float]:
    """Return the values of the parameters x0, x1, ..."""
    return [float(v) for k, v in config.items() if k[0] == prefix and k[1:].isdigit()]


def box(dimension: int, low: float, high: float) -> tuple[Parameter, ...]:
    """Return the parameters x0, x1, ... of a cube."""
    return tuple(Parameter(f"x{i}", low=low, high=high) for i in range(dimension))


def branin(config: Config) -> float:
    """Return Branin's function of two parameters; three global minima."""
    x, y = config["x0"], config["x1"]
    bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return float(bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


_HARTMANN_WEIGHTS: Final = (1.0, 1.2, 3.0, 3.2)
_HARTMANN_SCALES: Final = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_HARTMANN_CENTRES: Final = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann6(config: Config) -> float:
    """Return Hartmann's function of six parameters; six local minima."""
    x = vector(config)
    total = 0.0
    for weight, scales, centre in zip(
        _HARTMANN_WEIGHTS, _HARTMANN_SCALES, _HARTMANN_CENTRES, strict=True
    ):
        distance = sum(a * (u - c) ** 2 for a, u, c in zip(scales, x, centre, strict=True))
        total += weight * math.exp(-distance)
    return -total


def ackley(config: Config) -> float:
    """Return Ackley's function: a narrow funnel in a rippled plain."""
    x = vector(config)
    n = len(x)
    radius = math.sqrt(sum(u * u for u in x) / n)
    ripples = sum(math.cos(2 * math.pi * u) for u in x) / n
    return -20 * math.exp(-0.2 * radius) - math.exp(ripples) + 20 + math.e


def rosenbrock(config: Config) -> float:
    """Return Rosenbrock's function: a bent valley, values over many decades."""
    x = vector(config)
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


def levy(config: Config) -> float:
    """Return Levy's function: many shallow minima in a bowl."""
    w = [1 + (u - 1) / 4 for u in vector(config)]
    first = math.sin(math.pi * w[0]) ** 2
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    between = sum((u - 1) ** 2 * (1 + 10 * math.sin(math.pi * u + 1) ** 2) for u in w[:-1])
    return first + between + last


def _camel(x: float, y: float) -> float:
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2


def _beale(x: float, y: float) -> float:
    parts = (1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3)
    return sum(part**2 for part in parts)


def mixed(config: Config) -> float:
    """Return a function of a choice, two whole numbers and two floats.

    The choice picks the surface over the floats, as in the Func-2C of Ru et al., "Bayesian
    Optimisation over Multiple Continuous and Categorical Inputs", ICML 2020, section 6; each
    whole number has a best value of its own, and one of them shifts the surface.
    """
    x, y, i, j = config["x0"], config["x1"], config["i0"], config["i1"]
    shifted = x + (i - 12) / 20
    surface = {
        "rosenbrock": (100 * (y - shifted**2) ** 2 + (1 - shifted) ** 2) / 300,
        "camel": _camel(shifted, y) / 10 - 0.1,
        "beale": _beale(shifted, y) / 50,
    }[config["surface"]]
    return float(surface + ((i - 14) / 20) ** 2 + abs(j - 3) / 10)


@cache
def _curves() -> Function:
    """Return the final loss of the training curve of a config."""
    from sims.transformer_wikitext2 import FIXED, load_blackbox

    blackbox = load_blackbox()

    def final_loss(config: Config) -> float:
        curve = blackbox.curve({**FIXED, **config}, _ROLE_CURVE)
        return float(curve.values["val_loss"][-1])

    return final_loss


def transformer_wikitext2(config: Config) -> float:
    """Return the validation loss of a small transformer after 40 epochs."""
    return _curves()(config)


TRANSFORMER_SPACE: Final = (
    Parameter("lr", low=1e-6, high=1e-3, log=True),
    Parameter("dropout", low=0.0, high=0.99),
    Parameter("batch_size", "int", low=16, high=48),
    Parameter("momentum", low=0.0, high=0.99),
    Parameter("clip", low=0.0, high=1.0),
)
_BRANIN_SPACE: Final = (Parameter("x0", low=-5, high=10), Parameter("x1", low=0, high=15))
_MIXED_SPACE: Final = (
    Parameter("surface", "choice", values=("rosenbrock", "camel", "beale")),
    Parameter("x0", low=-2, high=2),
    Parameter("x1", low=-1, high=1),
    Parameter("i0", "int", low=0, high=20),
    Parameter("i1", "int", low=1, high=10),
)

PROBLEMS: Final = {
    problem.name: problem
    for problem in (
        Problem("transformer_wikitext2", TRANSFORMER_SPACE, transformer_wikitext2, 60, None, 1e-2),
        Problem("branin", _BRANIN_SPACE, branin, 60, 0.397887, 1e-3),
        Problem("hartmann6", box(6, 0, 1), hartmann6, 60, -3.32237, 1e-2),
        # Off the usual centre, which some optimizers try first.
        Problem("ackley10", box(10, -5, 10), ackley, 100, 0.0, 1e-2),
        Problem("rosenbrock8", box(8, -5, 10), rosenbrock, 100, 0.0, 1e-1),
        Problem("levy16", box(16, -10, 10), levy, 100, 0.0, 1e-2),
        Problem("hartmann6_noisy", box(6, 0, 1), hartmann6, 60, -3.32237, 1e-2, noise=0.3),
        Problem("mixed", _MIXED_SPACE, mixed, 60, None, 1e-3),
    )
}
"""All problems by name."""
