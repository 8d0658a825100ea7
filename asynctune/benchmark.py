"""What a benchmark is: a tuning problem with its defaults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from asynctune.exceptions import UsageError
from asynctune.plugins import load_plugin, plugin_names
from asynctune.trainable import Trainable

_REGISTERED: Final = "asynctune.benchmarks"
_FINDERS: Final = "asynctune.benchmark_finders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A tuning problem: what is tuned, what is measured, and how long a study of it runs.

    Attributes:
        name: Name on the command line.
        space: Config space, a plain dict of domains and constants.
        metric: Name of the reported metric that is optimised.
        mode: "min" or "max".
        resource: Name of the reported resource, such as "epoch".
        max_resource: Levels of the resource that a full training has.
        max_wallclock_time: Default budget of an experiment, in seconds.
        n_workers: Default number of workers.
        instance_types: Default instance type by cluster profile.
        blackbox: Makes the blackbox that simulations use; None if there is none.
        configs: Returns the only configs that the blackbox knows, without constants, if it does
            not know all; methods then choose among them.
        provenance: Where the blackbox's data come from, one line, shown with results.
        data: What tells the blackbox's data from others that the same name may have had, such
            as before it was fitted anew; an input of experiments. Empty where they never change.
        seconds_per_level: Seconds of training a resource level on average, for estimates only.
        reference: Returns results that others have published, for a cluster profile, as a
            frame with the columns `method`, `n_workers`, `wallclock_s` (seconds since the
            experiment's start) and `value` (the best metric so far); None where there are
            none for that profile.
        trainable: What a real run trains; None where there is nothing but the blackbox.
    """

    name: str
    space: Mapping[str, Any]
    metric: str
    mode: Literal["min", "max"]
    resource: str
    max_resource: int
    max_wallclock_time: float
    n_workers: int
    instance_types: Mapping[str, str] = field(default_factory=dict)
    blackbox: Callable[[], Any] | None = None
    configs: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    provenance: str = ""
    data: str = ""
    seconds_per_level: float | None = None
    reference: Callable[[str], Any] | None = None
    trainable: Trainable | None = None

    def __post_init__(self) -> None:
        for name in ("metric", "resource"):
            if not getattr(self, name):
                raise UsageError(f"{name} must name what is reported; got {getattr(self, name)!r}")


class Finder(Protocol):
    """Finds benchmarks that no package registers; an entry point `asynctune.benchmark_finders`."""

    def __call__(self, name: str) -> Benchmark | None:
        """Return the benchmark of a name or a path; None if there is none."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names that it knows; it may find more by their path."""
        ...


def benchmark_names() -> list[str]:
    """Return the names of the benchmarks that packages register, then of those that are found."""
    names = plugin_names(_REGISTERED)
    return list(dict.fromkeys((*names, *(name for find in _finders() for name in find.names()))))


def load_benchmark(name: str | Benchmark) -> Benchmark:
    """Return the benchmark registered as `name` under the entry points `asynctune.benchmarks`.

    A benchmark is returned as it is. What no package registers is asked for at each `Finder`.

    Raises:
        UsageError: If there is no benchmark of this name.
    """
    if isinstance(name, Benchmark):
        return name
    if name in plugin_names(_REGISTERED):
        benchmark: Benchmark = load_plugin(_REGISTERED, "benchmark", name)()
        return benchmark
    for find in _finders():
        found = find(name)
        if found is not None:
            return found
    raise UsageError(
        f"benchmark must be one of {', '.join(benchmark_names())}, or the path of a folder that "
        f"`asynctune fit` has written; got {name!r}"
    )


def _finders() -> list[Finder]:
    return [load_plugin(_FINDERS, "finder", name) for name in plugin_names(_FINDERS)]
