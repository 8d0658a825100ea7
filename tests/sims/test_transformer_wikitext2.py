"""The benchmark, its blackbox, and the physics and cross-validation behind it."""

import json
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

from asynctune.exceptions import UsageError
from sims.surrogate import CurveGP, Theta, squared_distances
from sims.transformer_wikitext2 import FIXED, benchmark, crossvalidation, load_blackbox
from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.collected import all_recorded, with_published_words
from sims.transformer_wikitext2.crossvalidation import (
    CHECKED,
    LeftOut,
    coverage,
    folds,
    predict_left_out,
    score,
)
from sims.transformer_wikitext2.fit import fit_seconds, residual_readings
from sims.transformer_wikitext2.paired import Comparison, simulate
from sims.transformer_wikitext2.recorded import NAMES, merge, readings, table, unplaced
from sims.transformer_wikitext2.sequences import config_sequence
from sims.transformer_wikitext2.stored import Surrogate, completed
from sims.transformer_wikitext2.validate import main as validate_main
from sims.transformer_wikitext2.validate import summary


@pytest.fixture(scope="module")
def box():
    return load_blackbox()


@pytest.fixture(scope="module")
def recorded():
    return merge(readings())


@pytest.fixture(scope="module")
def artefact():
    with np.load(
        str(files("sims.transformer_wikitext2") / "data" / "surrogate.npz"), allow_pickle=False
    ) as arrays:
        return dict(arrays)


def as_config(row):
    return dict(zip(NAMES, row, strict=True))


# The definition.


