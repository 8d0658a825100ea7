"""The collector's curves beside the published ones: learnt from, replayed, left out."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from sims.surrogate import Theta
from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2 import benchmark, collected, fit, load_blackbox, published
from sims.transformer_wikitext2.collected import (
    all_recorded,
    with_collected_words,
    with_published_words,
)
from sims.transformer_wikitext2.crossvalidation import LeftOut, folds, predict_left_out, same_config
from sims.transformer_wikitext2.fit import fit_seconds, reached
from sims.transformer_wikitext2.noise import fit_noise
from sims.transformer_wikitext2.population.design import sobol
from sims.transformer_wikitext2.population.recipe import full_recipe
from sims.transformer_wikitext2.recorded import EPOCHS, HIGHEST_LEARNT, NAMES, SEED, unplaced
from sims.transformer_wikitext2.replay import Wikitext2Blackbox
from sims.transformer_wikitext2.sequences import config_sequence
from sims.transformer_wikitext2.stored import Surrogate, counts, save
from sims.transformer_wikitext2.validate import by_source

SHIFT = 0.3  # in the region, of the truth
OFFSET = 0.08  # of collected losses, where nothing has been learnt
REGION_PATH, REGION_DROPOUT = 10.0, 0.35


def design(n):
    """Return configs by their ids: half of the collector's design, half of the region."""
    recipe = full_recipe()
    planned = sobol(
        recipe.config_space(),
        n - n // 2,
        seed=0,
        block=8,
        train_tokens=bb.TRAIN_TOKENS,
        bptt=bb.BPTT,
        region=recipe.region,
    )
    found = {p.config_id: dict(p.config) for p in planned}
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(3)))
    while len(found) < n:
        config = {
            "lr": float(10 ** rng.uniform(-4, -3)),
            "dropout": float(rng.uniform(0, REGION_DROPOUT)),
            "batch_size": int(rng.integers(16, 49)),
            "momentum": float(rng.uniform(0.5, 0.99)),
            "clip": float(rng.uniform(0.3, 1)),
        }
        if in_region(config):
            found[f"region-{len(found)}"] = config
    return found


def in_region(config):
    path = np.exp(bb.inputs(np.array([[config[name] for name in NAMES]])).log_path[0])
    return bool(path > REGION_PATH and config["dropout"] < REGION_DROPOUT)


def truth(box, config):
    """The surrogate's curve, in the region moved by `SHIFT`."""
    return box.mean([config])[0] + SHIFT * in_region(config)


def shown(box, config):
    """What the collector sees of it, whose text has another order."""
    return with_collected_words(truth(box, config), OFFSET)


def scale_of(box, config):
    at = bb.inputs(np.array([[config[name] for name in NAMES]]))
    log_epoch = np.log(np.arange(1.0, EPOCHS + 1))
    return bb.backbone(box._arrays["parameters"], at, log_epoch).scale


def rows(config_id, config, losses, *, seed=SEED, source="collected"):
    """Return rows as the collector exports them; its seconds are those of a fast device."""
    epochs = np.arange(1, len(losses) + 1)
    return pl.DataFrame({"epoch": epochs, "val_loss": losses, "train_loss": losses}).select(
        pl.lit(config_id).alias("config_id"),
        *(pl.lit(config[name]).alias(name) for name in NAMES),
        "epoch",
        "val_loss",
        "train_loss",
        (0.9 * pl.col("epoch")).alias("seconds"),
        pl.lit(source).alias("source"),
        pl.lit(seed).alias("seed"),
        pl.lit("NVIDIA H100 80GB HBM3").alias("device"),
        pl.lit("bf16").alias("precision"),
        pl.lit("2.9").alias("torch_version"),
        pl.lit("0.1.0+cafe").alias("code_version"),
    )


