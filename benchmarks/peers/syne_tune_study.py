"""One experiment of Syne Tune in its own simulator, on curves that the other end knows.

The first line read says what to run. Then each line written asks for a config's curve and the
line read next is the curve; the last line written has the reports. Real seconds that Syne Tune
takes to decide do not pass in the simulation, unlike its default: they would hang on the host.
"""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np
from syne_tune import StoppingCriterion, Tuner  # type: ignore[import-not-found]
from syne_tune.backend.simulator_backend.simulator_backend import (  # type: ignore[import-not-found]
    SimulatorConfig,
)
from syne_tune.backend.simulator_backend.simulator_callback import (  # type: ignore[import-not-found]
    SimulatorCallback,
)
from syne_tune.blackbox_repository import UserBlackboxBackend  # type: ignore[import-not-found]
from syne_tune.blackbox_repository.blackbox import Blackbox  # type: ignore[import-not-found]
from syne_tune.config_space import randint  # type: ignore[import-not-found]
from syne_tune.constants import ST_TUNER_TIME  # type: ignore[import-not-found]

from benchmarks.peers.space import Config, parameters_from_json
from benchmarks.peers.syne_tune_peer import MAX_RESOURCE, METRIC, RESOURCE, make_scheduler
from benchmarks.peers.wire import send

_SECONDS = "elapsed"


class _Curves(Blackbox):  # type: ignore[misc]
    """A blackbox whose answers come through the pipe."""

    def __init__(self, space: Mapping[str, Any], max_resource: int, answers: TextIO) -> None:
        super().__init__(dict(space), {RESOURCE: randint(1, max_resource)}, [METRIC, _SECONDS])
        self._levels = list(range(1, max_resource + 1))
        self._answers = answers

    @property
    def fidelity_values(self) -> list[int]:
        return self._levels

    def _objective_function(
        self, configuration: Config, fidelity: Config | None = None, seed: int | None = None
    ) -> Any:  # noqa: ANN401 - an array of numpy
        del fidelity, seed  # all levels are returned, and the other end knows the seed
        send(self._answers, {"curve": dict(configuration)})
        curve = json.loads(sys.stdin.readline())
        return np.array([curve["losses"], curve["seconds"]]).T


class _Backend(UserBlackboxBackend):  # type: ignore[misc]
    """The simulator, on which nothing but simulated time passes."""

    def _advance_by_outside_time(self) -> None:
        pass


class _Record(SimulatorCallback):  # type: ignore[misc]
    """Keeps (seconds, loss) of each report."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[tuple[float, float]] = []

    def on_trial_result(self, trial: Any, status: str, result: Any, decision: str) -> None:  # noqa: ANN401
        super().on_trial_result(trial, status, result, decision)
        self.reports.append((float(result[ST_TUNER_TIME]), float(result[METRIC])))


def simulate(request: Mapping[str, Any], answers: TextIO) -> list[tuple[float, float]]:
    """Return (seconds, loss) of each report of an experiment."""
    scheduler = make_scheduler(
        request["method"],
        parameters_from_json(request["parameters"]),
        seed=request["seed"],
        max_resource=request["max_resource"],
    )
    delay = request["startup_delay"]
    backend = _Backend(
        _Curves(scheduler.config_space, request["max_resource"], answers),
        _SECONDS,
        max_resource_attr=MAX_RESOURCE,
        seed=0,
        simulator_config=SimulatorConfig(0.0, 0.0, 0.0, delay, 0.0),
        tuner_sleep_time=1.0,
    )
    record = _Record()
    tuner = Tuner(
        trial_backend=backend,
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_wallclock_time=request["seconds"]),
        n_workers=request["n_workers"],
        sleep_time=0,
        callbacks=[record],
        save_tuner=False,
        print_update_interval=1e9,
    )
    tuner.run()
    return record.reports


def main(answers: TextIO) -> None:
    """Run the experiment that is asked for."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNETUNE_FOLDER"] = folder
        request = json.loads(sys.stdin.readline())
        begin = time.process_time()
        reports = simulate(request, answers)
        send(answers, {"reports": reports, "cpu": time.process_time() - begin})
