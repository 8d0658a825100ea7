"""One experiment: what it is made of, running it in a folder, and what it leaves there.

A folder holds `journal.jsonl`, the record of all that happened; `results.parquet`, one row a
report, derived from it; and `metadata.json`. Running an experiment again in its folder does
nothing if it is complete, and goes on where its journal ends if it is not.
"""

import gc
import platform
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
import orjson

from asynctune import virtualtime
from asynctune.backends.base import VERSION, Backend, BackendRequest, KeepsCheckpoints
from asynctune.benchmark import Benchmark, load_benchmark
from asynctune.events import CheckpointRemoved
from asynctune.exceptions import AsynctuneWarning, UsageError
from asynctune.files import replaced_atomically
from asynctune.inputs import cuts, differences, extends
from asynctune.journal import (
    JournalWriter,
    bounds_line,
    cut_torn_tail,
    event_line,
    header_line,
    read_bounds,
    read_header,
    read_lines,
)
from asynctune.ledger import Ledger
from asynctune.methods import Pair, Problem, make_method
from asynctune.plugins import load_plugin
from asynctune.proposer import InlineProposer, Proposer, ThreadProposer
from asynctune.replay import Replayed, replay
from asynctune.schedulers.asha import ASHA
from asynctune.space import ConfigSpace, ListedSpace
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.tuner import Observer, Outcome, Tuner
from asynctune.workertime import worker_time

JOURNAL: Final = "journal.jsonl"
METADATA: Final = "metadata.json"
RESULTS: Final = "results.parquet"
LOCAL: Final = "local"  # the backend of this machine
_OBJECTS_BETWEEN_COLLECTIONS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The inputs of one tuning run. Two runs of equal inputs under simulation are equal.

    Attributes:
        tag: Name of the study.
        method: Name of the method.
        benchmark: Name of the benchmark, or the benchmark itself.
        n_workers: Number of workers.
        seed: Number of the repetition within the study.
        scheduler_seed: Seed that everything random in the experiment comes from.
        random_seed: The study's master seed, for the record.
        stopping: When the experiment is over.
        backend: Name of the backend.
        profile: Name of the cluster profile.
        backend_options: Further settings of the backend, such as numbers of the profile.
        method_options: Settings of the method.
        retries: Retry budgets.
        points_to_evaluate: Configs to begin with; None means the midpoint, () none.
        decision_cost: Virtual seconds that a proposal takes in a simulation.
        lookahead: Proposals held in stock in a real run.
    """

    tag: str
    method: str
    benchmark: str | Benchmark
    n_workers: int
    seed: int
    scheduler_seed: int
    stopping: StoppingCriterion
    random_seed: int = 0
    backend: str = "simulated"
    profile: str = "sagemaker"
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    method_options: Mapping[str, Any] = field(default_factory=dict)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    points_to_evaluate: Sequence[Mapping[str, Any]] | None = None
    decision_cost: float = 0.0
    lookahead: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.decision_cost < inf:
            raise UsageError(f"decision_cost must be at least 0 seconds; got {self.decision_cost}")
        if self.lookahead < 0:
            raise UsageError(f"lookahead must be at least 0; got {self.lookahead}")

    @property
    def name(self) -> str:
        """The name of the experiment's folder within its study."""
        return f"{self.method}-{self.n_workers}w-{self.seed}"


@dataclass(frozen=True, slots=True)
class _Parts:
    """An experiment put together."""

    benchmark: Benchmark
    pair: Pair
    ledger: Ledger
    backend: Backend
    inputs: dict[str, Any]


def run_experiment(
    experiment: Experiment, folder: Path, *, observer: Observer | None = None
) -> dict[str, Any]:
    """Run an experiment in its folder to its end, from wherever its journal ends.

    One that is over goes on if the bound that has ended it is larger now; one in which training
    failed and nothing at all was reported is run anew.

    Args:
        experiment: The inputs.
        folder: Where its files are; made if it does not exist.
        observer: Called with (ledger, seconds) after every instant; must change nothing.

    Returns:
        The metadata, as in `metadata.json`.

    Raises:
        UsageError: If the inputs are not valid, or the folder holds another experiment.
    """
    parts = _assemble(experiment, folder)
    done = _completed(folder, parts.inputs)
    _warn_of_changes(folder, parts.inputs, complete=done is not None)
    if done is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    if _in_vain(folder):
        journal.unlink()
    replayed = _open_journal(journal, parts)
    begin = time.perf_counter()
    metadata = _describe(experiment, parts)
    _write_metadata(folder, metadata | {"status": "running"})
    if replayed is not None and parts.ledger.stopping != experiment.stopping:
        replayed = _within_new_bounds(experiment, parts, journal, replayed)
    if replayed is None or replayed.finished is None:
        outcome = _run(experiment, parts, journal, replayed, observer)
    else:
        outcome = Outcome(replayed.finished, replayed.time)
        if not parts.backend.virtual_time:
            anyio.run(_end_what_runs, parts.backend, replayed)
    ended = time.perf_counter()
    from asynctune.records import write_results

    write_results(read_lines(journal), parts.benchmark.resource, folder / RESULTS)
    spent = worker_time(experiment.n_workers, read_lines(journal))
    metadata |= _summary(parts.ledger, outcome) | {
        "training_share": spent.training / max(spent.n_workers * spent.seconds, 1e-9),
        "status": "complete",
        "host_seconds": {"loop": ended - begin, "results": time.perf_counter() - ended},
        "host": {"python": platform.python_version(), "platform": platform.platform()},
    }
    if isinstance(parts.backend, KeepsCheckpoints):
        metadata["best_checkpoint"] = _settle(parts.backend, parts.ledger)
    _write_metadata(folder, metadata)
    return metadata


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """Return what `metadata.json` of a folder says; None if there is no such file."""
    path = folder / METADATA
    if not path.exists():
        return None
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