def export(box, n, *, seeds=1, spread=0.0):
    """Return the export of `n` configs; the first four with several seeds, a spread apart.

    As in the simulator, trainings differ in units of the backbone's scale.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7)))
    found = []
    for i, (config_id, config) in enumerate(design(n).items()):
        for k in range(seeds if i < 4 else 1):
            wobble = spread * scale_of(box, config) * rng.standard_normal(EPOCHS)
            found.append(rows(config_id, config, shown(box, config) + wobble, seed=SEED + k))
    return pl.concat(found)


def table_with(tmp_path, frame):
    """Return the table that the command makes of the published curves and an export."""
    frame.write_parquet(tmp_path / "export.parquet")
    words = [str(tmp_path / "export.parquet"), "--out", str(tmp_path / "curves.parquet")]
    result = CliRunner().invoke(published.main, words)
    assert result.exit_code == 0, result.output
    return pl.read_parquet(tmp_path / "curves.parquet")


@pytest.fixture(scope="module")
def box():
    return load_blackbox()


@pytest.fixture(scope="module")
def artefact(box):
    return box._arrays


@pytest.fixture(scope="module")
def frame(box, tmp_path_factory):
    return table_with(tmp_path_factory.mktemp("table"), export(box, 48))


@pytest.fixture(scope="module")
def recorded(frame):
    return all_recorded(frame)


@pytest.fixture(scope="module")
def theta(recorded, artefact):
    """The process's parameters, fitted to a part of the curves."""
    backbone = (artefact["parameters"], artefact["path"], artefact["dropout"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "MOST_READINGS", 800)
        moved = with_published_words(recorded, OFFSET)
        return fit.fit_residuals(moved, unplaced(artefact["seconds"]), backbone).theta


def with_stored_backbone(recorded, artefact, theta=None):
    """Fit all but the backbone, which takes half a minute, and the process's parameters."""
    backbone = (artefact["parameters"], artefact["path"], artefact["dropout"])
    theta = Theta.of(artefact["theta"]) if theta is None else theta
    offset = 0.0
    if recorded.collected.any():
        offset = collected.fit_offset(recorded, artefact["parameters"])
    moved = with_published_words(recorded, offset)
    gp = fit.fit_residuals(moved, unplaced(artefact["seconds"]), backbone, theta)
    spread = fit_noise(recorded, artefact["parameters"])
    return Surrogate(artefact["seconds"], *backbone, gp=gp, noise=spread, offset=offset)


@pytest.fixture(scope="module")
def stored(recorded, artefact, theta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    path = save(recorded, with_stored_backbone(recorded, artefact, theta), folder)
    assert json.loads((folder / "sources.json").read_bytes()) == {"published": 199, "collected": 48}
    with np.load(path, allow_pickle=False) as arrays:
        return Wikitext2Blackbox(dict(arrays))


def blackbox_of(recorded, artefact, folder):
    with np.load(
        save(recorded, with_stored_backbone(recorded, artefact), folder), allow_pickle=False
    ) as arrays:
        return Wikitext2Blackbox(dict(arrays))


def test_the_package_s_table_gives_the_stored_surrogate(artefact, tmp_path) -> None:
    recorded = all_recorded()
    counted = json.loads((published.table_file().parent / "sources.json").read_bytes())
    assert counts(recorded) == counted
    assert benchmark().provenance.startswith("199 learning curves recorded on T4 GPUs")
    with np.load(
        save(recorded, with_stored_backbone(recorded, artefact), tmp_path), allow_pickle=False
    ) as arrays:
        assert set(arrays) == set(artefact)
        assert np.array_equal(arrays["seen"], artefact["seen"])
        assert arrays["noise"] == pytest.approx(float(artefact["noise"]), rel=1e-6)
        assert arrays["weights"] == pytest.approx(artefact["weights"], abs=1e-6)
    assert (tmp_path / "sources.json").read_bytes() == (
        published.table_file().parent / "sources.json"
    ).read_bytes()


def test_collected_curves_are_replayed_exactly(stored, box) -> None:
    for config in list(design(48).values())[:12]:
        curve = stored.curve(config, seed=4)
        assert np.array_equal(curve.values["val_loss"], shown(box, config))
        assert set(curve.source) == {"recorded"}


def test_seconds_are_those_of_a_t4(stored, recorded, artefact, box) -> None:
    assert fit_seconds(recorded) == pytest.approx(artefact["seconds"], rel=1e-12)
    for config in list(design(48).values())[:4]:
        # Not the collector's 0.9 s, but what the published trainings took.
        assert np.array_equal(stored.curve(config, 5).seconds, box.curve(config, 5).seconds)


def test_the_surrogate_follows_collected_curves_where_none_was_published(stored, box) -> None:
    inside = [c for c in list(design(80).values())[-16:] if in_region(c)]
    assert len(inside) == 16
    assert not {tuple(c.values()) for c in inside} & {
        tuple(c.values()) for c in design(48).values()
    }
    expected = np.array([truth(box, config) for config in inside])
    assert np.median(np.abs(box.mean(inside) - expected)) == pytest.approx(SHIFT)
    assert np.median(np.abs(stored.mean(inside) - expected)) < SHIFT / 3
    assert set(box.curve(inside[0], 0).source) == {"extrapolated"}
    assert set(stored.curve(inside[0], 0).source) == {"surrogate"}
    # Where published curves tell, nothing moves.
    known = config_sequence("local", 0, 34)
    assert np.median(np.abs(stored.mean(known) - box.mean(known))) < 0.01


def test_published_curves_stay_as_they_are(stored, box) -> None:
    configs = config_sequence("local", 0, 60)
    for one, two in zip(
        stored.curves(configs, range(60)), box.curves(configs, range(60)), strict=True
    ):
        seen = np.array([s == "recorded" for s in two.source])
        assert np.array_equal(one.values["val_loss"][seen], two.values["val_loss"][seen])
        assert one.source == two.source or "recorded" not in two.source


def test_left_out_errors_fall_with_collected_neighbours(
    recorded, artefact, theta, monkeypatch
) -> None:
    """Some configs of the region, predicted without any collected curve and with all others."""
    far = np.exp(bb.inputs(recorded.configs).log_path) > REGION_PATH
    low_dropout = recorded.configs[:, 1] < REGION_DROPOUT
    last = np.flatnonzero(recorded.collected & far & low_dropout)[::4]
    published_only = recorded._replace(loss=recorded.loss.copy())
    published_only.loss[recorded.collected] = np.nan
    monkeypatch.setattr(
        "sims.transformer_wikitext2.crossvalidation.fit",
        lambda data: with_stored_backbone(data, artefact, theta),
    )
    alone, unsure = predict_left_out(published_only, last)
    mean, deviation = predict_left_out(recorded, last)
    shown = recorded.loss[last, 39]
    assert np.median(np.abs(alone[:, 39] - shown)) == pytest.approx(SHIFT, abs=0.05)
    assert np.median(np.abs(mean[:, 39] - shown)) < SHIFT / 3
    assert np.all(deviation[:, 39] < unsure[:, 39])


def test_a_config_of_both_sources_is_left_out_in_both(box, artefact, monkeypatch) -> None:
    config = config_sequence("local", 0, 4)[3]
    both = pl.concat(
        [
            published.published_rows(),
            rows("published-local-0-3", config, truth(box, config) + 0.1),
        ],
        how="diagonal_relaxed",
    )
    recorded = all_recorded(both)
    one, two = same_config(recorded)[tuple(recorded.configs[-1].tolist())]
    assert not recorded.readings[one][0].collected
    assert recorded.readings[two][0].collected
    assert any({one, two} <= set(part.tolist()) for part in folds(recorded, 10))
    monkeypatch.setattr(
        "sims.transformer_wikitext2.crossvalidation.fit",
        lambda data: with_stored_backbone(data, artefact),
    )
    part = np.array([one, two])
    mean, _ = predict_left_out(recorded, part)
    moved = recorded._replace(loss=recorded.loss.copy())
    moved.loss[two] += 0.5
    assert predict_left_out(moved, part)[0] == pytest.approx(mean, abs=1e-6)
    assert mean[0] == pytest.approx(mean[1], abs=1e-6)
    left_out = LeftOut(recorded, recorded.loss, recorded.loss)
    parts = by_source(left_out)
    assert [len(p.mean) for p in parts.values()] == [199, 1]
    assert by_source(left_out.only(~recorded.collected)) == {}


def test_the_published_curve_of_a_config_stands(box, artefact, tmp_path) -> None:
    config = config_sequence("local", 0, 4)[3]
    both = pl.concat(
        [
            published.published_rows(),
            rows("published-local-0-3", config, np.full(EPOCHS, 8.0)),
        ],
        how="diagonal_relaxed",
    )
    grown = blackbox_of(all_recorded(both), artefact, tmp_path)
    known, now = box.curve(config, SEED), grown.curve(config, SEED)
    assert np.array_equal(now.values["val_loss"], known.values["val_loss"])


def test_seeds_take_turns_and_show_the_noise(box, artefact, tmp_path) -> None:
    collected_frame = export(box, 8, seeds=3, spread=0.02)
    both = pl.concat([published.published_rows(), collected_frame], how="diagonal_relaxed")
    recorded = all_recorded(both)
    assert counts(recorded) == {"published": 199, "collected": 16}
    assert recorded.collected.sum() == 8
    grown = blackbox_of(recorded, artefact, tmp_path)
    config_id, config = next(iter(design(1).items()))
    copies = collected_frame.filter(config_id=config_id).partition_by("seed", maintain_order=True)
    for copy in copies:
        curve = grown.curve(config, copy["seed"][0])
        assert curve.values["val_loss"].tolist() == copy["val_loss"].to_list()
    assert len({grown.curve(config, s).values["val_loss"][0] for s in range(6)}) == 3
    row = np.flatnonzero(recorded.collected)[0]
    assert recorded.loss[row].tolist() == copies[0]["val_loss"].to_list()
    assert grown._noise == pytest.approx(0.02, rel=0.2)


def test_diverged_curves_end_where_they_did_and_are_not_learnt_from(
    box, artefact, tmp_path
) -> None:
    (first, one), (second, two), (third, three) = design(3).items()
    losses = shown(box, one)[:7]
    losses[5:] = 1e9, math.inf
    cut_short = shown(box, two)[:9]
    train_only = rows(third, three, truth(box, three)[:5])
    train_only = train_only.with_columns(
        train_loss=pl.when(pl.col("epoch") == 5).then(math.nan).otherwise(pl.col("train_loss"))
    )
    parts = [rows(first, one, losses), rows(second, two, cut_short), train_only]
    recorded = all_recorded(table_with(tmp_path, pl.concat(parts)))
    assert np.nanmax(recorded.loss) < HIGHEST_LEARNT
    assert np.isfinite(recorded.loss[-3:]).sum(axis=1).tolist() == [5, 9, 5]
    grown = blackbox_of(recorded, artefact, tmp_path)
    curve = grown.curve(one, 0)
    assert curve.values["val_loss"].tolist() == losses.tolist()
    assert curve.source == ("recorded",) * 7
    assert len(curve.seconds) == 7
    assert len(grown.curve(three, 0).seconds) == 5
    # One that was cut short by the collector's budget goes on, without a jump.
    curve = grown.curve(two, 0)
    assert curve.source == ("recorded",) * 9 + ("surrogate",) * 31
    assert np.array_equal(curve.values["val_loss"][:9], cut_short)
    assert curve.values["val_loss"][9:] == pytest.approx(shown(box, two)[9:], abs=0.05)


def test_a_curve_that_diverged_at_once_does_no_harm(box, artefact, tmp_path) -> None:
    config_id, config = next(iter(design(1).items()))
    recorded = all_recorded(table_with(tmp_path, rows(config_id, config, np.array([math.nan]))))
    curve = blackbox_of(recorded, artefact, tmp_path).curve(config, 0)
    assert np.isnan(curve.values["val_loss"]).tolist() == [True]
    assert curve.source == ("recorded",)


def test_the_numbering_of_words_is_seen_through(recorded, artefact, stored, box) -> None:
    offset = collected.fit_offset(recorded, artefact["parameters"])
    assert offset == pytest.approx(OFFSET, abs=0.005)
    moved = with_published_words(recorded, offset)
    published_rows = ~recorded.collected
    assert np.array_equal(moved.loss[published_rows], recorded.loss[published_rows], equal_nan=True)
    back = with_collected_words(moved.loss[recorded.collected], offset)
    assert back == pytest.approx(recorded.loss[recorded.collected], abs=1e-12)
    # A config that learns nothing starts, for all that was collected, at the published loss.
    still = {"lr": 1e-6, "dropout": 0.5, "batch_size": 30, "momentum": 0.1, "clip": 0.01}
    assert stored.mean([still]) == pytest.approx(box.mean([still]), abs=1e-3)


def test_the_bound_on_the_best_loss_yields_to_what_was_collected(recorded) -> None:
    assert not reached(all_recorded())
    assert reached(recorded)
    paths = collected.collected_paths(recorded)
    assert paths[-10] > bb.LONGEST_PUBLISHED_PATH


def test_every_source_is_counted_in_the_provenance(monkeypatch, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sources.json").write_text('{"published": 199, "collected": 400}')
    monkeypatch.setattr("importlib.resources.files", lambda _: Path(tmp_path))
    assert "(2023), 400 collected with this package's training code; " in benchmark().provenance
