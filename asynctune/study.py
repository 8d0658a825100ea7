"""A study: experiments over methods, numbers of workers and seeds, under one tag."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import orjson

from asynctune.benchmark import Benchmark, load_benchmark
from asynctune.exceptions import UsageError
from asynctune.experiment import (
    LOCAL,
    Experiment,
    benchmark_data,
    check_folder,
    scheduler_seed,
)
from asynctune.files import replaced_atomically
from asynctune.inputs import differences
from asynctune.methods import REFERENCE_METHODS, method_name
from asynctune.processes import Progress, run_parallel
from asynctune.stopping import StoppingCriterion

STUDY: Final = "study.json"
# What the course of a local experiment depends on; devices and the like may change as it goes on.
_DECISIVE: Final = ("report_timeout", "trial_timeout")
_TAG: Final = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study is made of.

    Attributes:
        tag: Its name: letters, digits and inner hyphens, 63 at most, as SageMaker wants it.
        benchmark: Name of the benchmark, or the benchmark itself; for more than one process it
            must then be one that can be pickled.
        random_seed: Master seed; repetition s uses ``(random_seed + s) mod (2**31 - 1)``.
        methods: Names of the methods, in upper or lower case.
        n_workers: Numbers of workers.
        num_seeds: Number of repetitions.
        start_seed: Number of the first repetition.
        max_wallclock_time: Seconds of each experiment; None means the benchmark's default.
        scale_max_wallclock_time: With fewer workers than the benchmark's default, and no time
            given, let an experiment run longer in proportion.
        bounds: Further bounds of the stopping criterion.
        backend: Name of the backend.
        profile: Name of the cluster profile.
        backend_options: Further settings of the backend.
        method_options: Settings of the methods; each method must know all of them.
        decision_cost: Virtual seconds that a proposal takes in a simulation.
    """

    tag: str
    benchmark: str | Benchmark
    random_seed: int
    methods: Sequence[str] = REFERENCE_METHODS
    n_workers: Sequence[int]
    num_seeds: int = 1
    start_seed: int = 0
    max_wallclock_time: float | None = None
    scale_max_wallclock_time: bool = False
    bounds: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "simulated"
    profile: str = "sagemaker"
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    method_options: Mapping[str, Any] = field(default_factory=dict)
    decision_cost: float = 0.0

    def __post_init__(self) -> None:
        check_tag(self.tag)
        if self.num_seeds < 1:
            raise UsageError(f"num_seeds must be at least 1; got {self.num_seeds}")
        if self.start_seed < 0:
            raise UsageError(f"start_seed must be at least 0; got {self.start_seed}")
        if self.random_seed < 0:
            raise UsageError(f"random_seed must be at least 0; got {self.random_seed}")
        for n in self.n_workers:
            if n < 1:
                raise UsageError(f"n_workers must be at least 1; got {n}")
        names = tuple(dict.fromkeys(map(method_name, self.methods)))
        object.__setattr__(self, "methods", names)

    def identity(self) -> dict[str, Any]:
        """Return what all experiments under the tag share, as JSON values."""
        benchmark = load_benchmark(self.benchmark)
        options = dict(self.backend_options)
        if self.backend == LOCAL:
            options = {name: value for name, value in options.items() if name in _DECISIVE}
        shared = {
            "tag": self.tag,
            "benchmark": benchmark.name,
            **benchmark_data(benchmark),
            "random_seed": self.random_seed,
            "backend": self.backend,
            "profile": self.profile,
            "backend_options": options,
        }
        found: dict[str, Any] = orjson.loads(orjson.dumps(shared))
        return found

    def experiments(self) -> list[Experiment]:
        """Return the experiments, by number of workers, then method, then seed."""
        benchmark = load_benchmark(self.benchmark)
        seeds = range(self.start_seed, self.start_seed + self.num_seeds)
        return [
            Experiment(
                tag=self.tag,
                method=method,
                benchmark=self.benchmark,
                n_workers=n,
                seed=seed,
                random_seed=self.random_seed,
                scheduler_seed=scheduler_seed(self.random_seed, seed),
                stopping=StoppingCriterion(
                    max_wallclock_time=self._seconds(benchmark, n), **self.bounds
                ),
                backend=self.backend,
                profile=self.profile,
                backend_options=self.backend_options,
                method_options=self.method_options,
                decision_cost=self.decision_cost,
            )
            for n, method, seed in product(self.n_workers, self.methods, seeds)
        ]

    def _seconds(self, benchmark: Benchmark, n_workers: int) -> float:
        if self.max_wallclock_time is not None:
            return self.max_wallclock_time
        seconds = benchmark.max_wallclock_time
        if self.scale_max_wallclock_time and n_workers < benchmark.n_workers:
            seconds = seconds * benchmark.n_workers / n_workers
        return seconds


def check_tag(tag: str) -> None:
    """Raise a UsageError if `tag` cannot name a study."""
    if not _TAG.fullmatch(tag):
        raise UsageError(f"a tag must be 1 to 63 letters, digits and inner hyphens; got {tag!r}")


def tag_of(name: str) -> str:
    """Return a tag for the study of what is called `name`."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[:63].rstrip("-") or "study"


def known_random_seed(tag: str, results_dir: Path) -> int | None:
    """Return the master seed of a study that was begun before; None if there is none."""
    path = results_dir / tag / STUDY
    if not path.exists():
        return None
    seed: int = orjson.loads(path.read_bytes())["random_seed"]
    return seed


def open_study(plan: StudyPlan, results_dir: Path) -> list[Experiment]:
    """Check that the study can run in its folder, begin the folder, and return what is to be done.

    Complete experiments are left out. Nothing is written if anything is wrong.

    Raises:
        UsageError: If the folder belongs to another study, or an input is not valid.
    """
    folder = results_dir / plan.tag
    identity = plan.identity()
    path = folder / STUDY
    if path.exists():
        found = orjson.loads(path.read_bytes())
        different = differences({name: found.get(name) for name in identity}, identity)
        if different:
            raise UsageError(
                f"{folder} belongs to another study: {different}; use another tag or results folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no study; use another tag or folder")
    todo = [e for e in plan.experiments() if check_folder(e, folder / e.name) is None]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(orjson.dumps(identity, option=orjson.OPT_INDENT_2))
    return todo


def run_experiments(
    experiments: Sequence[Experiment], folder: Path, *, jobs: int, progress: Progress
) -> None:
    """Run experiments in parallel processes, each with one thread of linear algebra.

    Args:
        experiments: What to run.
        folder: The study's folder.
        jobs: Number of processes.
        progress: Told how far they are.

    Raises:
        UsageError: If `jobs` is below 1.
    """
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1; got {jobs}")
    # The dearest first, so that no process is left alone with one at the end.
    order = sorted(experiments, key=_dearness, reverse=True)
    run_parallel([(e, folder / e.name) for e in order], jobs=jobs, progress=progress)


def _dearness(experiment: Experiment) -> tuple[bool, bool, float]:
    """Order experiments by what they cost the host: models before random, rungs before none."""
    method = experiment.method
    work = experiment.n_workers * experiment.stopping.max_wallclock_time
    return method in ("BO", "MOBSTER"), method in ("ASHA", "MOBSTER"), work