class Rungs(NamedTuple):
    """What is known of an experiment's rungs before it begins.

    Attributes:
        levels: Their resource levels.
        seconds_per_attempt: What a simulated attempt takes besides training; 0.0 if that is
            not known.
    """

    levels: tuple[int, ...]
    seconds_per_attempt: float


def experiment_rungs(experiment: Experiment) -> Rungs | None:
    """Return the rungs that trials will meet; None if the method has no rungs."""
    parts = _assemble(experiment)
    scheduler = parts.pair.scheduler
    if not isinstance(scheduler, ASHA):
        return None
    profile = parts.inputs["backend"].get("profile", {})
    delays = (profile.get(name, 0.0) for name in ("startup_delay", "stop_delay"))
    return Rungs(scheduler.levels, sum(delays))


def check_folder(experiment: Experiment, folder: Path) -> dict[str, Any] | None:
    """Return the metadata of `folder` if it holds this experiment and is complete, else None.

    Raises:
        UsageError: If the inputs are not valid, or the folder holds another experiment.
    """
    return _completed(folder, _assemble(experiment).inputs)


def replay_experiment(experiment: Experiment, folder: Path) -> Ledger:
    """Return the ledger as it stands at the end of the journal in `folder`."""
    parts = _assemble(experiment)
    _replay(parts, folder / JOURNAL)
    return parts.ledger


def _assemble(experiment: Experiment, folder: Path | None = None) -> _Parts:
    """Put the parts together, which checks all inputs."""
    benchmark = load_benchmark(experiment.benchmark)
    full = ConfigSpace(benchmark.space)
    # Constants are the backend's business: they take no part in the search, nor in the journal.
    space = ConfigSpace(full.domains)
    if benchmark.configs is not None:
        space = ListedSpace(full.domains, benchmark.configs())
    points = experiment.points_to_evaluate
    if points is not None:
        points = [_without_constants(point, full) for point in points]
    problem = Problem(space, benchmark.max_resource, experiment.scheduler_seed, points)
    pair = make_method(experiment.method, problem, experiment.method_options)
    ledger = Ledger(
        pair.scheduler,
        n_workers=experiment.n_workers,
        metric=benchmark.metric,
        mode=benchmark.mode,
        max_resource=benchmark.max_resource,
        stopping=experiment.stopping,
        retries=experiment.retries,
    )
    request = BackendRequest(
        benchmark,
        experiment.profile,
        experiment.n_workers,
        experiment.scheduler_seed,
        experiment.backend_options,
        folder,
    )
    backend: Backend = load_plugin("asynctune.backends", "backend", experiment.backend)(request)
    if experiment.backend == LOCAL and experiment.stopping.max_cost is not None:
        raise UsageError(
            "max_cost bounds what a simulated cluster costs, and this machine has no price; "
            f"got {experiment.stopping.max_cost}"
        )
    inputs = {
        "benchmark": benchmark.name,
        "metric": benchmark.metric,
        "mode": benchmark.mode,
        "resource": benchmark.resource,
        "space": full.to_json(),
        "method": experiment.method,
        **pair.scheduler.describe(),
        "searcher": dict(pair.searcher.describe()),
        "n_workers": experiment.n_workers,
        "seed": experiment.seed,
        "scheduler_seed": experiment.scheduler_seed,
        "stopping": experiment.stopping.describe(),
        "retries": experiment.retries.describe(),
        "backend": {"name": experiment.backend, **backend.describe()},
        "decision_cost": experiment.decision_cost,
        **benchmark_data(benchmark),
    }
    # As they will be read back: tuples become lists.
    return _Parts(benchmark, pair, ledger, backend, orjson.loads(orjson.dumps(inputs)))


