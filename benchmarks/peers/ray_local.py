"""Ray Tune on this machine: it runs a command as its trials, or trains inside its own processes.

    python -m benchmarks.peers.ray_local WAY TRIALS WORKERS ANSWERS COMMAND...

WAY is one of

    command  the command is run as a process, by an actor that is kept from trial to trial
    kept     the training is done inside such an actor: no trial has a process of its own
    fresh    the training is done inside an actor that is started for the trial

The first is what the other tuners are made to do, the second the quickest that Ray Tune has, and
the third what it does unless told otherwise. `--x=VALUE` is added to the command; inside, its
`--times`, `--levels` and `--seconds` are followed, and the same is written down.

What is counted: from a trial's last report to the first line of the next, which inside is the first
of `setup`; and from a report to the step that Ray asks for once its scheduler has decided, appended
to the file ANSWERS, in seconds. Of a trial's last report that answer cannot be seen. A report of
the command is made when its line is read. The start of Ray itself, some seconds, is not counted.

What makes Ray quicker is used: a class, since a function runs in another thread, whose end costs
one more report; nothing that logs, no dashboard, no checkpoint at a trial's end. Where actors are
kept there are as many processors as workers, so that the next trials wait ready; where they are
not, one more, so that Ray starts the next process ahead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ray  # type: ignore[import-not-found]
from ray import tune

_ENVIRONMENT: Final = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


class _Trial(tune.Trainable):  # type: ignore[misc]
    """A trial whose steps each make a report, and note how long the last one's answer took."""

    def setup(self, config: Mapping[str, Any]) -> None:
        self._answers = Path(config["answers"])
        self._reported: float | None = None

    def step(self) -> Mapping[str, Any]:
        if self._reported is not None:
            waited = time.monotonic() - self._reported
            with self._answers.open("a") as answers:
                answers.write(f"{waited!r}\n")
        values = self.train_level()
        self._reported = time.monotonic()
        return values

    def train_level(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True


class _Command(_Trial):
    """Runs the command; a level is a line of it."""

    def setup(self, config: Mapping[str, Any]) -> None:
        super().setup(config)
        self._command = [*config["command"], f"--x={config['x']}"]
        # Begun by the first step: Ray may set up an actor and give its trial to another.
        self._process: subprocess.Popen[bytes] | None = None

    def train_level(self) -> Mapping[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise RuntimeError(f"a trial ended with status {self._process.wait()}")
        values: dict[str, Any] = json.loads(line)
        return values

    def cleanup(self) -> None:
        if self._process is not None:
            self._process.communicate()


class _Inside(_Trial):
    """Does what the command does, and writes down the same."""

    def setup(self, config: Mapping[str, Any]) -> None:
        began = time.monotonic()
        super().setup(config)
        self._x, self._seconds = config["x"], config["seconds"]
        self._path = Path(config["times"]) / f"{time.time_ns()}-{os.getpid()}"
        self._written = f"{began!r}\n"
        self._level = 0

    def train_level(self) -> Mapping[str, Any]:
        self._level += 1
        time.sleep(self._seconds)
        with self._path.open("a") as times:
            times.write(f"{self._written}{time.monotonic()!r}\n")
        self._written = ""
        return {"epoch": self._level, "loss": self._x / self._level}


def _constants(command: Sequence[str]) -> dict[str, Any]:
    """Return what the command is told, to be followed inside."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", required=True)
    parser.add_argument("--levels", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return vars(parser.parse_known_args(command)[0])


def main() -> None:
    way, trials, workers, answers, *command = sys.argv[1:]
    fresh = way == "fresh"
    constants = _constants(command)
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory() as scratch:
        ray.init(
            address="local",
            num_cpus=int(workers) + fresh,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=scratch,
        )
        try:
            tuner = tune.Tuner(
                _Command if way == "command" else _Inside,
                param_space={
                    "x": tune.uniform(0.0, 1.0),
                    "command": command,
                    "answers": answers,
                    **constants,
                },
                tune_config=tune.TuneConfig(
                    metric="loss",
                    mode="min",
                    num_samples=int(trials),
                    max_concurrent_trials=int(workers) if fresh else None,
                    reuse_actors=not fresh,
                ),
                run_config=tune.RunConfig(
                    storage_path=f"{scratch}/results",
                    stop={"epoch": constants["levels"]},
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(fail_fast=True),
                    verbose=0,
                ),
            )
            if failed := tuner.fit().num_errors:
                raise RuntimeError(f"{failed} trials failed")
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
