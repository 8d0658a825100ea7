import numpy as np
import pytest
from small_experiments import small_experiment

from asynctune.asktell import AskTell
from asynctune.exceptions import UsageError
from asynctune.experiment import experiment_rungs
from asynctune.rungtable import format_rung_table, rung_table
from asynctune.schedulers.rungs import rung_levels
from asynctune.space import uniform


def test_shares_and_counts():
    rows = rung_table((1, 3, 9, 27), 40, 4)
    assert [r.level for r in rows] == [1, 3, 9, 27, 40]
    assert [r.share for r in rows] == [1 / 3, 1 / 3, 1 / 3, 27 / 40, None]
    assert [r.per_100 for r in rows] == pytest.approx([100, 100 / 3, 100 / 9, 100 / 27, 2.5])
    assert {r.within_budget for r in rows} == {None}
    assert rows[0].rule == "at or below the 33.3% quantile of the rung's values"
    assert rows[-1].rule == "complete"


def test_maximised():
    rows = rung_table((1, 3), 12, 1, mode="max")
    assert rows[1].rule == "at or above the 75.0% quantile of the rung's values"


def test_the_budget_is_spent():
    rows = rung_table((1, 3, 9, 27), 40, 4, 18_000, 60.0)
    stops = [0, *(r.level for r in rows)]
    spent = sum(
        row.within_budget * (above - below) * 60
        for row, below, above in zip(rows, stops, stops[1:], strict=False)
    )
    assert spent == pytest.approx(4 * 18_000)


def test_attempts_cost_something_besides():
    rows = rung_table((1, 3), 9, 4, 18_000, 60.0, 200.0)
    # Of 9 trials 3 come to the second rung and 1 to the end, each by an attempt more.
    each = (9 * 260 + 3 * 320 + 1 * 560) / 9
    assert rows[0].within_budget == pytest.approx(4 * 18_000 / each)


def test_without_rungs_every_trial_is_complete():
    (row,) = rung_table((), 40, 8, 18_000, 45.0)
    assert row.per_100 == 100
    assert row.within_budget == 8 * 18_000 / (40 * 45)


@pytest.mark.parametrize("unknown", [(None, 60.0), (18_000.0, None), (float("inf"), 60.0)])
def test_no_expectation_without_time_or_speed(unknown):
    rows = rung_table((1, 3), 9, 4, *unknown)
    assert {r.within_budget for r in rows} == {None}
    assert "at most" not in format_rung_table(rows)


def test_text():
    title = "rungs, where trials are compared: which share goes on, how many of 100 get there"
    assert format_rung_table(rung_table((1, 3), 9, 4, 18_000, 60.0)).splitlines() == [
        f"{title}, and how many at most in the time",
        "epoch  goes on  per 100  at most  cut-off",
        "    1      33%      100      514  at or below the 33.3% quantile of the rung's values",
        "    3      33%     33.3      171  at or below the 33.3% quantile of the rung's values",
        "    9              11.1       57  complete",
    ]
    assert format_rung_table(rung_table((), 40, 4), "step").splitlines() == [
        title,
        "step  goes on  per 100  cut-off",
        "  40               100  complete",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3, 3), 9, 1), "rung levels must be above 0, ascend .* got \\[3, 3\\]"),
        (((0,), 9, 1), "got \\[0\\]"),
        (((1, 9), 9, 1), "below max_resource 9; got \\[1, 9\\]"),
        (((1,), 9, 0), "n_workers must be at least 1; got 0"),
        (((1,), 9, 1, 0.0), "max_wallclock_time must be above 0; got 0.0"),
        (((1,), 9, 1, 10.0, float("nan")), "seconds_per_level must be above 0; got nan"),
    ],
)
def test_bad_numbers_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        rung_table(*arguments)


@pytest.mark.parametrize("type_", ["promotion", "stopping"])
def test_asha_does_what_the_table_says(type_):
    levels, top, n = rung_levels(27, 1, 3), 27, 10_000
    tuning = AskTell(
        {"x": uniform(0, 1)}, method="ASHA", max_resource=top, method_options={"type": type_}
    )
    quality = np.random.default_rng(0).random(n)
    reached = dict.fromkeys((*levels, top), 0)
    while (trial := tuning.ask(new=len(tuning._trials) < n)) is not None:
        for level in reached:
            if level <= trial.from_resource:
                continue
            reached[level] += 1
            if tuning.tell(trial, level, quality[trial.number]) != "continue":
                break
    rows = rung_table(levels, top, 1)
    assert reached[1] == n
    # Promotions that come early for want of data let somewhat more through.
    assert all(0.97 < reached[r.level] / n * 100 / r.per_100 < 1.2 for r in rows)


def test_delays_of_the_cluster_count():
    options = {"startup_delay": 200.0, "stop_delay": 30.0}
    rungs = experiment_rungs(small_experiment(options=options))
    assert rungs == ((1, 3, 9), 230.0)
    assert experiment_rungs(small_experiment("RS")) is None
