"""The surrogate of any recorded table, on problems whose truth is known."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import qmc

from asynctune import ConfigSpace, UsageError, choice, loguniform, uniform
from sims.curvechecks import TableFormat
from sims.curvefit.blackbox import FittedBlackbox
from sims.curvefit.crossvalidation import leave_one_out, report, score
from sims.curvefit.fit import fit
from sims.curvefit.index import Index
from sims.curvefit.model import Fitted
from sims.curvefit.regression import regress
from sims.curvefit.scale import Scale
from sims.curvefit.shapes import Shapes
from sims.curvetable import check

R = 12
SPACE = ConfigSpace(
    {"lr": loguniform(1e-4, 1.0), "drop": uniform(0, 1), "kind": choice(["a", "b"])}
)
FORMAT = TableFormat(SPACE, "epoch", "loss")
EPOCHS = np.arange(1.0, R + 1)


def truth(config, seed=0):
    """Losses that fall, ripple at large rates, rise at low dropout, or diverge; and seconds."""
    x = np.log10(config["lr"])
    pace = 0.1 + 0.25 * (x + 4)
    loss = 2 + 3 * np.exp(-pace * EPOCHS) + (0.3 if config["kind"] == "b" else 0.0)
    loss += 0.06 * max(0.0, 0.5 - config["drop"]) * EPOCHS  # over-fitting
    ripple = 0.4 if x > -1.5 else 0.0
    loss += ripple * (-1.0) ** EPOCHS
    rng = np.random.default_rng([seed, 5])
    loss += (0.01 + ripple / 4) * rng.normal(size=R) * (seed > 0)
    if x > -0.4:
        loss = loss[:4].copy()
        loss[2:] = 1e9, np.nan
    return loss, (3.0 + 2.0 * (config["kind"] == "b")) * EPOCHS[: len(loss)]


def rows(n, repeats=0, start=0, levels=R, **columns):
    """Return the recorded rows of `n` configs of a Sobol design, the first ones thrice."""
    u = qmc.Sobol(3, seed=3).random(256)[start : start + n]
    frames = []
    for i, config in enumerate(SPACE.from_unit(u)):
        for seed in (1, 2, 3) if i < repeats else (1 if repeats else 0,):
            loss, seconds = (values[:levels] for values in truth(config, seed))
            base = {"config_id": f"c{start + i}", "seed": seed, **config}
            curve = {"epoch": np.arange(1, len(loss) + 1), "loss": loss, "seconds": seconds}
            frames.append(pl.DataFrame(base | curve | columns))
    return pl.concat(frames)


def table(*parts, **options):
    return check(pl.concat(parts), FORMAT, **options)


@pytest.fixture(scope="module")
def plain():
    made = table(rows(96))
    return made, fit(made, "min")


def unseen(n=60):
    configs = SPACE.from_unit(qmc.Sobol(3, seed=77).random(64))[:n]
    return configs, [truth(config)[0] for config in configs]


def test_unseen_configs_are_predicted_jumps_rises_and_all(plain):
    made, fitted = plain
    box = FittedBlackbox(made, fitted.fitted)
    configs, losses = unseen()
    curves = box.curves(configs, [0] * len(configs))
    found = [curve.values["loss"] for curve in curves]
    whole = [(f, t) for f, t in zip(found, losses, strict=True) if len(f) == len(t) == R]
    assert len(whole) > 45
    final = np.array([[f[-1], t[-1]] for f, t in whole])
    assert np.median(np.abs(final[:, 0] - final[:, 1])) < 0.05
    # The ripple of large learning rates is not smoothed away, and does not spread to others.
    rises = np.array([[np.maximum(np.diff(x), 0).sum() for x in pair] for pair in whole])
    rippling = rises[:, 1] > 3
    assert 5 < rippling.sum() < len(whole) - 5
    assert rises[rippling, 0].mean() == pytest.approx(rises[rippling, 1].mean(), rel=0.2)
    assert rises[~rippling, 0].mean() == pytest.approx(rises[~rippling, 1].mean(), abs=0.15)
    # So is what diverges, at the level at which neighbours did.
    right = [len(f) == len(t) for f, t in zip(found, losses, strict=True)]
    assert np.mean(right) > 0.93
    ended = [f for f in found if len(f) < R]
    assert ended
    assert all(len(f) == 4 and np.isnan(f[-1]) for f in ended)
    for curve in curves:
        assert set(curve.source) == {"surrogate"}
        assert (np.diff(curve.seconds, prepend=0) > 0).all()


def test_recorded_configs_are_answered_as_recorded(plain):
    made, fitted = plain
    box = FittedBlackbox(made, fitted.fitted)
    curves = made.curves()
    for i, config in enumerate(curves.configs):
        n = curves.levels[i]
        curve = box.curve(config, 4)
        np.testing.assert_array_equal(curve.values["loss"], curves.values["loss"][i, :n])
        np.testing.assert_array_equal(curve.seconds, curves.seconds[i, :n])
        assert set(curve.source) == {"recorded"}


def test_fitting_and_storing_change_nothing(plain):
    made, fitted = plain
    again = fit(made, "min").fitted.arrays()
    arrays = fitted.fitted.arrays()
    assert arrays.keys() == again.keys()
    for name, array in arrays.items():
        assert array.dtype != object
        np.testing.assert_array_equal(array, again[name])
    one = FittedBlackbox(made, fitted.fitted)
    two = FittedBlackbox(made, Fitted.of(arrays))
    configs, _ = unseen(9)
    for config in configs:
        a, b = one.curve(config, 3), two.curve(config, 3)
        np.testing.assert_array_equal(a.values["loss"], b.values["loss"])
        np.testing.assert_array_equal(a.seconds, b.seconds)


def test_seeds_differ_as_recorded_repetitions_do():
    made = table(rows(96, repeats=24))
    box = FittedBlackbox(made, fit(made, "min").fitted)
    stable = {"lr": 2e-3, "drop": 0.7, "kind": "a"}
    rippling = {"lr": 0.1, "drop": 0.7, "kind": "a"}
    spread = {}
    for name, config in (("stable", stable), ("rippling", rippling)):
        values = [c.values["loss"] for c in box.curves([config] * 60, range(60))]
        spread[name] = np.std(values, axis=0).mean()
    assert 0.004 < spread["stable"] < 0.02
    assert 0.04 < spread["rippling"] < 0.2
    same = [box.curve(stable, 7).values["loss"] for _ in range(2)]
    np.testing.assert_array_equal(*same)
    # Without repetitions, seeds do not differ.
    silent = table(rows(96))
    box = FittedBlackbox(silent, fit(silent, "min").fitted)
    values = [c.values["loss"] for c in box.curves([stable] * 3, range(3))]
    np.testing.assert_array_equal(values[0], values[2])


def test_short_curves_are_continued_from_where_they_ended():
    made = table(rows(64), rows(40, start=64, levels=5))
    box = FittedBlackbox(made, fit(made, "min").fitted)
    curves = made.curves()
    short = [i for i in range(len(curves.ids)) if curves.levels[i] == 5]
    assert len(short) > 30
    errors = []
    for i in short:
        curve, (losses, seconds) = box.curve(curves.configs[i], 0), truth(curves.configs[i])
        np.testing.assert_array_equal(curve.values["loss"][:5], losses[:5])
        assert curve.source == ("recorded",) * 5 + ("surrogate",) * (R - 5)
        np.testing.assert_allclose(curve.seconds, seconds, rtol=0.02)
        errors.append(abs(curve.values["loss"][-1] - losses[-1]))
    assert np.median(errors) < 0.06


def test_leaving_out_in_closed_form_is_leaving_out(plain):
    """The process of the first principal curve, against one made anew without the config."""
    _, fitted = plain
    process = fitted.weights[0]
    data, left_out = process.gp.readings, process.left_out()
    for i in (0, 17, 50):
        others = np.arange(len(data.value)) != i
        keep = data._replace(
            features=data.features[others],
            config=np.arange(others.sum()),
            level=data.level[others],
            value=data.value[others],
            noise=data.noise[others],
        )
        gp = type(process.gp)(keep, process.gp.theta, 1)
        expected = process.shift + process.unit * gp.mean(data.features[i : i + 1])[0, 0]
        assert left_out[i] == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_cross_validated_errors_are_printed_by_source_and_beat_the_nearest():
    made = table(rows(80, source="lab"), rows(30, start=80, source="field"))
    fitted = fit(made, "min")
    left_out = leave_one_out(fitted)
    everything = np.ones(len(left_out.recorded), dtype=bool)
    last = score(left_out, everything, R, "all", 1.0)
    assert last.median < last.nearest
    assert last.rank > 0.9
    assert last.rises_predicted == pytest.approx(last.rises, rel=0.3)
    sources = ["lab"] * 80 + ["field"] * 30
    lines = report(fitted, left_out, sources)
    assert [line.split()[0] for line in lines[1:7:2]] == ["field", "lab", "all"]
    assert "divergences foretold" in lines[-1]


def test_a_metric_to_maximise_gives_the_same_as_its_negative():
    frame = rows(48).filter(pl.col("config_id").is_in(["c0"]).not_())
    low = check(frame, FORMAT)
    high = check(frame.with_columns(-pl.col("loss")), FORMAT)
    configs, _ = unseen(20)
    a = FittedBlackbox(low, fit(low, "min").fitted).curves(configs, [0] * 20)
    b = FittedBlackbox(high, fit(high, "max").fitted).curves(configs, [0] * 20)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.values["loss"], -y.values["loss"], atol=2e-4)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: table(rows(6)), "at least 8 configs with all 12 levels; got"),
        (lambda: table(rows(40).with_columns(seconds=None)), "seconds of at least one curve"),
        (lambda: table(rows(9).with_columns(loss=float("nan"))), "must be finite somewhere"),
    ],
)
def test_too_little_is_refused(made, said):
    with pytest.raises(UsageError, match=said):
        fit(made(), "min", R)


def test_the_scale_is_the_metric_but_for_a_bad_tail():
    values = np.r_[np.linspace(1, 5, 95), 1e3, 1e9, np.inf, np.nan]
    scale = Scale.of(values, "min")
    finite = values[np.isfinite(values)]
    scaled = scale.to_scale(finite)
    assert (np.diff(scaled) > 0).all()
    np.testing.assert_array_equal(scaled[:85], finite[:85])
    assert scaled.max() < 100
    np.testing.assert_allclose(scale.from_scale(scaled), finite, rtol=1e-4)
    # What is better than all that was recorded keeps its order, and stays within reason.
    better = scale.from_scale(np.array([0.5, 0.9, 1.0]))
    assert 0.8 < better[0] < better[1] < better[2] == 1.0
    # Accuracies stay within 0 and 1, losses above 0.
    share = Scale.of(np.linspace(0.1, 0.99, 50), "max")
    assert share.from_scale(np.array([-7.0])).tolist() == [1.0]
    assert Scale.of(np.linspace(0.01, 9, 50), "min").from_scale(np.array([-7.0])).tolist() == [0.0]


def test_weights_of_part_of_a_curve_come_with_their_error():
    random = np.random.default_rng(3)
    true = random.normal(size=(40, 2)) * [3.0, 1.0]
    basis = np.array([np.ones(R) / R**0.5, np.cos(np.pi * EPOCHS / R) * (2 / R) ** 0.5])
    shapes = Shapes.of(5 + true @ basis)
    assert len(shapes.variance) == 2
    curve = shapes.curve(np.array([[0.7, -1.1]]))[0]
    whole, error = shapes.weights(curve, np.ones(R, dtype=bool))
    np.testing.assert_allclose(whole, [0.7, -1.1], atol=0.02)
    some = np.arange(R) < 2
    _, larger = shapes.weights(curve, some)
    assert (larger > error).all()
    assert np.isfinite(larger).all()


def test_the_index_finds_a_product_and_the_process_uses_it():
    random = np.random.default_rng(1)
    x = random.random((150, 6))
    path = np.log(x[:, 0] + 0.05) - np.log(1.05 - x[:, 1]) + 2 * x[:, 2] + x[:, 3] - x[:, 4]
    y = np.tanh(2 * (path - np.median(path)))
    index = Index.of(x[:60], [y[:60]])
    features = index.features(x)
    assert features.shape == (150, 7)
    assert 0 <= features[:60, 6].min() <= features[:60, 6].max() <= 1
    with_it = regress(features[:60], y[:60], np.zeros(60)).mean(features[60:])
    without = regress(x[:60], y[:60], np.zeros(60)).mean(x[60:])
    error, plain_error = (np.median(np.abs(m - y[60:])) for m in (with_it, without))
    assert error < 0.5 * plain_error


def test_jumps_of_no_common_shape_are_not_smoothed_away():
    """Each unstable curve jumps at levels of its own; no few principal curves span that."""
    random = np.random.default_rng(8)
    frame = rows(96).filter(pl.col("loss").is_not_nan() & (pl.col("loss") < 100))
    ended = frame.group_by("config_id").len().filter(pl.col("len") == R)["config_id"]
    frame = frame.filter(pl.col("config_id").is_in(ended.implode()))
    jumps = np.where(frame["drop"] > 0.5, random.choice([0.0, 1.0], len(frame)), 0.0)
    made = check(frame.with_columns(pl.col("loss") + jumps), FORMAT)
    box = FittedBlackbox(made, fit(made, "min").fitted)
    recorded = made.curves()
    unseen_configs = SPACE.from_unit(qmc.Sobol(3, seed=3).random(256)[96:])
    for unstable in (True, False):

        def alike(config, unstable=unstable):
            return (config["drop"] > 0.5) == unstable and config["lr"] < 10**-1.8

        configs = [config for config in unseen_configs if alike(config)]
        losses = [curve.values["loss"] for curve in box.curves(configs, [0] * len(configs))]
        rows_alike = [i for i, config in enumerate(recorded.configs) if alike(config)]
        found, true = (
            np.maximum(np.diff(each, axis=1), 0).sum(axis=1).mean()
            for each in (losses, recorded.values["loss"][rows_alike])
        )
        assert found == pytest.approx(true, rel=0.2, abs=0.3), unstable


def test_a_continuation_keeps_what_a_curve_has_beyond_its_neighbours():
    short = rows(1, start=70, levels=5)
    made = table(rows(64), short.with_columns(pl.col("loss") + 0.8))
    box = FittedBlackbox(made, fit(made, "min").fitted)
    config = {name: short[name][0] for name in SPACE.names}
    plain = FittedBlackbox(table(rows(64)), fit(table(rows(64)), "min").fitted)
    beyond = box.curve(config, 0).values["loss"] - plain.curve(config, 0).values["loss"]
    assert beyond[5:] == pytest.approx(0.8, abs=0.25)
