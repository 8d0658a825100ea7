"""Run experiments in parallel processes and learn how far they are."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Final

from asynctune.experiment import Experiment, run_experiment
from asynctune.ledger import Ledger

Progress = Callable[[str, float, dict[str, Any] | None], None]
"""Called with an experiment's name, its seconds so far, and its metadata once it is complete."""

_TELL_EVERY: Final = 0.5  # host seconds
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
)
_queue: "SimpleQueue[tuple[str, float]] | None" = None


def run_parallel(work: Sequence[tuple[Experiment, Path]], *, jobs: int, progress: Progress) -> None:
    """Run each experiment in its folder, `jobs` at a time.

    An interruption ends the processes in order: each journal is left so that it goes on from.

    Raises:
        Exception: The first that an experiment raised, once those that had begun are done.
    """
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[tuple[str, float]] = context.SimpleQueue()
    with one_thread_each():
        pool = ProcessPoolExecutor(
            max(1, min(jobs, len(work))), context, initializer=_begin, initargs=(queue,)
        )
        names = {}
        try:
            for experiment, folder in work:
                future = pool.submit(_run, experiment, folder)
                names[future] = experiment.name
            _follow(names, queue, progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()


def _follow(
    names: dict[Future[dict[str, Any]], str],
    queue: "SimpleQueue[tuple[str, float]]",
    progress: Progress,
) -> None:
    error: BaseException | None = None
    left = set(names)
    while left:
        done, left = wait(left, timeout=0.1, return_when="FIRST_COMPLETED")
        while not queue.empty():
            name, seconds = queue.get()
            progress(name, seconds, None)
        for future in sorted(done, key=lambda f: names[f]):
            if future.cancelled():
                continue
            failure = future.exception()
            if failure is not None:
                error = error or failure
                for waiting in left:  # what has not begun is not begun
                    waiting.cancel()
                continue
            metadata = future.result()
            progress(names[future], metadata["experiment_seconds"], metadata)
    if error is not None:
        raise error


def _begin(queue: "SimpleQueue[tuple[str, float]]") -> None:
    """Prepare a process."""
    global _queue  # noqa: PLW0603 - the way to hand a queue to the processes of a pool
    _queue = queue


def _run(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """Run one experiment in this process."""
    told = time.perf_counter()

    def observe(ledger: Ledger, now: float) -> None:
        nonlocal told
        del ledger
        if time.perf_counter() - told > _TELL_EVERY and _queue is not None:
            told = time.perf_counter()
            _queue.put((experiment.name, now))

    return run_experiment(experiment, folder, observer=observe)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes started in this block use one thread for linear algebra.

    More are slower on matrices of a few hundred rows, and change the last bits of results.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
