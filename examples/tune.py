"""Tune the script beside this one from Python."""

from pathlib import Path

from asynctune import choice, lograndint, loguniform, reverseloguniform, tune

if __name__ == "__main__":
    best = tune(
        Path(__file__).with_name("train.py"),
        space={
            "lr": loguniform(1e-4, 10),
            "momentum": reverseloguniform(0, 0.99),
            "units": lograndint(4, 128),
            "batch_size": choice([8, 32, 128]),
            "epochs": 40,
        },
        metric="val_loss",
        max_resource=40,
        method="MOBSTER",
        max_trials=40,
        tag="spirals",
    )
    print(f"val_loss {best.value:.4f} with {dict(best.config)}")  # noqa: T201
    print(f"checkpoint: {best.checkpoint}")  # noqa: T201
    print(best.reports().sort("val_loss").head())  # noqa: T201
