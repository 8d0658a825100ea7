"""Tables of recorded curves: what they accept, and what they are made of."""

import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from asynctune import ConfigSpace, Experiment, UsageError, loguniform, randint, run_experiment
from asynctune.benchmark import Benchmark
from asynctune.exceptions import AsynctuneWarning
from asynctune.stopping import StoppingCriterion
from sims.curvechecks import TableFormat
from sims.curvejournals import table_of
from sims.curvetable import check, read
from sims.transformer_wikitext2 import benchmark as wikitext2
from sims.transformer_wikitext2.published import main, published_rows, table_file

SPACE = ConfigSpace({"lr": loguniform(1e-4, 1.0), "width": randint(1, 9), "epochs": 3})
FORMAT = TableFormat(SPACE, "epoch", "loss")


def rows(**columns):
    base = {
        "config_id": ["a", "a", "a", "b", "b"],
        "lr": [0.1, 0.1, 0.1, 0.01, 0.01],
        "width": [3, 3, 3, 4, 4],
        "epoch": [1, 2, 3, 1, 2],
        "loss": [3.0, 2.0, 1.0, 4.0, float("nan")],
        "seconds": [1.0, 2.0, 3.5, 2.0, 4.0],
    }
    return pl.DataFrame(base | columns, strict=False)


def test_rows_become_curves_in_order():
    table = check(rows().reverse().with_columns(source=pl.lit("x"), seed=pl.lit(7)), FORMAT)
    curves = table.curves()
    assert curves.ids == ("a", "b")
    assert curves.configs == ({"lr": 0.1, "width": 3}, {"lr": 0.01, "width": 4})
    assert curves.source == ("x", "x")
    assert curves.seed.tolist() == [7, 7]
    assert curves.levels.tolist() == [3, 2]
    np.testing.assert_equal(curves.values["loss"], [[3, 2, 1], [4, np.nan, np.nan]])
    np.testing.assert_equal(curves.seconds, [[1, 2, 3.5], [2, 4, np.nan]])
    assert curves.diverged().tolist() == [False, True]
    assert curves.whole(3).tolist() == [True, True]
    assert curves.whole(4).tolist() == [False, True]


def test_a_metric_that_one_source_lacks_is_no_divergence():
    frame = rows(loss=[3.0, 2.0, 1.0, 4.0, 3.0], train_loss=[2.0, 1.0, 0.5, None, None])
    assert check(frame, FORMAT).metrics() == ("loss", "train_loss")
    assert check(frame, FORMAT).curves().diverged().tolist() == [False, False]
    frame = rows(loss=[3.0, 2.0, 1.0, 4.0, 3.0], train_loss=[2.0, 1.0, 0.5, 3.0, float("inf")])
    assert check(frame, FORMAT).curves().diverged().tolist() == [False, True]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"extra": [1] * 5}, "must be a parameter of the space, .*; got 'extra'"),
        ({"epoch": [1, 2, 4, 1, 2]}, "epoch 4 of a follows a gap"),
        ({"epoch": [1, 2, 2, 1, 2]}, "epoch 2 of a is there twice"),
        ({"epoch": [0, 1, 2, 1, 2]}, "levels must be at least 1; got epoch 0 of a"),
        ({"seconds": [1.0, 1.0, 3.5, 2.0, 4.0]}, "increase; got 1.0 at epoch 2 of a"),
        ({"seconds": [0.0, 1.0, 3.5, 2.0, 4.0]}, "above 0 and increase; got 0.0 at epoch 1 of a"),
        ({"seconds": [1.0, None, 3.5, 2.0, 4.0]}, "null at epoch 2 of a"),
        ({"width": [3, 4, 3, 4, 4]}, "a names several"),
        ({"width": [3, 3, 3, 10, 10]}, "config b: parameter 'width'"),
        ({"loss": [1.0, None, 1.0, 1.0, 1.0]}, "column loss must have a value in each row"),
        ({"epoch": ["x"] * 5}, "column epoch must be of type Int64"),
    ],
)
def test_bad_rows_are_named(columns, said):
    with pytest.raises(UsageError, match=said) as caught:
        check(rows(**columns), FORMAT)
    assert "\n" not in str(caught.value)


def test_missing_columns_and_files_are_named(tmp_path):
    with pytest.raises(UsageError, match="width is missing"):
        check(rows().drop("width"), FORMAT)
    with pytest.raises(UsageError, match="at least one row"):
        check(rows().clear(), FORMAT)
    with pytest.raises(UsageError, match=r"there is no .*none\.parquet"):
        read(tmp_path / "none.parquet", FORMAT)
    (tmp_path / "text.parquet").write_text("lr,width")
    with pytest.raises(UsageError, match=r"text\.parquet cannot be read as parquet"):
        read(tmp_path / "text.parquet", FORMAT)


def test_gaps_can_be_allowed_and_are_no_whole_curves():
    table = check(rows(epoch=[1, 2, 4, 1, 2]), FORMAT, allow_gaps=True)
    assert table.curves().seen.tolist() == [[True, True, False, True], [True, True, False, False]]
    assert table.curves().whole(4).tolist() == [False, True]


