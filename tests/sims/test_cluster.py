"""Cluster profiles: their numbers are checked, told, replaced; draws depend on nothing else."""

import json
import re
from dataclasses import fields

import numpy as np
import pytest

from asynctune.cli.study import study
from asynctune.exceptions import UsageError
from asynctune.plugins import load_plugin, plugin_names
from sims.cluster import AttemptDraws, ClusterProfile
from sims.profiles import local, sagemaker


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"startup_delay": -1.0}, "startup_delay must be a finite number of at least 0; got -1"),
        ({"startup_delay": float("inf")}, "startup_delay must be a finite number"),
        ({"stop_delay": float("nan")}, "stop_delay must be a finite number"),
        ({"report_delay": -0.1}, "report_delay must be"),
        ({"startup_spread": -0.1}, "startup_spread must be"),
        ({"warm_startup_delay": -0.1}, "warm_startup_delay must be"),
        ({"failure_rate": -1}, "failure_rate must be"),
        ({"preemption_rate": float("inf")}, "preemption_rate must be"),
        ({"straggler_probability": 1.1}, "straggler_probability must lie between 0 and 1"),
        ({"billed_startup": float("nan")}, "billed_startup must lie between 0 and 1"),
        ({"straggler_factor": 0.9}, "straggler_factor must be a finite number of at least 1"),
        ({"straggler_factor": float("nan")}, "straggler_factor must be a finite number"),
        ({"capacity": 0}, "capacity must be at least 1; got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        ClusterProfile(**{"name": "mine", "startup_delay": 1.0} | settings)


def test_options_replace_numbers_and_are_checked():
    profile = local().with_options({"startup_delay": 3.0, "capacity": 2})
    assert (profile.startup_delay, profile.capacity, profile.name) == (3.0, 2, "local")
    assert local().startup_delay == 8.0
    for name in ("name", "sources", "speed"):
        with pytest.raises(UsageError, match=f"one of billed_startup, .*; got '{name}'"):
            local().with_options({name: 1})
    with pytest.raises(UsageError, match="startup_delay must be"):
        local().with_options({"startup_delay": -3.0})


def test_the_numbers_that_the_help_names_are_there():
    (option,) = (o for o in study.params if "--set" in o.opts)
    named = set(re.findall(r"[a-z]+(?:_[a-z]+)+|capacity", option.help))
    assert len(named) >= 10
    assert named <= {field.name for field in fields(ClusterProfile)}


def test_prices_are_by_the_second():
    profile = sagemaker()
    assert profile.price("ml.g4dn.xlarge") == 0.736 / 3600
    for unknown in ("ml.p9", None):
        with pytest.raises(UsageError, match=r"one of ml.g4dn.xlarge, ml.g4dn.12xlarge; got"):
            profile.price(unknown)
    assert ClusterProfile(name="free", startup_delay=0.0).price(None) == 0.0


@pytest.mark.parametrize("name", ["local", "sagemaker"])
def test_each_number_of_the_profiles_has_its_source(name):
    assert name in plugin_names("asynctune.profiles")
    profile = load_plugin("asynctune.profiles", "profile", name)()
    assert profile.name == name
    told = profile.describe()
    assert json.loads(json.dumps(told)) == told
    plain = ClusterProfile(name=name, startup_delay=0.0).describe()
    own = {key for key, value in told.items() if value != plain[key]} - {"name"}
    assert own <= set(profile.sources)
    assert not profile.random


@pytest.mark.parametrize(
    "name", ["startup_spread", "straggler_probability", "failure_rate", "preemption_rate"]
)
def test_chance_plays_a_part(name):
    assert local().with_options({name: 0.5}).random


def test_draws_depend_on_seed_trial_and_attempt_alone():
    keys = [(t, a) for t in (0, 1, 255, 256, 257, 5000) for a in (0, 1, 7)]
    forward = {key: AttemptDraws(3).draw(*key) for key in keys}
    draws = AttemptDraws(3)
    assert {key: draws.draw(*key) for key in reversed(keys)} == forward
    assert len({tuple(d) for d in forward.values()}) == len(keys)
    assert AttemptDraws(4).draw(0, 0) != forward[0, 0]


def test_draws_have_their_distributions():
    draws = AttemptDraws(1)
    normal, uniform, first, second = np.array([draws.draw(t, 0) for t in range(20_000)]).T
    assert normal.mean() == pytest.approx(0, abs=0.03)
    assert normal.std() == pytest.approx(1, abs=0.03)
    assert np.histogram(uniform, 10, (0, 1))[0] == pytest.approx(2000, rel=0.1)
    for exponential in (first, second):
        assert exponential.min() > 0
        assert exponential.mean() == pytest.approx(1, abs=0.03)
        assert exponential.std() == pytest.approx(1, abs=0.05)
    assert abs(np.corrcoef([normal, uniform, first, second]) - np.eye(4)).max() < 0.03
