"""The methods by name."""

import json

import pytest

from asynctune.exceptions import UsageError
from asynctune.methods import METHODS, REFERENCE_METHODS, Problem, make_method, method_name
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.fifo import FIFO
from asynctune.schedulers.hyperband import Hyperband
from asynctune.schedulers.one_epoch import OneEpoch
from asynctune.searchers.base import NO_SNAPSHOT, Observation
from asynctune.space import ConfigSpace, uniform

SCHEDULERS = {
    "RS": FIFO,
    "BO": FIFO,
    "ASHA": ASHA,
    "MOBSTER": ASHA,
    "Hyperband": Hyperband,
    "HyperTune": Hyperband,
    "OneEpoch": OneEpoch,
    "TPE": FIFO,
}
PROBLEM = Problem(ConfigSpace({"x": uniform(0, 1), "y": uniform(0, 1)}), 27, 5)


def test_the_names_are_those_that_users_know():
    names = ["RS", "BO", "ASHA", "MOBSTER", "Hyperband", "HyperTune", "OneEpoch"]
    assert list(METHODS) in (names, [*names, "TPE"])
    assert list(METHODS)[:4] == list(REFERENCE_METHODS)


def test_names_may_be_in_any_case(monkeypatch):
    assert [method_name(name.lower()) for name in METHODS] == list(METHODS)
    with pytest.raises(UsageError, match=r"must be one of RS, BO, .*; got 'tp'"):
        method_name("tp")
    monkeypatch.delitem(METHODS, "TPE", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'asynctune\[tpe\]'"):
        make_method("TPE", PROBLEM)


@pytest.mark.parametrize("name", METHODS)
def test_scheduler_and_searcher_of_a_method(name):
    scheduler, searcher = make_method(name, PROBLEM)
    assert isinstance(scheduler, SCHEDULERS[name])
    assert searcher.needs_data == (name in ("BO", "MOBSTER", "HyperTune", "TPE"))
    for part in (scheduler, searcher):
        told = part.describe()
        assert json.loads(json.dumps(told)) == told


def test_all_methods_of_a_seed_begin_with_the_same_configs():
    firsts = [
        [make_method(name, PROBLEM).searcher.propose(NO_SNAPSHOT, k).config for k in range(3)]
        for name in METHODS
    ]
    assert all(configs == firsts[0] for configs in firsts)
    assert firsts[0][0] == {"x": 0.5, "y": 0.5}
    other = make_method("RS", PROBLEM._replace(seed=6)).searcher.propose(NO_SNAPSHOT, 1).config
    assert other != firsts[0][1]


@pytest.mark.parametrize("name", METHODS)
def test_a_space_without_domains_has_one_config(name):
    searcher = make_method(name, PROBLEM._replace(space=ConfigSpace({}))).searcher
    assert searcher.propose(NO_SNAPSHOT, 0).config == {}
    seen = NO_SNAPSHOT._replace(configs=({},), observations=(Observation(0, 1, 0.5),), length=1)
    assert searcher.propose(seen, 1).config is None


def test_points_to_evaluate_come_first():
    problem = PROBLEM._replace(points_to_evaluate=[{"x": 0.25}, {"y": 0.75}])
    for name in METHODS:
        searcher = make_method(name, problem).searcher
        configs = [searcher.propose(NO_SNAPSHOT, k).config for k in range(2)]
        assert configs == [{"x": 0.25, "y": 0.5}, {"x": 0.5, "y": 0.75}]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("BO", {"num_init_random": 4}),
        ("ASHA", {"type": "stopping", "grace_period": 2}),
        ("Hyperband", {"brackets": 2, "shared_rungs": True, "type": "stopping"}),
        ("OneEpoch", {"k": 3, "grace_period": 2}),
        ("HyperTune", {"brackets": 2, "max_data": 50, "reduction_factor": 2}),
        ("MOBSTER", {"resource_kernel": "independent", "grace_period": 3}),
        ("ASHA", {"reduction_factor": 2, "continue_in_place": False}),
        ("MOBSTER", {"type": "stopping", "num_init_random": 4, "max_data": 50}),
    ],
)
def test_options_reach_their_part(name, options):
    scheduler, searcher = make_method(name, PROBLEM, options)
    told = {**searcher.describe(), **scheduler.describe()}
    assert {key: told[key] for key in options} == options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("asho", {}, "method must be one of RS, BO, ASHA, MOBSTER, .*; got 'asho'"),
        ("RS", {"type": "stopping"}, "the method's options are: none; got 'type'"),
        (
            "BO",
            {"grace_period": 1},
            "options are: num_init_random, max_data, refit_growth, pending; got 'grace",
        ),
        ("ASHA", {"num_init_random": 1}, "type, grace_period, .*; got 'num_init_random'"),
        ("ASHA", {"type": "hasty"}, "type must be one of promotion, stopping; got 'hasty'"),
        ("MOBSTER", {"grace_period": 0}, "grace_period must lie between 1 and max_resource 27"),
        ("HyperTune", {"adaptive_brackets": "no"}, "adaptive_brackets must be of type bool"),
        ("HyperTune", {"resource_kernel": "markov"}, "got 'resource_kernel'"),
        ("MOBSTER", {"resource_kernel": "gp"}, "must be one of exp-decay-sum, .*markov; got 'gp'"),
        ("OneEpoch", {"k": 0}, "k must be at least 1; got 0"),
        ("OneEpoch", {"k": 2.5}, "k must be of type int; got 2.5"),
        ("Hyperband", {"shared_rungs": 1}, "shared_rungs must be of type bool; got 1"),
        ("MOBSTER", {"speed": 0}, "got 'speed'"),
    ],
)
def test_bad_names_and_options_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        make_method(name, PROBLEM, options)