def benchmark_data(benchmark: Benchmark) -> dict[str, str]:
    """Return what the blackbox is made of, as an input, of benchmarks that can change."""
    return {"benchmark_data": benchmark.data} if benchmark.data else {}


def _without_constants(point: Mapping[str, Any], space: ConfigSpace) -> dict[str, Any]:
    """Return a point to evaluate without the space's constants, which it may repeat."""
    for name, value in space.constants.items():
        if name in point and point[name] != value:
            raise UsageError(
                f"{name} is {value!r} in the config space; a point to evaluate says {point[name]!r}"
            )
    return {name: value for name, value in point.items() if name not in space.constants}


def _completed(folder: Path, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the metadata if the experiment is complete; refuse a folder of another one."""
    found = _begun(folder)
    if found is None:
        return None
    stopping = {"stopping": read_bounds(folder / JOURNAL)}
    version = {VERSION: inputs["backend"].get(VERSION)}
    backend = {"backend": dict(found["backend"]) | version}
    different = differences({**found, **stopping, **backend}, {**inputs, **stopping})
    if different:
        raise UsageError(
            f"{folder} holds another experiment: {different}; use another tag or results folder"
        )
    metadata = read_metadata(folder)
    if metadata is None or metadata["status"] != "complete" or not (folder / RESULTS).exists():
        return None
    if extends(metadata["stopped_by"], stopping["stopping"], inputs["stopping"], inputs["mode"]):
        return None
    if cuts(stopping["stopping"], inputs["stopping"], inputs["mode"]):
        shorter = differences(stopping, {"stopping": inputs["stopping"]})
        raise UsageError(
            f"{folder} holds an experiment that is over, which can be extended but not cut: "
            f"{shorter}; use another tag or results folder"
        )
    return metadata


def _warn_of_changes(folder: Path, inputs: Mapping[str, Any], *, complete: bool) -> None:
    """Warn of a script or function that is not what it was when the experiment was begun."""
    found = _begun(folder)
    if found is None:
        return
    before, now = found["backend"].get(VERSION), inputs["backend"].get(VERSION)
    if before and now and before != now:
        what = inputs["backend"].get("script") or inputs["backend"].get("function")
        then = "nothing runs anew" if complete else "results of both versions are mixed"
        warnings.warn(
            f"{what} has changed since {folder} was begun; {then}, unless under another tag",
            AsynctuneWarning,
            stacklevel=3,
        )


def _begun(folder: Path) -> Mapping[str, Any] | None:
    """Return the inputs of the experiment that a folder holds and that is to go on, if any."""
    return None if _in_vain(folder) else read_header(folder / JOURNAL)


def _in_vain(folder: Path) -> bool:
    """Return whether all that was trained for real failed before its first report."""
    metadata = read_metadata(folder) or {}
    counts = metadata.get("n_reports"), metadata.get("n_failed")
    return metadata.get("backend") == LOCAL and counts[0] == 0 and bool(counts[1])


def _lookahead(experiment: Experiment, parts: _Parts) -> int:
    return 0 if parts.backend.virtual_time else experiment.lookahead


def _open_journal(journal: Path, parts: _Parts) -> Replayed | None:
    """Begin a journal, or replay the one that is there; returns where it ends."""
    if read_header(journal) is None:
        journal.write_bytes(
            orjson.dumps(header_line(parts.inputs), option=orjson.OPT_APPEND_NEWLINE)
        )
        return None
    cut_torn_tail(journal)
    return _replay(parts, journal)


def _within_new_bounds(
    experiment: Experiment, parts: _Parts, journal: Path, replayed: Replayed
) -> Replayed:
    """Put the bounds that are asked for into force, on record; returns where the journal ends."""
    ledger, backend, now = parts.ledger, parts.backend, replayed.time
    ledger.set_bounds(experiment.stopping)
    writer = JournalWriter(journal, durable=not backend.virtual_time)
    writer.append(bounds_line(now, parts.inputs["stopping"]))
    if isinstance(backend, KeepsCheckpoints):
        # When it was over, checkpoints were removed that are now missed.
        for number, trial in enumerate(ledger.trials):
            waits = not trial.finished and number not in ledger.busy
            if waits and trial.checkpoint and backend.checkpoint_of(number) is None:
                event = CheckpointRemoved(now, number, 0)
                if (seen := ledger.observe(event)) is not None:
                    writer.append(event_line(event, seen))
    writer.close()
    return replayed._replace(finished=None, filling=False)


def _replay(parts: _Parts, journal: Path) -> Replayed:
    header = read_header(journal) or {}
    # Where it went on within other bounds, the journal says so.
    parts.ledger.set_bounds(StoppingCriterion(**header["stopping"]))
    return replay(parts.ledger, read_lines(journal), needs_data=parts.pair.searcher.needs_data)


def _run(
    experiment: Experiment,
    parts: _Parts,
    journal: Path,
    replayed: Replayed | None,
    observer: Observer | None,
) -> Outcome:
    virtual = parts.backend.virtual_time
    begun = 0.0 if replayed is None else replayed.time
    writer = JournalWriter(journal, durable=not virtual)
    searcher = parts.pair.searcher

    def tuner(proposer: Proposer) -> Tuner:
        loop = virtualtime.current_loop()
        origin = anyio.current_time() - begun
        clock = (lambda: anyio.current_time() - origin) if loop is None else loop.time
        return Tuner(
            parts.ledger,
            parts.backend,
            writer,
            proposer,
            clock,
            lookahead=_lookahead(experiment, parts),
            observer=observer,
            replayed=replayed,
        )

    async def simulate() -> Outcome:
        return await tuner(InlineProposer(searcher, experiment.decision_cost)).run()

    async def really() -> Outcome:
        async with anyio.create_task_group() as tasks:
            outcome = await tuner(ThreadProposer(searcher, tasks)).run()
            tasks.cancel_scope.cancel()
        return outcome

    try:
        if not virtual:
            with _termination_interrupts():
                return anyio.run(really)
        with _rare_garbage_collection():
            return virtualtime.run(simulate, start=begun)
    except BaseExceptionGroup as group:
        # One thing went wrong, within a task group that nobody else needs to know of.
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None
    finally:
        writer.close()


async def _end_what_runs(backend: Backend, replayed: Replayed) -> None:
    """End the attempts that a tuner was killed over when the experiment had just ended."""
    await backend.open(lambda: replayed.time)
    try:
        await backend.recover(replayed.expected)
    finally:
        await backend.aclose(leave_running=False)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Take the signals of batch systems and lost terminals for Ctrl-C.

    Trials then end as it is wanted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which has no say in signals
        return

    def interrupt(number: int, _: object) -> None:
        if number != signal.SIGTERM:  # both kernel and shell tell of a lost terminal
            signal.signal(number, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    before: dict[signal.Signals, Any] = {}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as the shell has it in the background
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, interrupt)
    # Windows has no SIGHUP, and nohup has it ignored.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settle(backend: KeepsCheckpoints, ledger: Ledger) -> str | None:
    """Keep the checkpoints of complete trials, of the best one and of those that were cut short.

    Returns:
        Where the best one's is.
    """
    wanted = {t.number for t in ledger.trials if t.highest >= ledger.max_resource}
    wanted |= set(ledger.busy)
    best = ledger.best_trial
    backend.settle(wanted if best is None else wanted | {best})
    path = None if best is None else backend.checkpoint_of(best)
    return None if path is None else str(path)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Look for reference cycles less often: a simulation makes many objects and no cycles."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _describe(experiment: Experiment, parts: _Parts) -> dict[str, Any]:
    benchmark = parts.benchmark
    return {
        "tag": experiment.tag,
        "method": experiment.method,
        "benchmark": benchmark.name,
        "backend": experiment.backend,
        "profile": experiment.profile,
        "n_workers": experiment.n_workers,
        "seed": experiment.seed,
        "random_seed": experiment.random_seed,
        "scheduler_seed": experiment.scheduler_seed,
        "metric": benchmark.metric,
        "mode": benchmark.mode,
        "resource": benchmark.resource,
        "max_resource": benchmark.max_resource,
        "max_wallclock_time": experiment.stopping.describe().get("max_wallclock_time"),
        "provenance": benchmark.provenance,
        "inputs": parts.inputs,
    }


def _summary(ledger: Ledger, outcome: Outcome) -> dict[str, Any]:
    busy = ledger.busy_seconds + sum(outcome.time - ledger.trials[t].since for t in ledger.busy)
    available = ledger.n_workers * outcome.time
    return {
        "stopped_by": outcome.reason,
        "experiment_seconds": outcome.time,
        "n_trials": len(ledger.trials),
        "n_reports": ledger.reports,
        "n_failed": ledger.failed,
        "best_metric": ledger.best_metric,
        "best_trial": ledger.best_trial,
        "total_cost_usd": ledger.cost,
        "worker_busy_seconds": busy,
        "utilisation": busy / available if available else 0.0,
    }


def _write_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    text = orjson.dumps(metadata, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    with replaced_atomically(folder / METADATA) as temporary:
        temporary.write_bytes(text)


def scheduler_seed(random_seed: int, seed: int) -> int:
    """Return the seed of repetition `seed` in a study with master seed `random_seed`."""
    return (random_seed + seed) % (2**31 - 1)
