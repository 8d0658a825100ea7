"""A small transformer trained on WikiText-2: the problem of the worker-scaling study.

Importing this module is light; the recorded curves and the surrogate are read when the
blackbox is made.
"""

from typing import TYPE_CHECKING, Any

from asynctune.benchmark import Benchmark

if TYPE_CHECKING:
    import polars as pl

    from sims.transformer_wikitext2.replay import Wikitext2Blackbox

# What the training script is given besides the tuned hyperparameters.
FIXED: dict[str, Any] = {
    "epochs": 40,
    "d_model": 256,
    "ffn_ratio": 1,
    "nlayers": 2,
    "nhead": 2,
    "bptt": 35,
    "optimizer_name": "sgd",
    "input_data_dir": "./",
    "use_cuda": 1,
    "seed": 1111,
    "precision": "float",
    "log_interval": 200,
}

SOURCES = "sources.json"  # beside the surrogate: how many curves of which source are behind it


def provenance() -> str:
    """Return where the simulator's numbers come from, one line."""
    import json
    from importlib.resources import files

    counts = json.loads((files(__package__) / "data" / SOURCES).read_bytes())
    said = (
        f"{counts.pop('published')} learning curves recorded on T4 GPUs, read off the figures of "
        "the Syne Tune tutorial 'Distributed Tuning' (2023)"
    )
    for source, n in counts.items():
        said += f", {n} {source} with this package's training code"
    return f"{said}; between and beyond them a surrogate fitted to those curves"


def load_blackbox() -> "Wikitext2Blackbox":
    """Return the blackbox: recorded curves, and a surrogate where there are none."""
    from sims.transformer_wikitext2.replay import load

    return load()


def published_reference(profile: str) -> "pl.DataFrame | None":
    """Return the published results by time: interquartile means over five seeds.

    Args:
        profile: Name of the cluster profile; the rows are of the study on "sagemaker".

    Returns:
        Columns `method`, `n_workers`, `wallclock_s` and `value` (validation loss), rows in
        order; None for any other profile.
    """
    if profile != "sagemaker":
        return None
    import polars as pl

    from sims.transformer_wikitext2.recorded import table

    columns = ["method", "n_workers", "wallclock_s", pl.col("val_loss_iqm").alias("value")]
    return table("distributed_tuning").select(columns).sort("method", "n_workers", "wallclock_s")


def benchmark() -> Benchmark:
    """Return the benchmark: minimise the validation loss over five hyperparameters."""
    from asynctune.space import loguniform, randint, uniform

    return Benchmark(
        name="transformer_wikitext2",
        space={
            "lr": loguniform(1e-6, 1e-3),
            "dropout": uniform(0, 0.99),
            "batch_size": randint(16, 48),
            "momentum": uniform(0, 0.99),
            "clip": uniform(0, 1),
            **FIXED,
        },
        metric="val_loss",
        mode="min",
        resource="epoch",
        max_resource=40,
        max_wallclock_time=18_000,
        n_workers=4,
        instance_types={"local": "ml.g4dn.12xlarge", "sagemaker": "ml.g4dn.xlarge"},
        blackbox=load_blackbox,
        provenance=provenance(),
        seconds_per_level=54.0,
        reference=published_reference,
    )
