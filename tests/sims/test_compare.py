"""A study beside the published rows, on synthetic studies whose answer is known."""

import json
from itertools import combinations, product

import numpy as np
import pytest
from click.testing import CliRunner

from asynctune.aggregate import Run, Steps, iqm, percentile_band
from asynctune.exceptions import UsageError
from asynctune.results import Setup, load_study
from sims.transformer_wikitext2 import _compare_claims as claims
from sims.transformer_wikitext2 import _compare_rows as rows
from sims.transformer_wikitext2 import benchmark, compare
from tests.synthetic_study import write_experiment, write_study

OURS = {"benchmark": "transformer_wikitext2", "profile": "sagemaker"}


def constant(loss, *, seed=0, end=18_000.0):
    """Return a run that has `loss` from 100 s on."""
    return Run(seed, 100.0, end, Steps(np.array([100.0]), np.array([loss])))


def write_constants(folder, method, n_workers, losses, *, seconds=18_000.0, **metadata):
    """Write experiments that have one loss each, reported at 250 s and never improved."""
    for seed, loss in enumerate(losses):
        write_experiment(
            folder / f"{method}-{n_workers}w-{seed}",
            {"tuner_time": [250.0, seconds], "val_loss": [loss, loss]},
            method=method,
            n_workers=n_workers,
            seed=seed,
            max_wallclock_time=seconds,
            experiment_seconds=seconds,
            **(OURS | metadata),
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "s"
    write_study(folder, seeds=6, trials=3, **OURS)
    return load_study("s", folder.parent)


def test_sets_without_replacement_have_five_different_runs_all_equally_often():
    members = rows.sets_of_five(20, replacement=False, sets=4_000)
    assert members.shape == (4_000, 5)
    assert all(len(set(m)) == 5 for m in members.tolist())
    counts = np.bincount(members.ravel(), minlength=20)
    assert np.abs(counts - 1_000).max() < 150  # 1,000 expected, standard deviation 27


def test_sets_with_replacement_repeat_runs():
    members = rows.sets_of_five(5, replacement=True, sets=2_000)
    assert members.shape == (2_000, 5)
    different = np.mean([len(set(m)) == 5 for m in members.tolist()])
    assert different == pytest.approx(120 / 3125, abs=0.02)


def test_sets_are_the_same_each_time_and_need_five_runs():
    again = [rows.sets_of_five(9, replacement=True) for _ in range(2)]
    assert np.array_equal(*again)
    with pytest.raises(ValueError, match="got 4"):
        rows.sets_of_five(4, replacement=True)


def test_band_without_replacement_agrees_with_all_subsets():
    losses = np.random.default_rng(1).exponential(size=(9, 3)) + np.array([5.0, 6.0, 7.0])
    of_all = np.array([iqm(losses[list(c)]) for c in combinations(range(9), 5)])
    members = rows.sets_of_five(9, replacement=False, sets=40_000)
    mean, low, high = rows.expected_and_band(losses, members)
    np.testing.assert_allclose(mean, of_all.mean(axis=0), atol=0.01)
    for found, exact in zip((low, high), percentile_band(of_all), strict=True):
        np.testing.assert_allclose(found, exact, atol=0.05)


def test_band_with_replacement_agrees_with_all_ordered_draws():
    losses = np.array([5.0, 5.3, 6.1, 6.2, 7.7])[:, None]
    everything = np.array(list(product(range(5), repeat=5)))
    exact = [float(v[0]) for v in rows.expected_and_band(losses, everything)]
    members = rows.sets_of_five(5, replacement=True, sets=40_000)
    found = [float(v[0]) for v in rows.expected_and_band(losses, members)]
    assert found == pytest.approx(exact, abs=0.02)


def test_few_seeds_are_drawn_with_replacement():
    assert [rows.with_replacement(n) for n in (5, 19, 20, 30)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("published", "verdict"),
    [(4.9, "worse"), (5.0, "within"), (5.5, "within"), (6.0, "within"), (6.1, "better")],
)
def test_verdict(published, verdict):
    assert rows.judge(published, 5.0, 6.0) == verdict


def test_rows_end_with_our_runs():
    runs = [constant(5.0 + 0.1 * s, seed=s, end=7_000.0) for s in range(5)]
    found = rows.rows_of("BO", 4, runs, [(2_500.0, 5.2), (5_000.0, 4.9), (7_500.0, 5.2)])
    assert [(r.wallclock_s, r.verdict) for r in found] == [(2_500.0, "within"), (5_000.0, "worse")]
    assert found[0].low >= 5.0
    assert found[0].high <= 5.4
    assert found[0].expected == pytest.approx(5.2, abs=0.01)
    assert found[1].difference == pytest.approx(0.3, abs=0.01)
    summary = rows.summary_of(found, 5)
    assert (summary.share_worse, summary.share_better, summary.replacement) == (0.5, 0.0, True)
    assert summary.mean_difference == pytest.approx(0.15, abs=0.01)
    assert summary.worst_excess == found[1].low - 4.9


def test_a_value_not_seen_yet_is_worse():
    runs = [constant(5.0, seed=s) for s in range(5)]
    (row,) = rows.rows_of("BO", 4, runs, [(50.0, 9.0)])
    assert (row.low, row.verdict) == (np.inf, "worse")


def test_fewer_than_five_seeds_give_no_verdict():
    (row,) = rows.rows_of("BO", 4, [constant(5.0)] * 4, [(2_500.0, 5.2)])
    assert row.verdict == "unknown"
    assert np.isnan(row.expected)


def test_every_published_row_has_a_counterpart(study):
    comparison = compare.compare(study)
    by_setup = {}
    for row in comparison.rows:
        by_setup.setdefault((row.method, row.n_workers), []).append(row.wallclock_s)
    assert set(by_setup) == set(study.runs)
    assert len(comparison.rows) == 1_085
    assert by_setup["RS", 2] == np.arange(5_750.0, 36_001.0, 250.0).tolist()
    assert by_setup["MOBSTER", 8] == np.arange(750.0, 18_001.0, 250.0).tolist()


def test_rows_printed_are_2500_s_apart_and_at_the_ends(study):
    done = CliRunner().invoke(compare.main, ["s", "--results-dir", str(study.path.parent)])
    lines = [line.split() for line in done.output.splitlines() if line.startswith("MOBSTER   ")]
    until = [2_500 * i for i in range(1, 8)] + [18_000]
    later = [2_500 * i for i in range(8, 15)] + [36_000]
    seconds = {n: [int(w[2]) for w in lines if w[1] == n] for n in "248"}
    assert seconds == {"2": until + later, "4": until, "8": until}


def test_published_values_are_those_read_off(study):
    found = {
        (r.method, r.n_workers, r.wallclock_s): r.published for r in compare.compare(study).rows
    }
    assert found["RS", 2, 7_500.0] == pytest.approx(7.477)
    assert found["MOBSTER", 8, 18_000.0] == pytest.approx(5.188)


def test_few_beat_many(tmp_path):
    write_constants(tmp_path / "s", "BO", 2, [5.0, 5.1, 5.2, 5.3, 5.4], seconds=36_000.0)
    write_constants(tmp_path / "s", "RS", 8, [6.0, 6.1, 6.2, 6.3, 6.4])
    found = claims.few_beat_many(load_study("s", tmp_path))
    assert found is not None
    assert found.holds
    assert (found.few, found.many, found.probability) == pytest.approx((5.2, 6.2, 1.0))


def test_few_do_not_beat_many(tmp_path):
    write_constants(tmp_path / "s", "BO", 2, [7.0] * 5, seconds=36_000.0)
    write_constants(tmp_path / "s", "RS", 8, [6.0] * 5)
    found = claims.few_beat_many(load_study("s", tmp_path))
    assert found is not None
    assert not found.holds


@pytest.mark.parametrize("case", ["no RS", "four seeds", "too short"])
def test_few_against_many_cannot_be_said(tmp_path, case):
    write_constants(tmp_path / "s", "BO", 2, [5.0] * (4 if case == "four seeds" else 5))
    seconds = 9_000.0 if case == "too short" else 18_000.0
    if case != "no RS":
        write_constants(tmp_path / "s", "RS", 8, [6.0] * 5, seconds=seconds)
    assert claims.few_beat_many(load_study("s", tmp_path)) is None


def test_more_workers_that_are_worse_are_found(tmp_path):
    losses = np.array([5.0, 5.1, 5.2, 5.3, 5.4, 5.5])
    write_constants(tmp_path / "s", "BO", 2, losses, seconds=36_000.0)
    write_constants(tmp_path / "s", "BO", 4, losses + 0.05)
    write_constants(tmp_path / "s", "BO", 8, losses[::-1])
    found = {(c.fewer, c.more): c for c in claims.more_workers(load_study("s", tmp_path))}
    assert set(found) == {(2, 4), (2, 8), (4, 8)}
    # Paired by seed, 0.05 more on every seed is no noise, at none of the times from 250 s on.
    worse = found[2, 4]
    assert not worse.holds
    assert worse.n_times == len(worse.worse_at) == 72
    assert worse.largest_excess == pytest.approx(0.05)
    assert worse.mean_difference == pytest.approx(0.05)
    assert found[2, 8].holds  # the same values, but on other seeds: noise
    assert found[2, 8].largest_excess < 0


def test_more_workers_on_other_seeds_are_not_paired(tmp_path):
    losses = np.array([5.0, 5.1, 5.2, 5.3, 5.4, 5.5])
    write_constants(tmp_path / "s", "BO", 2, losses)
    write_constants(tmp_path / "s", "BO", 8, [*(losses + 0.05), 5.35])
    study = load_study("s", tmp_path)
    assert not study.paired(Setup("BO", 2), Setup("BO", 8))
    (found,) = claims.more_workers(study)
    assert found.holds  # 0.05 is less than how far the seeds differ


def test_json_holds_everything(study, tmp_path):
    arguments = ["s", "--results-dir", str(study.path.parent), "--json"]
    file = tmp_path / "new" / "compare.json"
    done = CliRunner().invoke(compare.main, [*arguments, str(file)])
    assert done.exit_code == 0, done.output
    told = json.loads(file.read_text())
    assert set(told) == {
        "tag",
        "published_seeds",
        "rows",
        "summaries",
        "bo_2_workers_below_rs_8_workers",
        "more_workers_never_worse",
    }
    assert set(told["rows"][0]) == {*rows.Row._fields, "difference"}
    assert set(told["summaries"][0]) == set(rows.Summary._fields)
    assert len(told["rows"]) == 1_085
    assert len(told["summaries"]) == len(told["more_workers_never_worse"]) == 12
    claim = told["bo_2_workers_below_rs_8_workers"]
    assert set(claim) == {*claims.FewBeatMany._fields, "holds"}
    for word in ("RS with 2 workers, 6 seeds", "with replacement", "--num-seeds 20", "luck"):
        assert word in done.output


def test_one_seed_is_shown_without_a_verdict(tmp_path):
    write_constants(tmp_path / "s", "RS", 8, [6.0])
    file = tmp_path / "c.json"
    done = CliRunner().invoke(
        compare.main, ["s", "--results-dir", str(tmp_path), "--json", str(file)]
    )
    assert done.exit_code == 0, done.output
    assert "too few seeds" in done.output
    told = json.loads(file.read_text())
    assert told["rows"][0]["verdict"] == "unknown"
    assert told["rows"][0]["low"] is None
    assert told["bo_2_workers_below_rs_8_workers"] is None
    assert told["more_workers_never_worse"] == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"benchmark": "other"}, "'transformer_wikitext2'; s has ['other']"),
        ({"profile": "local"}, "'sagemaker'; s has ['local']"),
        ({"n_workers": 3}, "RS with 3"),
    ],
)
def test_a_study_that_cannot_be_compared_is_one_line_and_status_2(tmp_path, metadata, message):
    n_workers = metadata.get("n_workers", 4)
    others = {key: value for key, value in metadata.items() if key != "n_workers"}
    write_constants(tmp_path / "s", "RS", n_workers, [6.0] * 5, **others)
    done = CliRunner().invoke(compare.main, ["s", "--results-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_no_such_study_is_one_line_and_status_2(tmp_path):
    done = CliRunner().invoke(compare.main, ["nope", "--results-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "nope" in done.stderr


def test_the_benchmark_offers_published_rows():
    reference = benchmark().reference
    assert reference is not None
    frame = reference("sagemaker")
    assert frame.columns == ["method", "n_workers", "wallclock_s", "value"]
    assert len(frame) == 1_085
    assert reference("local") is None


def test_plot_draws_published_lines_when_asked(study, monkeypatch):
    from asynctune.cli import show

    drawn = []
    monkeypatch.setattr(
        "asynctune.plots.write_comparison",
        lambda study, folder, *, reference=None: drawn.append(reference) or (),
    )
    arguments = ["s", "--results-dir", str(study.path.parent)]
    for more in ([], ["--reference"]):
        done = CliRunner().invoke(show.plot, [*arguments, *more])
        assert done.exit_code == 0, done.output
    assert drawn[0] is None
    assert set(drawn[1]["n_workers"]) == {2, 4, 8}
    assert len(drawn[1]) == 1_085


@pytest.mark.parametrize(
    ("metadata", "message"),
    [({"profile": "local"}, "'local'"), ({"benchmark": None}, "None")],
)
def test_no_published_lines_to_draw(tmp_path, metadata, message):
    from asynctune.cli import show

    write_constants(tmp_path / "s", "RS", 4, [6.0] * 5, **metadata)
    done = CliRunner().invoke(show.plot, ["s", "--results-dir", str(tmp_path), "--reference"])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert not list((tmp_path / "s").glob("comparison.*"))