def test_importing_the_definition_is_light() -> None:
    code = (
        "import sys, sims.transformer_wikitext2; "
        "assert not {'numpy', 'polars', 'scipy', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_blackbox_needs_neither_scipy_nor_polars() -> None:
    code = (
        "import sys; from sims.transformer_wikitext2 import load_blackbox; "
        "load_blackbox().curve(dict(lr=1e-4, dropout=.1, batch_size=20, momentum=.5, clip=.5), 0);"
        "assert not {'polars', 'scipy', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_benchmark_is_the_published_problem() -> None:
    found = benchmark()
    assert (found.metric, found.mode, found.resource, found.max_resource) == (
        "val_loss",
        "min",
        "epoch",
        40,
    )
    assert (found.max_wallclock_time, found.n_workers) == (18_000, 4)
    assert set(found.space) == {*NAMES, *FIXED}
    assert found.instance_types["sagemaker"] == "ml.g4dn.xlarge"
    assert "T4" in found.provenance


# The recorded curves.


def test_every_reading_of_the_files_has_its_config(recorded) -> None:
    curves = table("learning_curves")
    asked = [c for copies in recorded.readings for c in copies if c.method != "BO"]
    assert len(asked) == curves.select("method", "trial_id").n_unique() == 222
    assert sum(np.isfinite(c.loss).sum() for c in asked) == len(curves) == 2004
    for curve in asked:
        rows = curves.filter(
            (curves["method"] == curve.method) & (curves["trial_id"] == curve.trial)
        )
        stated = np.array(rows.select(NAMES).row(0), dtype=float)
        assert curve.config == pytest.approx(stated, rel=1e-11)
        assert curve.exact


def test_copies_of_a_config_are_one_row_however_they_were_read(recorded) -> None:
    methods = {tuple((c.method, c.trial) for c in copies) for copies in recorded.readings}
    assert (("RS", 3), ("ASHA", 3), ("BO", 3)) in methods
    # BO's fifth config was recovered to four digits; it is one that ASHA tried.
    assert (("ASHA", 77), ("BO", 4)) in methods
    assert len(np.unique(recorded.configs, axis=0)) == len(recorded.configs) == 199


def test_the_most_accurate_reading_stands(recorded) -> None:
    for i, copies in enumerate(recorded.readings):
        sigma = np.array([c.sigma for c in copies])
        seen = np.isfinite(sigma).any(axis=0)
        assert np.array_equal(np.isfinite(recorded.loss[i]), seen)
        assert np.allclose(recorded.sigma[i, seen], np.nanmin(sigma[:, seen], axis=0))


# The blackbox.


def test_recorded_epochs_are_replayed_as_recorded(box, recorded) -> None:
    for i in np.flatnonzero(recorded.exact):
        curve = box.curve(as_config(recorded.configs[i]), seed=int(i))
        loss, seen = curve.values["val_loss"], np.isfinite(recorded.loss[i])
        assert np.array_equal(loss[seen], recorded.loss[i, seen])
        assert [s == "recorded" for s in curve.source] == seen.tolist()
        if np.isfinite(recorded.epoch_seconds[i]):
            assert curve.seconds[0] == pytest.approx(recorded.epoch_seconds[i], abs=0.01)


def test_config_sequences_find_their_recorded_curves(box) -> None:
    # Read off the figure: RS, trial 3, epochs 1 and 40.
    curve = box.curve({**config_sequence("local", 0, 4)[3], **FIXED}, seed=1111)
    assert curve.values["val_loss"][[0, 39]] == pytest.approx([9.9233, 7.0804])


def test_gaps_lie_between_what_was_seen(box, recorded) -> None:
    """Where a falling curve has a gap, the filled-in losses fall too, but for a hair."""
    for i in np.flatnonzero(recorded.exact):
        loss, seen = recorded.loss[i], np.flatnonzero(np.isfinite(recorded.loss[i]))
        if recorded.configs[i, 1] > 0.5:
            continue  # with high dropout curves may jump in between
        filled = box.curve(as_config(recorded.configs[i]), 0).values["val_loss"]
        for a, b in pairwise(seen):
            if loss[b] < loss[a]:
                inside = filled[a : b + 1]
                assert inside.min() >= loss[b] - 0.01
                assert inside.max() <= loss[a] + 0.01


def test_other_configs_come_from_the_surrogate(box) -> None:
    short, *_ = config_sequence("sagemaker", 0, 3)[2:]
    curve = box.curve(short, 0)
    assert set(curve.source) == {"surrogate"}
    assert curve.values["val_loss"].shape == curve.seconds.shape == (40,)
    assert np.all(np.diff(curve.seconds) > 0)
    far = {"lr": 1e-3, "dropout": 0.3, "batch_size": 16, "momentum": 0.99, "clip": 1.0}
    assert set(box.curve(far, 0).source) == {"extrapolated"}


def test_a_config_and_a_seed_fix_the_curve(box) -> None:
    configs = config_sequence("sagemaker", 1, 6)
    batch = box.curves(configs, [7] * 6)
    for config, curve in zip(configs, batch, strict=True):
        alone = box.curve(config, 7)
        assert np.array_equal(alone.values["val_loss"], curve.values["val_loss"])
        assert np.array_equal(alone.seconds, curve.seconds)
    assert box.curves([], []) == []


def test_seeds_differ_by_the_noise_of_training(box, artefact) -> None:
    config = config_sequence("sagemaker", 0, 3)[2]
    losses = np.array([c.values["val_loss"] for c in box.curves([config] * 400, range(400))])
    spread = losses.std(axis=0)
    # Everything is learned by epoch 20, where the scale is 1 and a bit.
    assert spread[19] == pytest.approx(float(artefact["noise"]), rel=0.15)
    assert losses.mean(axis=0) == pytest.approx(box.mean([config])[0], abs=0.002)


def test_uncertainty_grows_where_nothing_was_recorded(box) -> None:
    known, far = config_sequence("local", 0, 27)[26], config_sequence("local", 0, 1)[0]
    far = {**far, "lr": 1e-3, "momentum": 0.9, "dropout": 0.97}
    deviation = box.deviation([known, far])
    assert deviation.shape == (2, 40)
    assert 0.005 < deviation[0, 39] < 0.12
    assert deviation[1, 39] > 2 * deviation[0, 39]


def test_the_best_of_the_space_is_what_the_published_ends_allow(box) -> None:
    corner = [
        {"lr": 1e-3, "dropout": d, "batch_size": b, "momentum": 0.99, "clip": c}
        for d in np.linspace(0, 0.95, 20)
        for b in (16, 24, 32, 48)
        for c in (0.3, 0.6, 1.0)
    ]
    losses = box.mean(corner)
    assert 5.1 < losses.min() < 5.2
    # Without dropout the best region over-fits.
    assert losses[2].min() < losses[2, -1] - 0.1


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 0.0), ("dropout", 1.0), ("momentum", -0.1), ("batch_size", 0)]
)
def test_impossible_configs_are_refused(box, name, value) -> None:
    config = {**config_sequence("local", 1, 1)[0], name: value}
    with pytest.raises(UsageError, match=name):
        box.curve(config, 0)
    del config[name]
    with pytest.raises(UsageError, match=f"{name} is missing"):
        box.curve(config, 0)


