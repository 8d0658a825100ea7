"""Simulations with the original's own configs, beside what was published.

Nothing in such a comparison is left to chance but the noise of training: the configs that RS
and ASHA tried are computed, their curves replayed, and the rules and the clock are those of
any simulated experiment.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.transformer_wikitext2.recorded import table
from sims.transformer_wikitext2.sequences import MASTER_SEED, Study, config_sequence

Vector = NDArray[np.float64]

# The original's interquartile means of the local study (10 seeds, 4 workers) at two times.
LOCAL_SECONDS = (5_000.0, 18_000.0)
LOCAL_IQM = {"RS": (6.93, 6.41), "ASHA": (6.42, 6.10)}
N_CONFIGS = 400  # more than any of these experiments starts


class Comparison(NamedTuple):
    """One setup, simulated and published.

    Attributes:
        study: The published study.
        method: "RS" or "ASHA".
        n_workers: Number of workers.
        seconds: Times that are compared, shape ``(k,)``.
        published: Published interquartile mean of the best loss, shape ``(k,)``.
        simulated: The simulated one, shape ``(k,)``.
    """

    study: Study
    method: str
    n_workers: int
    seconds: Vector
    published: Vector
    simulated: Vector

    @property
    def error(self) -> Vector:
        """Simulated less published, shape ``(k,)``."""
        return self.simulated - self.published


def compare_all() -> list[Comparison]:
    """Return every paired comparison: RS of the sagemaker study, RS and ASHA of the local one."""
    rows = table("distributed_tuning")
    found = []
    for n_workers in (2, 4, 8):
        chosen = rows.filter((rows["method"] == "RS") & (rows["n_workers"] == n_workers))
        chosen = chosen.sort("wallclock_s")
        found.append(
            _compare(
                "sagemaker",
                "RS",
                n_workers,
                chosen["wallclock_s"].to_numpy().astype(np.float64),
                chosen["val_loss_iqm"].to_numpy(),
            )
        )
    for method, published in LOCAL_IQM.items():
        found.append(_compare("local", method, 4, np.array(LOCAL_SECONDS), np.array(published)))
    return found


def _compare(
    study: Study, method: str, n_workers: int, seconds: Vector, published: Vector
) -> Comparison:
    from asynctune.aggregate import iqm

    seeds = range(5) if study == "sagemaker" else range(10)
    until = 36_000.0 if n_workers == 2 else 18_000.0
    with TemporaryDirectory() as folder:
        losses = [
            simulate(study, method, n_workers, seed, until, seconds, Path(folder)) for seed in seeds
        ]
    simulated = iqm(np.stack(losses))
    return Comparison(study, method, n_workers, seconds, published, simulated)


def simulate(
    study: Study,
    method: str,
    n_workers: int,
    seed: int,
    until: float,
    seconds: Sequence[float] | Vector,
    folder: Path,
) -> Vector:
    """Return the best loss of one simulated repetition at each of `seconds`, shape ``(k,)``.

    Args:
        study: The study whose configs are tried; its name is the cluster profile's too.
        method: "RS" or "ASHA" (promotion, every resume a new start).
        n_workers: Number of workers.
        seed: Number of the repetition.
        until: Seconds that the experiment lasts.
        seconds: When to look.
        folder: Where the experiment's folder is made.
    """
    import polars as pl

    from asynctune.aggregate import best_so_far, losses_at
    from asynctune.experiment import RESULTS, Experiment, run_experiment, scheduler_seed
    from asynctune.stopping import StoppingCriterion

    experiment = Experiment(
        tag=f"paired-{study}",
        method=method,
        benchmark="transformer_wikitext2",
        n_workers=n_workers,
        seed=seed,
        scheduler_seed=scheduler_seed(MASTER_SEED, seed),
        random_seed=MASTER_SEED,
        stopping=StoppingCriterion(max_wallclock_time=until),
        backend="simulated",
        profile=study,
        method_options=(
            {"type": "promotion", "continue_in_place": False} if method == "ASHA" else {}
        ),
        points_to_evaluate=config_sequence(study, seed, N_CONFIGS),
    )
    run_experiment(experiment, folder / experiment.name)
    reports = pl.read_parquet(folder / experiment.name / RESULTS)
    steps = best_so_far(reports["tuner_time"].to_numpy(), reports["val_loss"].to_numpy())
    return losses_at(steps, np.asarray(seconds, dtype=np.float64))
