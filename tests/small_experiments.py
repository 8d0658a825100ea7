"""Small simulated experiments whose every number follows from the config, for many tests."""

from math import inf, nan

import numpy as np

from asynctune.benchmark import Benchmark
from asynctune.experiment import JOURNAL, Experiment, run_experiment
from asynctune.space import randint, uniform
from asynctune.stopping import RetryPolicy, StoppingCriterion
from sims.blackbox import Curve

MAX_RESOURCE = 27


class Landscape:
    """Losses that fall as 1/epoch towards (x - 0.3)^2; seconds as the test wants them.

    Args:
        lock_step: An epoch takes one or two seconds, so that many events share an instant.
        diverging: Configs with x above 0.7 report NaN or inf, some of them from the first epoch.
        levels: Number of epochs in a curve.
    """

    def __init__(self, *, lock_step=False, diverging=False, levels=MAX_RESOURCE):
        self.lock_step = lock_step
        self.diverging = diverging
        self.levels = levels

    def curve(self, config, seed):
        epochs = np.arange(1, self.levels + 1)
        x, n = config["x"], config["n"]
        values = (x - 0.3) ** 2 + 1 / epochs
        if self.diverging and x > 0.7:
            values = np.where(epochs > n % 3, nan if n % 2 else inf, values)
        epoch_seconds = float(1 + n % 2) if self.lock_step else 20.0 + 40.0 * x
        source = tuple("recorded" if e < 5 else "surrogate" for e in epochs)
        return Curve({"loss": values, "accuracy": -values}, epoch_seconds * epochs, source)


def small_benchmark(*, mode="min", space=None, **landscape):
    return Benchmark(
        name="small",
        space=space or {"x": uniform(0, 1), "n": randint(0, 9), "constant": "c"},
        metric="loss" if mode == "min" else "accuracy",
        mode=mode,
        resource="epoch",
        max_resource=MAX_RESOURCE,
        max_wallclock_time=5000,
        n_workers=4,
        blackbox=lambda: Landscape(**landscape),
        instance_types={"local": "ml.g4dn.xlarge", "sagemaker": "ml.g4dn.xlarge"},
    )


def small_experiment(method="ASHA", *, landscape=None, options=None, bounds=None, **changes):
    """Return an experiment; `options` are the profile's, `bounds` the stopping criterion's."""
    settings = {
        "tag": "small",
        "method": method,
        "benchmark": small_benchmark(**landscape or {}),
        "n_workers": 4,
        "seed": 0,
        "scheduler_seed": 3,
        "stopping": StoppingCriterion(**bounds or {"max_wallclock_time": 3000.0}),
        "retries": RetryPolicy(max_failures=1000),
        "profile": "local",
        "backend_options": options or {},
    }
    return Experiment(**(settings | changes))


def journal_of(experiment, folder):
    """Run an experiment in its folder, from wherever its journal ends; return the journal."""
    run_experiment(experiment, folder)
    return (folder / JOURNAL).read_bytes()


METHODS = {
    "RS": {"method": "RS"},
    "promotion": {"method": "ASHA"},
    "promotion, new attempts": {
        "method": "ASHA",
        "method_options": {"continue_in_place": False, "reduction_factor": 2},
    },
    "stopping": {"method": "ASHA", "method_options": {"type": "stopping"}},
}

CLUSTERS = {
    "local": {},
    "sagemaker": {"profile": "sagemaker"},
    "warm pool": {
        "profile": "sagemaker",
        "options": {"keep_alive": 600.0, "startup_spread": 0.3},
    },
    "faults": {
        "profile": "sagemaker",
        "options": {
            "failure_rate": 2.0,
            "preemption_rate": 3.0,
            "straggler_probability": 0.2,
            "straggler_factor": 3.0,
            "startup_spread": 0.5,
        },
    },
    "late reports": {"options": {"report_delay": 90.0, "preemption_rate": 3.0}},
    "no checkpoints": {"options": {"checkpointing": False, "failure_rate": 4.0}},
    "three machines": {"options": {"capacity": 3}},
    "no delays, lock-step": {
        "options": {"startup_delay": 0.0, "failure_rate": 20.0},
        "landscape": {"lock_step": True},
        "bounds": {"max_wallclock_time": 150.0},
    },
    "whole seconds, lock-step": {
        "options": {"startup_delay": 2.0, "stop_delay": 1.0, "report_delay": 1.0},
        "landscape": {"lock_step": True},
        "bounds": {"max_wallclock_time": 200.0},
    },
    "no delays but of reports": {
        "options": {"startup_delay": 0.0, "report_delay": 3.0},
        "landscape": {"lock_step": True, "diverging": True},
        "bounds": {"max_wallclock_time": 200.0},
    },
    "diverging": {"landscape": {"diverging": True}},
    "costly decisions": {"decision_cost": 7.0},
    "few trials": {"bounds": {"max_trials": 9}},
    "a cost": {"bounds": {"max_cost": 1.0}},
    "maximised": {"landscape": {"mode": "max"}},
}
