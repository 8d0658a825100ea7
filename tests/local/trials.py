"""Training scripts and experiments of the local backend, for many tests."""

import json
import os
import time
from pathlib import Path

import anyio
import functions

from asynctune.backends.base import BackendRequest
from asynctune.backends.local import local_backend
from asynctune.benchmark import Benchmark
from asynctune.events import Ended, Failed, Paused
from asynctune.experiment import JOURNAL, Experiment, run_experiment
from asynctune.orders import Order
from asynctune.space import uniform
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.trainable import Function, Script

LEVELS = functions.LEVELS
PATIENCE = 60.0

# Trains from its checkpoint, which it writes before it reports.
STEADY = """
import argparse, time
from asynctune import checkpoint_dir, report
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--seconds", type=float)
given = parser.parse_args()
path = checkpoint_dir() / "epoch"
epoch = int(path.read_text()) if path.exists() else 0
while epoch < 9:
    time.sleep(given.seconds)
    epoch += 1
    part = path.with_name("part")  # so that whoever is killed leaves a whole one
    part.write_text(str(epoch))
    part.replace(path)
    if report(epoch=epoch, loss=(given.x - 0.3) ** 2 + 1 / epoch):
        break
"""


def script(folder, text=STEADY, name="train.py", **more):
    """Write a script and return it as something to train."""
    path = Path(folder) / name
    path.write_text(text)
    return Script(path=path, **more)


def benchmark(trainable, *, seconds=0.0, **changes):
    settings = {
        "name": "small",
        "space": {"x": uniform(0, 1), "seconds": seconds},
        "metric": "loss",
        "mode": "min",
        "resource": "epoch",
        "max_resource": LEVELS,
        "max_wallclock_time": 100.0,
        "n_workers": 2,
        "trainable": trainable,
    }
    return Benchmark(**(settings | changes))


def experiment(trainable, *, seconds=0.0, options=None, problem=None, bounds=None, **changes):
    settings = {
        "tag": "small",
        "method": "ASHA",
        "benchmark": benchmark(trainable, seconds=seconds, **problem or {}),
        "n_workers": 2,
        "seed": 0,
        "scheduler_seed": 3,
        "backend": "local",
        "backend_options": options or {},
        "stopping": StoppingCriterion(**bounds or {"max_trials": 6}),
        "retries": RetryPolicy(max_failures=1000, backoff=0.01),
    }
    return Experiment(**(settings | changes))


def lines_of(folder):
    text = (Path(folder) / JOURNAL).read_text()
    return [json.loads(line) for line in text.splitlines()[1:]]


def run(folder, trainable, **settings):
    """Run an experiment and return (metadata, the journal's lines)."""
    metadata = run_experiment(experiment(trainable, **settings), Path(folder))
    return metadata, lines_of(folder)


def order(trial=0, attempt=0, begin=0, until=LEVELS, slot=0, x=0.5):
    return Order(trial, attempt, slot, {"x": x}, begin, until, None)


class Bench:
    """A backend under the hands of a test, without a tuner."""

    def __init__(self, folder, trainable, *, seconds=0.0, problem=None, **options):
        request = BackendRequest(
            benchmark(trainable, seconds=seconds, **problem or {}), "", 2, 0, options, Path(folder)
        )
        self.backend = local_backend(request)
        self.seen = []
        self._origin = None

    def clock(self):
        return anyio.current_time() - self._origin

    async def __aenter__(self):
        self._origin = anyio.current_time()
        await self.backend.open(self.clock)
        return self

    async def __aexit__(self, *exception):
        with anyio.CancelScope(shield=True):
            await self.backend.aclose(leave_running=False)

    async def until(self, wanted):
        """Return the first event, also of those seen before, that `wanted` accepts."""
        deadline = self.clock() + PATIENCE
        checked = 0
        while True:
            for event in self.seen[checked:]:
                if wanted(event):
                    return event
            checked = len(self.seen)
            batch = await self.backend.events(deadline)
            assert batch, f"nothing of the kind came; got {self.seen}"
            self.seen += batch

    async def end_of(self, trial=0, attempt=0):
        return await self.until(
            lambda e: isinstance(e, Ended | Paused | Failed) and e[1:3] == (trial, attempt)
        )


def alive(pid):
    """Return whether a process runs; one that is over and not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone(pid):
    """Return whether a process comes to its end, for which a signal needs a moment."""
    deadline = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    return not alive(pid)


def descriptors():
    """Return how many files and pipes this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def processes_of(folder):
    """Return the numbers of all running processes that have something of a folder open or named."""
    wanted, found = str(folder).encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes() and alive(entry.name):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


FUNCTION = Function(function=functions.trained)