def test_a_clip_of_zero_learns_nothing(box) -> None:
    config = {**config_sequence("local", 1, 1)[0], "clip": 0.0}
    assert box.curve(config, 0).values["val_loss"] == pytest.approx(bb.UNTRAINED, abs=1e-3)


# The physics.


def test_path_length_is_that_of_clipped_sgd_with_momentum() -> None:
    """Walk it: constant gradient, clipped to 0.4, momentum as in PyTorch's SGD."""
    lr, clip, momentum, batch = 0.01, 0.4, 0.8, 40
    steps = round(bb.TRAIN_TOKENS / bb.BPTT / batch)
    position = velocity = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + clip
        position += lr * velocity
    found = bb.inputs(np.array([[lr, 0.1, batch, momentum, clip]]))
    assert np.exp(found.log_path[0]) == pytest.approx(position, rel=0.01)


def test_backbone_is_continuous_where_the_spline_ends(artefact) -> None:
    at = bb.Inputs(*(np.array([v]) for v in (0.0, 0.1, 0.0, 0.0)))
    log_epoch = np.linspace(-8, 12, 200_001)
    loss = bb.backbone(artefact["parameters"], at, log_epoch).loss
    assert np.abs(np.diff(loss)).max() < 1e-3
    assert loss[0] == pytest.approx(bb.UNTRAINED, abs=0.01)


def test_more_dropout_learns_less_at_the_start(artefact) -> None:
    dropout = np.linspace(0, 0.98, 30)
    at = bb.Inputs(np.full(30, -2.0), dropout, np.zeros(30), np.full(30, -1.0))
    loss = bb.backbone(artefact["parameters"], at, np.array(0.0)).loss
    assert np.all(np.diff(loss) > 0)


def test_unstable_configs_jump(box) -> None:
    shaky = {"lr": 7e-4, "dropout": 0.88, "batch_size": 24, "momentum": 0.5, "clip": 0.8}
    loss = box.mean([shaky])[0]
    assert loss.max() > bb.UNTRAINED + 1
    assert loss[:5].min() < 10.6


# The fit.


def test_the_stored_surrogate_is_the_one_that_the_data_gives(artefact) -> None:
    recorded = with_published_words(all_recorded(), float(artefact.get("offset", 0.0)))
    seconds = fit_seconds(recorded)
    assert seconds == pytest.approx(artefact["seconds"], rel=1e-6)
    backbone = (artefact["parameters"], artefact["path"], artefact["dropout"])
    data = residual_readings(recorded, unplaced(seconds), backbone)
    gp = CurveGP(data, Theta.of(artefact["theta"]), 40)
    assert gp.weights == pytest.approx(artefact["weights"], abs=1e-6)
    filled = completed(recorded, _Fitted(artefact["parameters"], gp))
    asked = recorded.exact & ~recorded.collected
    assert filled[asked] == pytest.approx(artefact["loss"], abs=1e-6)


class _Fitted:
    def __init__(self, parameters, gp) -> None:
        self.parameters, self.gp = parameters, gp


def test_inferred_configs_lie_inside_the_space(recorded, artefact) -> None:
    extra = unplaced(artefact["seconds"])
    assert np.all(np.exp(artefact["path"]) < bb.longest_path(extra.batch_size))
    assert np.all((artefact["dropout"] > 0) & (artefact["dropout"] < 0.99))
    # Said with the data: these curves lie above a path of 5.3 an epoch.
    high = np.isin(extra.curve, [16, 17, 22, 23, 25, 26, 27, 28, 29])
    assert high.sum() == 9
    assert np.all(np.exp(artefact["path"][high]) > 5.3)


# Cross-validation.


def test_folds_hold_every_config_once(recorded) -> None:
    parts = folds(recorded, 10)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(199))
    paths = [bb.inputs(recorded.configs[part]).log_path for part in parts]
    assert max(p.min() for p in paths) < -5
    assert min(p.max() for p in paths) > 1


