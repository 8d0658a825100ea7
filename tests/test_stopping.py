"""Stopping criteria and retry budgets: what is legal, what is told."""

import json
from math import inf, nan

import pytest

from asynctune.exceptions import UsageError
from asynctune.stopping import RetryPolicy, StoppingCriterion

BOUNDS = ("max_wallclock_time", "max_trials", "max_evaluations", "max_resource_total", "max_cost")


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("value", [0, -1, nan])
def test_bounds_are_above_zero(name, value):
    with pytest.raises(UsageError, match=f"{name} must be a number above 0; got {value}"):
        StoppingCriterion(**{name: value})


def test_a_metric_value_may_be_anything_but_nan():
    for value in (0.0, -3.5, -inf):
        assert StoppingCriterion(metric_value=value).metric_value == value
    with pytest.raises(UsageError, match="metric_value must be a number"):
        StoppingCriterion(metric_value=nan)


def test_there_must_be_an_end():
    for bounds in ({}, {"max_wallclock_time": inf}, {"max_trials": None}):
        with pytest.raises(UsageError, match="at least one stopping criterion; got none"):
            StoppingCriterion(**bounds)


def test_what_is_set_is_told():
    criterion = StoppingCriterion(max_wallclock_time=5.0, max_cost=2.5, metric_value=0.0)
    assert criterion.describe() == {
        "max_wallclock_time": 5.0,
        "max_cost": 2.5,
        "metric_value": 0.0,
    }
    assert StoppingCriterion(max_trials=3).describe() == {"max_trials": 3}


@pytest.mark.parametrize("name", RetryPolicy().describe())
@pytest.mark.parametrize("value", [-1, nan, inf])
def test_budgets_are_numbers_of_at_least_zero(name, value):
    with pytest.raises(UsageError, match=f"{name} must be at least 0 and finite; got {value}"):
        RetryPolicy(**{name: value})


def test_a_policy_comes_back_from_json():
    policy = RetryPolicy(user_error=2, backoff=0.5)
    assert RetryPolicy(**json.loads(json.dumps(policy.describe()))) == policy