def test_appending_keeps_what_is_there_and_refuses_what_is_there_already(tmp_path):
    table = check(rows(), FORMAT)
    path = tmp_path / "new" / "curves.parquet"
    table.appended(rows(source=["again"] * 5)).write(path)
    assert read(path, FORMAT).curves().source == ("", "again", "", "again")
    with pytest.raises(UsageError, match="epoch 1 of a is there twice"):
        table.appended(rows())
    with pytest.raises(UsageError, match="got 'extra'"):
        table.appended(rows(extra=[1] * 5))
    assert [p.name for p in path.parent.iterdir()] == ["curves.parquet"]


def test_the_published_curves_are_rows():
    problem = wikitext2()
    form = TableFormat(ConfigSpace(problem.space), "epoch", "val_loss")
    table = check(published_rows(), form, allow_gaps=True)
    curves = table.curves()
    assert len(curves.ids) == len(set(curves.ids)) > 190
    first = curves.ids.index("published-local-0-0")
    assert curves.values["val_loss"][first, 0] == 10.7478
    assert curves.seconds[first, 39] == pytest.approx(40 * 54.18)
    assert curves.whole(40).sum() == 29


def test_the_package_s_table_begins_with_them_and_grows_by_exports(tmp_path):
    problem = wikitext2()
    form = TableFormat(ConfigSpace(problem.space), "epoch", "val_loss")
    there = read(table_file(), form, allow_gaps=True)
    expected = check(published_rows(), form, allow_gaps=True)
    assert there.frame.filter(source="published").equals(expected.frame)
    export = published_rows().filter(config_id="published-local-0-0")
    export = export.with_columns(source=pl.lit("collected"), train_loss=pl.col("val_loss") + 0.1)
    export.write_parquet(tmp_path / "export.parquet")
    words = [str(tmp_path / "export.parquet"), "--out", str(tmp_path / "curves.parquet")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "200 curves" in result.output
    grown = read(tmp_path / "curves.parquet", form, allow_gaps=True)
    assert grown.curves().source.count("collected") == 1
    result = CliRunner().invoke(main, [words[0], *words])
    assert result.exit_code == 2
    assert "is there twice" in result.output


def losses(config):
    epochs = np.arange(1, 10)
    return 1 / config["width"] + 1 / epochs, 10.0 * config["width"] * epochs


PROBLEM = Benchmark(
    name="small",
    space={"lr": loguniform(1e-4, 1.0), "width": randint(1, 9)},
    metric="loss",
    mode="min",
    resource="epoch",
    max_resource=9,
    max_wallclock_time=4000,
    n_workers=3,
    blackbox=lambda: losses,
)


@pytest.mark.parametrize("method", ["RS", "ASHA"])
def test_journals_give_the_curves_and_their_training_seconds(tmp_path, method):
    """Pauses, resumptions and start-up leave no trace in the seconds."""
    experiment = Experiment(
        tag="study",
        benchmark=PROBLEM,
        method=method,
        n_workers=3,
        seed=0,
        scheduler_seed=5,
        stopping=StoppingCriterion(max_wallclock_time=4000),
        backend_options={"startup_delay": 17.0, "instance_type": "ml.g4dn.xlarge"},
    )
    run_experiment(experiment, tmp_path / "study" / "one")
    table, max_resource = table_of([tmp_path / "study"])
    assert max_resource == 9
    curves = table.curves()
    assert len(curves.ids) > 5
    assert set(curves.source) == {"study"}
    for config, seen, values, seconds in zip(
        curves.configs, curves.seen, curves.values["loss"], curves.seconds, strict=True
    ):
        expected, expected_seconds = losses(config)
        np.testing.assert_allclose(values[seen], expected[: len(seen)][seen])
        np.testing.assert_allclose(seconds[seen], expected_seconds[: len(seen)][seen])
    assert curves.whole(9).any()
    again, _ = table_of([tmp_path / "study" / "one"])
    assert again.frame.equals(table.frame)


def test_reports_that_were_read_late(tmp_path):
    """Those that say when they were made keep their seconds; of others the values are kept."""
    experiment = Experiment(
        tag="study",
        benchmark=PROBLEM,
        method="RS",
        n_workers=3,
        seed=0,
        scheduler_seed=5,
        stopping=StoppingCriterion(max_trials=3),
        backend_options={"instance_type": "ml.g4dn.xlarge"},
    )
    run_experiment(experiment, tmp_path / "study" / "one")
    on_time, _ = table_of([tmp_path / "study"])
    journal = tmp_path / "study" / "one" / "journal.jsonl"
    header, *lines = map(json.loads, journal.read_text().splitlines())
    for line in lines:
        if line["event"] == "report" and line["trial"] < 2:
            if line["trial"] == 1:
                line["seconds"] = line["t"] - lines[1]["ready"]
            line["t"] = lines[-1]["t"]
    journal.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    with pytest.warns(AsynctuneWarning, match="1 curve got no seconds, as reports"):
        late, _ = table_of([tmp_path / "study"])
    assert late.frame.drop("seconds").equals(on_time.frame.drop("seconds"))
    untimed = late.frame["seconds"].is_null()
    assert late.frame.filter(untimed)["config_id"].n_unique() == 1
    kept = late.frame.filter(~untimed)["seconds"].to_numpy()
    np.testing.assert_allclose(kept, on_time.frame.filter(~untimed)["seconds"].to_numpy())


def test_folders_without_experiments_are_refused(tmp_path):
    with pytest.raises(UsageError, match="must hold an experiment or a study"):
        table_of([tmp_path])
