"""Train the configs of a design to the end, on this machine.

What a command trains is an experiment of random search whose points to evaluate are the configs.
A later command goes on with one that was interrupted, and adds another one of the configs that
are still to be trained: further ones, and those that failed before.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from asynctune.benchmark import Benchmark
from asynctune.exceptions import AsynctuneError
from asynctune.experiment import JOURNAL, Experiment, run_experiment
from asynctune.journal import read_header, read_lines
from asynctune.ledger import Ledger
from asynctune.space import ConfigSpace
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.trial import State
from asynctune.tuning import failures
from asynctune.wording import plural

_HOPELESS: Final = 5  # trainings that fail before any other has come to its end

Config = Mapping[str, Any]


class HopelessError(AsynctuneError):
    """All trainings have failed, or the first few of them.

    Attributes:
        folder: The folder of their experiment.
        failed: How many have failed.
    """

    def __init__(self, folder: Path, failed: int) -> None:
        super().__init__(f"all of {plural(failed, 'training')} failed; see {folder}")
        self.folder, self.failed = folder, failed


class Progress:
    """Says after each twentieth of the trainings how many have come to an end.

    Args:
        folder: The experiment's folder.
        total: Number of trainings.
        say: Told a line.

    Attributes:
        failed_before: The trials that had failed for good before; None if nothing was run now.
    """

    def __init__(self, folder: Path, total: int, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._total = total
        self._say = say
        self._said = 0
        self._done_before = 0
        self.failed_before: frozenset[int] | None = None

    def __call__(self, ledger: Ledger, now: float) -> None:
        """Look at the experiment.

        Raises:
            HopelessError: If the first few trainings have failed, all of them.
        """
        done = len(ledger.trials) - len(ledger.busy)
        if self.failed_before is None:
            self.failed_before = frozenset(_failed(ledger))
            self._done_before = done
        if done - self._said >= max(1, self._total // 20):
            self._said = done
            failed = f", {ledger.failed} failed" if ledger.failed else ""
            trained = f"{done - ledger.failed} of {self._total} trained"
            self._say(f"{trained}{failed}, {now:.0f} s")
        new = ledger.failed - len(self.failed_before)
        if new >= _HOPELESS and new == done - self._done_before:
            raise HopelessError(self._folder, new)


def _failed(ledger: Ledger) -> list[int]:
    return [trial.number for trial in ledger.trials if trial.state is State.FAILED]


def train_design(
    benchmark: Benchmark,
    design: Sequence[Config],
    folder: Path,
    *,
    n_workers: int,
    seed: int,
    backend_options: Mapping[str, Any],
    say: Callable[[str], None],
) -> list[Path]:
    """Train what is still to be trained of a design.

    Args:
        benchmark: The problem, with what trains.
        design: The configs, without constants; a longer one begins with a shorter one.
        folder: The recording's folder, which holds one folder an experiment.
        n_workers: Trainings at once.
        seed: The design's seed.
        backend_options: Settings of the local backend.
        say: Told in lines how far it is.

    Returns:
        The folders of all experiments, those of earlier commands included.

    Raises:
        HopelessError: If all trainings fail, or the first few of them.
        UsageError: If the folder holds a recording of another problem.
    """
    space = ConfigSpace(benchmark.space)

    def run(points: Sequence[Config], n_workers: int, number: int) -> Path:
        """Run an experiment to its end, from wherever it is."""
        experiment = Experiment(
            tag=folder.name,
            method="RS",
            benchmark=benchmark,
            n_workers=n_workers,
            seed=number,
            scheduler_seed=seed,
            stopping=StoppingCriterion(max_trials=len(points)),
            backend="local",
            backend_options=backend_options,
            points_to_evaluate=points,
            # Configs that crash the script are left out; the others are worth recording.
            retries=RetryPolicy(max_failures=len(points)),
        )
        where = folder / experiment.name
        progress = Progress(where, len(points), say)
        metadata = run_experiment(experiment, where, observer=progress)
        before = progress.failed_before
        if before is not None:
            trials = plural(metadata["n_trials"], "trial")
            say(f"{trials} in {metadata['experiment_seconds']:.0f} s")
            if metadata["n_failed"] == metadata["n_trials"]:
                raise HopelessError(where, metadata["n_failed"])
            for line in failures(where, metadata["n_failed"]):
                say(line)
        for trial, (config, failed) in enumerate(_outcomes(where)):
            if not failed or (before is not None and trial not in before):
                settled.add(space.key(space.complete(config)))
        return where

    settled: set[Any] = set()  # configs that are trained, or were tried just now
    folders = []
    for begun in _begun(folder):
        inputs = read_header(begun / JOURNAL) or {}
        points = inputs["searcher"]["points_to_evaluate"]
        folders.append(run(points, inputs["n_workers"], inputs["seed"]))
    left = [config for config in design if space.key(space.complete(config)) not in settled]
    if left:
        say(f"{plural(len(left), 'config')} on {plural(n_workers, 'worker')}; files in {folder}")
        folders.append(run(left, n_workers, len(folders)))
    else:
        say("nothing is left to train")
    return folders


def _begun(folder: Path) -> list[Path]:
    """Return the folders of the experiments that were begun, in order."""
    found = [path.parent for path in folder.glob(f"*/{JOURNAL}") if read_header(path) is not None]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _outcomes(folder: Path) -> list[tuple[Config, bool]]:
    """Return of each trial that was started its config, and whether it has failed for good."""
    configs, failed = [], {}
    for line in read_lines(folder / JOURNAL):
        match line["event"]:
            case "proposal_ready" if line["config"] is not None:
                configs.append(line["config"])
            case "start":
                failed[line["trial"]] = False
            case "paused" | "ended" | "failed":
                failed[line["trial"]] = line["state"] == "failed"
    return [(configs[trial], bad) for trial, bad in sorted(failed.items())]
