"""Replay of a table: exact lookup, nearest neighbour, seeds, sources."""

import numpy as np
import polars as pl
import pytest

from asynctune import ConfigSpace, Experiment, UsageError, choice, loguniform, run_experiment
from asynctune.benchmark import Benchmark
from asynctune.stopping import StoppingCriterion
from sims.curvechecks import TableFormat
from sims.curvetable import check
from sims.tabular import TabularBlackbox

SPACE = ConfigSpace({"lr": loguniform(1e-4, 1.0), "kind": choice(["a", "b"]), "epochs": 3})
FORMAT = TableFormat(SPACE, "epoch", "loss")


def make(*curves, nearest=False, **further):
    """Return a blackbox of curves given as (lr, kind, seed, losses)."""
    frames = [
        pl.DataFrame(
            {
                "config_id": f"{lr}{kind}",
                "lr": lr,
                "kind": kind,
                "epoch": range(1, len(losses) + 1),
                "loss": losses,
                "seconds": np.arange(1, len(losses) + 1) * 2.0,
                "seed": seed,
                "source": "lab" if kind == "a" else "",
            },
            strict=False,
        ).with_columns(**{name: pl.lit(value) for name, value in further.items()})
        for lr, kind, seed, losses in curves
    ]
    return TabularBlackbox(check(pl.concat(frames), FORMAT), 3, nearest=nearest)


THREE = (
    (0.001, "a", 1, [3.0, 2.0, 1.0]),
    (0.1, "b", 1, [5.0, 4.0, 3.0]),
    (0.1, "b", 2, [5.5, 4.5, 3.5]),
)


def test_a_recorded_config_gets_its_own_curve_however_it_is_written():
    box = make(*THREE)
    curve = box.curve({"lr": 0.1 * (1 + 1e-12), "kind": "b", "epochs": 3}, seed=2)
    assert curve.values["loss"].tolist() == [5.5, 4.5, 3.5]
    assert curve.seconds.tolist() == [2.0, 4.0, 6.0]
    assert curve.source == ("recorded",) * 3
    assert box.curve({"lr": 0.001, "kind": "a"}, 0).source == ("recorded:lab",) * 3


def test_seeds_that_were_not_recorded_take_turns():
    box = make(*THREE)
    lasts = [box.curve({"lr": 0.1, "kind": "b"}, seed).values["loss"][-1] for seed in range(5)]
    assert lasts == [3.0, 3.0, 3.5, 3.5, 3.0]


def test_other_configs_are_refused_or_answered_by_the_nearest():
    with pytest.raises(UsageError, match="one of the 2 recorded ones"):
        make(*THREE).curve({"lr": 0.01, "kind": "a"}, 0)
    box = make(*THREE, nearest=True)
    curve = box.curve({"lr": 0.01, "kind": "a"}, 0)
    assert curve.values["loss"].tolist() == [3.0, 2.0, 1.0]
    assert curve.source == ("nearest:lab",) * 3
    assert box.curve({"lr": 0.9, "kind": "b"}, 2).source == ("nearest",) * 3


def test_what_was_cut_short_or_not_timed_is_not_replayed():
    box = make(*THREE, (0.5, "a", 1, [2.0, 1.0]), nearest=True)
    assert box.curve({"lr": 0.5, "kind": "a"}, 0).source == ("nearest",) * 3
    with pytest.raises(UsageError, match="a timed curve of 3 levels"):
        make((0.5, "a", 1, [2.0, 1.0]))
    with pytest.raises(UsageError, match="a timed curve of 3 levels"):
        make(*THREE, seconds=None)


def test_a_diverged_curve_ends_where_it_did():
    curve = make((0.5, "a", 1, [2.0, float("nan")])).curve({"lr": 0.5, "kind": "a"}, 0)
    np.testing.assert_equal(curve.values["loss"], [2.0, np.nan])
    assert curve.source == ("recorded:lab",) * 2


def test_configs_must_be_whole():
    with pytest.raises(UsageError, match="must have a value for 'lr'"):
        make(*THREE).curve({"kind": "a"}, 0)


def test_a_simulation_runs_on_a_table_and_says_so(tmp_path):
    box = make(*THREE, nearest=True)
    problem = Benchmark(
        name="table",
        space=dict(SPACE),
        metric="loss",
        mode="min",
        resource="epoch",
        max_resource=3,
        max_wallclock_time=3000,
        n_workers=2,
        instance_types={"sagemaker": "ml.g4dn.xlarge"},
        blackbox=lambda: box,
    )
    experiment = Experiment(
        tag="t",
        benchmark=problem,
        method="ASHA",
        n_workers=2,
        seed=0,
        scheduler_seed=1,
        stopping=StoppingCriterion(max_wallclock_time=3000),
        backend_options={"instance_type": "ml.g4dn.xlarge"},
    )
    run_experiment(experiment, tmp_path / "one")
    reports = pl.read_parquet(tmp_path / "one" / "results.parquet")
    assert reports["loss"].min() == 1.0
    assert set(reports["source"]) <= {"nearest", "nearest:lab", "recorded", "recorded:lab"}
    assert len(reports) > 10
