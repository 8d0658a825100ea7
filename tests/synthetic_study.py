"""Makes results folders with known content, for the tests of everything that reads them."""

import json

import numpy as np
import polars as pl

LEVELS = {"RS": 6.4, "BO": 5.4, "ASHA": 6.0, "MOBSTER": 5.2}
"""Loss that a method's synthetic runs tend to."""


def write_experiment(folder, reports, **metadata):
    """Write one experiment; `reports` maps columns to lists, the rest has defaults."""
    n = len(reports["tuner_time"])
    columns = {
        "trial_id": [0] * n,
        "epoch": list(range(1, n + 1)),
        "val_loss": [1.0] * n,
        "decision": ["continue"] * n,
        "status": ["running"] * n,
        "source": ["recorded"] * n,
        "config_lr": [1e-3] * n,
        "cost_usd": [0.1] * n,
    } | reports
    defaults = {
        "tag": folder.parent.name,
        "method": "RS",
        "benchmark": "synthetic",
        "backend": "simulated",
        "profile": "sagemaker",
        "n_workers": 4,
        "seed": 0,
        "random_seed": 2938702734,
        "scheduler_seed": 1,
        "metric": "val_loss",
        "mode": "min",
        "resource": "epoch",
        "max_resource": 40,
        "max_wallclock_time": 18000.0,
        "provenance": "made up for tests",
        "status": "complete",
        "experiment_seconds": 18000.0,
        "n_trials": len(set(columns["trial_id"])),
        "n_reports": n,
        "total_cost_usd": 14.72,
        "worker_busy_seconds": 70000.0,
        "utilisation": 0.97,
        "training_share": 0.8,
        "stopped_by": "max_wallclock_time",
        "cluster": {"start_up": 120},
    }
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(defaults | metadata))
    schema = {"epoch": pl.Int64, "tuner_time": pl.Float64, "val_loss": pl.Float64}
    pl.DataFrame(columns, schema_overrides=schema).write_parquet(folder / "results.parquet")
    return folder


def write_study(
    folder,
    methods=("RS", "BO", "ASHA", "MOBSTER"),
    n_workers=(2, 4, 8),
    seeds=5,
    trials=30,
    epochs=40,
    sign=1,
    **metadata,
):
    """Write a study whose losses fall as exp(-worker hours / 8) from 10.8 to LEVELS[method].

    Seeds are shifted by up to 0.2 either way. With 2 workers experiments last 36,000 s,
    otherwise 18,000 s.
    """
    for method in methods:
        for workers in n_workers:
            for seed in range(seeds):
                seconds = 36000.0 if workers == 2 else 18000.0
                rng = np.random.default_rng([seed, workers])
                times = np.sort(rng.uniform(300, seconds, trials * epochs))
                fall = np.exp(-workers * times / 3600 / 8)
                level = LEVELS[method] + 0.1 * (seed - (seeds - 1) / 2)
                noise = rng.exponential(0.3, len(times))
                values = sign * (level + (10.8 - level) * fall + noise)
                epoch = np.tile(np.arange(1, epochs + 1), trials)
                stopped = method in ("ASHA", "MOBSTER")
                write_experiment(
                    folder / f"{method}-{workers}w-{seed}",
                    {
                        "trial_id": np.repeat(np.arange(trials), epochs),
                        "epoch": epoch,
                        "val_loss": values,
                        "tuner_time": times,
                        "decision": np.where((epoch == epochs) & stopped, "pause", "continue"),
                        "status": ["running"] * len(times),
                        "source": np.where(values * sign < 6, "extrapolated", "recorded"),
                        "config_lr": rng.uniform(size=len(times)),
                    },
                    method=method,
                    n_workers=workers,
                    seed=seed,
                    max_wallclock_time=seconds,
                    experiment_seconds=seconds,
                    total_cost_usd=0.736 * workers * seconds / 3600,
                    n_trials=trials,
                    mode="min" if sign == 1 else "max",
                    **metadata,
                )
    return folder
