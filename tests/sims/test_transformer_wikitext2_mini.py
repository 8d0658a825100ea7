"""The reduced benchmark: its recorded table, its replay, and the script's view of its configs."""

import numpy as np
import polars as pl
import pytest

from asynctune.experiment import Experiment, run_experiment
from asynctune.space import ConfigSpace
from asynctune.stopping import StoppingCriterion
from sims.curvefit.blackbox import FittedBlackbox
from sims.curvefit.crossvalidation import leave_one_out, score
from sims.transformer_wikitext2.train import parser
from sims.transformer_wikitext2.training.settings import settings_of
from sims.transformer_wikitext2_mini import (
    SPACE,
    TRAINING,
    benchmark,
    load_blackbox,
    recorded_curves,
)
from sims.transformer_wikitext2_mini.alone import recorded
from sims.transformer_wikitext2_mini.fit import fitted
from sims.transformer_wikitext2_mini.fit import main as fit_main


@pytest.fixture(scope="module")
def curves():
    return recorded_curves().curves()


def test_every_training_was_followed_to_its_end(curves):
    assert curves.whole(TRAINING["epochs"]).all()
    finite = ~curves.diverged()
    assert (curves.levels[finite] == 40).all()
    assert set(curves.source) == {"collected"}


def test_seconds_are_those_of_a_training_alone(curves):
    sizes = [config["batch_size"] for config in curves.configs]
    np.testing.assert_allclose(
        curves.seconds[:, 0], recorded().epoch(sizes), rtol=1e-9, err_msg="publish again"
    )
    assert benchmark().seconds_per_level == pytest.approx(curves.seconds[:, 0].mean(), rel=0.1)


def test_a_recorded_config_is_replayed_as_it_was(curves):
    box = load_blackbox()
    for i in (0, len(curves.ids) - 1):
        found = box.curve({**curves.configs[i], **TRAINING}, int(curves.seed[i]))
        n = curves.levels[i]
        np.testing.assert_array_equal(found.values["val_loss"], curves.values["val_loss"][i, :n])
        np.testing.assert_array_equal(found.seconds, curves.seconds[i, :n])
        assert found.source[0] == "recorded:collected"


def test_the_stored_surrogate_is_the_one_that_is_fitted(curves):
    stored = load_blackbox()
    fresh = FittedBlackbox(recorded_curves(), fitted().fitted)
    space = ConfigSpace(SPACE)
    configs = space.sample(20, np.random.Generator(np.random.PCG64(5)))
    for ours, theirs in zip(
        stored.curves(configs, [1] * 20), fresh.curves(configs, [1] * 20), strict=True
    ):
        np.testing.assert_allclose(
            ours.values["val_loss"], theirs.values["val_loss"], rtol=1e-6, err_msg="fit again"
        )


def test_configs_left_out_are_predicted(capsys):
    assert fit_main(["--show"]) == 0
    assert "each config predicted from all others" in capsys.readouterr().out
    left_out = leave_one_out(fitted())
    found = score(left_out, np.ones(len(left_out.recorded), dtype=bool), 40, "all", 1.0)
    assert found.median < min(0.13, found.nearest)
    assert found.rank > 0.85


def test_curves_of_all_kinds_were_recorded(curves):
    loss, train = (curves.values[name][:, :40] for name in ("val_loss", "train_loss"))
    least = np.nanmin(loss, axis=1)
    assert (loss[:, -1] > 6).any()  # next to flat: the untrained loss is ln(1000) = 6.9
    assert (loss[:, 0] < 4.5).any()  # steep
    rises = np.diff(loss, axis=1).max(axis=1)
    assert (rises > 0.1).any()  # unstable
    over_fitting = (loss[:, -1] > least + 0.1) & (train[:, -1] < least - 0.5)
    assert over_fitting.any()
    assert 3.2 < np.nanmin(least) < 3.8


def test_the_script_is_given_what_was_recorded():
    space = ConfigSpace(benchmark().space)
    (config,) = space.from_unit(np.full((1, len(SPACE)), 0.5))
    whole = space.complete(config)
    values = parser().parse_args([f"--{name}={value}" for name, value in whole.items()])
    settings = settings_of(values)
    for name in ("epochs", "seed", *SPACE):
        assert getattr(settings, name) == whole[name]
    for name in ("d_model", "ffn_ratio", "nlayers", "nhead", "bptt"):
        assert getattr(settings.shape, name) == TRAINING[name]
    for name in ("vocabulary", "train_tokens", "valid_tokens"):
        assert getattr(values, name) == TRAINING[name]
    pytest.importorskip("torch", reason="the recipe lies beside what needs torch")
    from sims.transformer_wikitext2_mini.recipe import mini_recipe

    recipe = mini_recipe()
    recorded_as = recipe.settings(
        {name: whole[name] for name in SPACE}, seed=1111, epochs=40, precision="float"
    )
    assert recorded_as == settings


def test_a_study_can_be_simulated_on_it(tmp_path):
    experiment = Experiment(
        tag="mini",
        method="ASHA",
        benchmark=benchmark(),
        profile="local",
        n_workers=4,
        seed=0,
        scheduler_seed=3,
        stopping=StoppingCriterion(max_wallclock_time=400.0),
    )
    metadata = run_experiment(experiment, tmp_path)
    (results,) = tmp_path.glob("results*.parquet")
    reports = pl.read_parquet(results)
    assert reports["val_loss"].min() < 4.5
    assert reports["epoch"].max() > 1
    assert "a surrogate fitted to those curves" in str(metadata)
    assert set(reports["source"]) <= {"recorded:collected", "surrogate"}