def test_a_left_out_config_has_no_part_in_its_prediction(recorded, artefact, monkeypatch) -> None:
    fitted_to = []

    def fit(data):
        """Stand in for the fit, which takes half a minute, and note what it was given."""
        fitted_to.append(data)
        backbone = (artefact["parameters"], artefact["path"], artefact["dropout"])
        readings = residual_readings(data, unplaced(artefact["seconds"]), backbone)
        gp = CurveGP(readings, Theta.of(artefact["theta"]), 40)
        return Surrogate(artefact["seconds"], *backbone, gp, 0.0)

    monkeypatch.setattr(crossvalidation, "fit", fit)
    at = bb.inputs(recorded.configs)
    scaled = np.column_stack([at.dropout, at.log_path, at.log_batch]) / artefact["lengths"]
    distances = squared_distances(scaled, scaled) + 1e9 * np.eye(len(scaled))
    # The two configs that are most alike, so that they learn from each other.
    left_out = np.array(np.unravel_index(distances.argmin(), distances.shape))
    mean, deviation = predict_left_out(recorded, left_out)
    assert len(fitted_to[0].configs) == len(recorded.configs) - 2
    assert not (fitted_to[0].configs[:, None] == recorded.configs[left_out]).all(axis=2).any()
    changed = recorded._replace(loss=recorded.loss.copy())
    changed.loss[left_out[0]] += 0.7
    mean_after, deviation_after = predict_left_out(changed, left_out)
    assert mean_after[0] == pytest.approx(mean[0], abs=1e-7)
    assert deviation_after[0] == pytest.approx(deviation[0], abs=1e-7)
    # The other config of the fold does learn from it.
    assert np.abs(mean_after[1] - mean[1]).max() > 1e-6


def test_scores_are_what_they_say(recorded) -> None:
    error = np.linspace(0, 1, len(recorded.loss))[:, None] * np.ones(40)
    left_out = LeftOut(recorded, recorded.loss + error, np.full_like(error, 0.3))
    seen = np.isfinite(recorded.loss[:, 39])
    ordered = np.sort(error[seen, 39])
    found = score(left_out, 40)
    assert found.configs == seen.sum() == 46
    assert found.median == pytest.approx(np.median(ordered))
    assert found.trimmed_mean == pytest.approx(ordered[:44].mean())  # 2 of 46 are the worst 5 %
    half = 1.645 * np.hypot(0.3, recorded.sigma[:, [e - 1 for e in CHECKED]])
    at = error[:, [e - 1 for e in CHECKED]]
    inside = (at <= half)[np.isfinite(half)]
    assert coverage(left_out) == pytest.approx(inside.mean(), abs=0.005)


def test_summary_has_the_promised_names(recorded) -> None:
    left_out = LeftOut(recorded, recorded.loss + 0.01, np.full((199, 40), 0.1))
    seconds = np.array([1.0, 2.0])
    zeros = np.zeros(2)
    comparisons = [
        Comparison("sagemaker", "RS", 2, seconds, zeros, np.array([0.5, -0.02])),
        Comparison("sagemaker", "RS", 4, seconds, zeros, np.array([0.1, -0.1])),
        Comparison("sagemaker", "RS", 8, seconds, zeros, np.array([0.2, 0.2])),
        Comparison("local", "RS", 4, seconds, zeros, zeros - 0.03),
        Comparison("local", "ASHA", 4, seconds, zeros, zeros + 0.04),
    ]
    found = summary(left_out, [score(left_out, e) for e in CHECKED], comparisons)
    assert found["loo_final_median"] == pytest.approx(0.01)
    assert found["loo_coverage_90"] == 1
    assert found["paired_rs_sagemaker_mae"] == pytest.approx(0.15)
    assert found["paired_rs_sagemaker_2w_end_error"] == pytest.approx(0.02)
    assert found["paired_rs_local_mae"] == pytest.approx(0.03)
    assert found["paired_asha_local_mae"] == pytest.approx(0.04)
    assert json.dumps(found)


def test_help_names_the_options() -> None:
    result = CliRunner().invoke(validate_main, ["--help"])
    assert result.exit_code == 0
    assert "--json" in result.output


# Simulations with the original's own configs.


def test_random_search_starts_as_the_published_one(tmp_path) -> None:
    """Eight workers, sagemaker: within the first hour the published IQM is met closely."""
    rows = table("distributed_tuning")
    rows = rows.filter(
        (rows["method"] == "RS") & (rows["n_workers"] == 8) & (rows["wallclock_s"] < 3600)
    ).sort("wallclock_s")
    seconds = rows["wallclock_s"].to_numpy()
    losses = np.sort(
        [simulate("sagemaker", "RS", 8, seed, 3600.0, seconds, tmp_path) for seed in range(5)],
        axis=0,
    )
    simulated = np.array([0, 0.3, 0.4, 0.3, 0]) @ losses
    assert np.abs(simulated - rows["val_loss_iqm"].to_numpy()).mean() < 0.04
