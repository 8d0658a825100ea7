"""The transformer on WikiText-2, reduced to what one core trains in half a minute.

The same training script as of `transformer_wikitext2`, with a smaller model, vocabulary and text.
Learning rates are larger, as there are fewer steps: their range is such that curves are flat,
steep, unstable or over-fit within the space, as those of the full problem are. Importing this
module is light; the recorded curves are read when the blackbox is made.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asynctune.benchmark import Benchmark
from asynctune.space import loguniform, randint, uniform
from asynctune.trainable import Script

if TYPE_CHECKING:
    from sims.curvefit.blackbox import FittedBlackbox
    from sims.curvetable import CurveTable

SPACE: Final[dict[str, Any]] = {
    "lr": loguniform(1e-3, 3.0),
    "dropout": uniform(0, 0.99),
    "batch_size": randint(16, 48),
    "momentum": uniform(0, 0.99),
    "clip": uniform(0, 1),
}

# What the training script is given besides the tuned hyperparameters.
TRAINING: Final[dict[str, Any]] = {
    "epochs": 40,
    "d_model": 64,
    "ffn_ratio": 1,
    "nlayers": 2,
    "nhead": 2,
    "bptt": 35,
    "vocabulary": 1000,
    "train_tokens": 30_000,
    "valid_tokens": 6_000,
    "seed": 1111,
}

PROVENANCE: Final = (
    "learning curves recorded on the CPU with this package's training script and collector; "
    "for configs that were not recorded, a surrogate fitted to those curves"
)
SURROGATE: Final = "surrogate.npz"


# What a real run trains; it has to be told besides where the text is, by `--data`.
TRAINABLE: Final = Script(
    path=Path(__file__).parents[1] / "transformer_wikitext2" / "train.py",
    environment={"PYTHONSAFEPATH": "1"},  # nothing is to be imported from the script's folder
)


def recorded_curves() -> "CurveTable":
    """Return the table that comes with the package."""
    from importlib.resources import as_file, files

    from asynctune.space import ConfigSpace
    from sims.curvechecks import TableFormat
    from sims.curvetable import read

    with as_file(files(__package__) / "data" / "curves.parquet") as path:
        return read(path, TableFormat(ConfigSpace(SPACE), "epoch", "val_loss"))


def load_blackbox() -> "FittedBlackbox":
    """Return the blackbox: the recorded curves, and a surrogate where a config was not recorded."""
    from importlib.resources import as_file, files

    from sims.curvefit.blackbox import FittedBlackbox
    from sims.curvefit.store import read_surrogate

    with as_file(files(__package__) / "data" / SURROGATE) as path:
        return FittedBlackbox(recorded_curves(), read_surrogate(path))


def benchmark() -> Benchmark:
    """Return the benchmark: minimise the validation loss over five hyperparameters."""
    return Benchmark(
        name="transformer_wikitext2_mini",
        space={**SPACE, **TRAINING},
        metric="val_loss",
        mode="min",
        resource="epoch",
        max_resource=TRAINING["epochs"],
        max_wallclock_time=900,
        n_workers=4,
        # Seconds are of one core; these are the machines that the profiles have prices of.
        instance_types={"local": "ml.g4dn.12xlarge", "sagemaker": "ml.g4dn.xlarge"},
        blackbox=load_blackbox,
        provenance=PROVENANCE,
        seconds_per_level=0.8,
        trainable=TRAINABLE,
    )
