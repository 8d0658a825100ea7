from math import inf

import numpy as np
import pytest

from benchmarks.model_choices import TOPICS, Result, compare, mean_and_band, run_variant, show

TOPIC = TOPICS[0]._replace(seconds=1_000.0)


def result(finals, times, ms=5.0):
    return Result(np.array(finals), np.array([times, times]), np.full(len(finals), ms))


def test_differences_are_paired_with_the_default():
    default = result([5.0, 6.0, 7.0], [100.0, 200.0, 400.0])
    rival = result([5.1, 6.1, 7.1], [200.0, 400.0, 800.0])
    first, second = compare(TOPIC, {"default": default, "rival": rival})
    assert first["final_worse_by"] == (0.0, 0.0, 0.0)
    assert second["final_worse_by"] == pytest.approx((0.1, 0.1, 0.1))
    assert second["time_ratio_5.5"] == pytest.approx([2.0, 2.0, 2.0])
    assert second["final"] == pytest.approx(6.1)


def test_a_loss_never_reached_counts_as_reached_at_the_end():
    default = result([5.0, 5.0], [500.0, 500.0])
    (_, row) = compare(TOPIC, {"default": default, "rival": result([9.0, 9.0], [inf, inf])})
    assert row["time_ratio_5.3"] == pytest.approx([2.0, 2.0, 2.0])
    assert (row["reached_5.3"], row["reached_5.5"]) == (0, 0)


def test_the_band_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(1.0, 2.0, 400)
    mean, low, high = mean_and_band(values)
    assert mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (mean - low, high - mean) == pytest.approx((half, half), rel=0.1)


def test_a_variant_runs_its_options_and_is_shown():
    topic = next(t for t in TOPICS if t.method == "BO")._replace(seconds=1_200.0)
    found = {name: run_variant(topic, options, 1, 1) for name, options in topic.variants.items()}
    rows = compare(topic, found)
    assert [row["variant"] for row in rows] == list(topic.variants)
    assert all(row["ms_a_trial"] > 0 for row in rows)
    tables = list(show(rows))
    assert all(name in tables[1] for name in topic.variants)


def test_the_default_of_each_topic_comes_first():
    from asynctune.methods import Problem, make_method
    from asynctune.space import ConfigSpace, uniform

    problem = Problem(ConfigSpace({"x": uniform(0, 1)}), 40, 0)
    for topic in TOPICS:
        default = make_method(topic.method, problem).searcher.describe()
        first, *others = topic.variants.values()
        assert make_method(topic.method, problem, first).searcher.describe() == default
        for options in others:
            assert make_method(topic.method, problem, options).searcher.describe() != default
