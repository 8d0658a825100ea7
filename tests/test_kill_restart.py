"""A simulated experiment killed anywhere and started again is as if it had not been killed."""

import random
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from asynctune.experiment import JOURNAL, RESULTS, Experiment, run_experiment
from asynctune.stopping import StoppingCriterion

CUTS = 20


@pytest.mark.parametrize("profile", ["sagemaker", "local"])
@pytest.mark.parametrize("method", ["RS", "BO", "ASHA", "MOBSTER"])
def test_every_method_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, method: str, profile: str
) -> None:
    experiment = Experiment(
        tag="killed",
        method=method,
        benchmark="transformer_wikitext2",
        n_workers=4,
        seed=0,
        scheduler_seed=791219087,
        profile=profile,
        stopping=StoppingCriterion(max_wallclock_time=5000.0),
    )
    run_experiment(experiment, tmp_path)
    journal, results = tmp_path / JOURNAL, tmp_path / RESULTS
    whole, rows = journal.read_bytes(), pl.read_parquet(results)
    assert rows.height > 150
    for cut in sorted(random.Random(7).sample(range(len(whole)), CUTS)):
        journal.write_bytes(whole[:cut])
        results.unlink()
        run_experiment(experiment, tmp_path)
        assert_frame_equal(pl.read_parquet(results), rows)
        assert journal.read_bytes() == whole, f"cut at byte {cut}"
