import json
from itertools import pairwise
from math import inf, nan

import numpy as np
import pytest

from asynctune.asktell import AskedTrial, AskTell
from asynctune.benchmark import Benchmark
from asynctune.exceptions import IllegalEventError, JournalError, SpaceError, UsageError
from asynctune.experiment import Experiment, run_experiment
from asynctune.journal import read_lines
from asynctune.methods import METHODS
from asynctune.searchers.random import InitialConfigs
from asynctune.space import ConfigSpace, choice, loguniform, randint, uniform
from asynctune.stopping import StoppingCriterion

SPACE = {"lr": loguniform(1e-6, 1), "momentum": uniform(0, 0.99), "layers": 2}
SMALL = {"a": choice(["x", "y"]), "b": randint(1, 2)}
MAX = 9


def loss(config, epoch):
    return (np.log10(config["lr"]) + 2.5) ** 2 + config["momentum"] / 3 + 1 / epoch


def curve(config):
    values = [loss(config, epoch) for epoch in range(1, MAX + 1)]
    return values, [10.0 * epoch for epoch in range(1, MAX + 1)]


def stored(tuning):
    return AskTell.from_json(json.loads(json.dumps(tuning.to_json(), allow_nan=False)))


def train(tuning, trial):
    """Train a trial until it is told otherwise, and return what it was told at each epoch."""
    told = []
    for epoch in range(trial.from_resource + 1, trial.until + 1):
        told.append((epoch, tuning.tell(trial, epoch, loss(trial.config, epoch))))
        if told[-1][1] != "continue":
            break
    return told


def asha(**options):
    return AskTell(SPACE, method="ASHA", max_resource=MAX, seed=3, method_options=options)


def test_random_search_trains_every_config_to_the_end():
    tuning = AskTell(SPACE, method="RS", max_resource=3, seed=7)
    initial = InitialConfigs(ConfigSpace(SPACE), 7)
    for k in range(5):
        trial = tuning.ask()
        assert trial == AskedTrial(k, initial.config(k), 0, 3)
        assert tuning.tell(trial, 1, 3.0) == "continue"
        assert tuning.tell(trial, 2, 2.0) == "continue"
        assert tuning.tell(trial, 3, 1.0 + k) == "complete"
    assert tuning.best == (0, initial.config(0), 3, 1.0)
    assert tuning.best.config["layers"] == 2
    assert tuning.running == ()


@pytest.mark.parametrize("method", METHODS)
def test_one_worker_decides_as_the_tuner_does(method, tmp_path):
    n = 6 if method in ("BO", "MOBSTER") else 40
    benchmark = Benchmark(
        name="toy", space=SPACE, metric="loss", mode="min", resource="epoch", max_resource=MAX,
        max_wallclock_time=1e5, n_workers=1, blackbox=lambda: curve,
    )  # fmt: skip
    run_experiment(
        Experiment(
            tag="t", method=method, benchmark=benchmark, n_workers=1, seed=0, scheduler_seed=3,
            profile="local", stopping=StoppingCriterion(max_trials=n),
            backend_options={"prices": {}},
        ),
        tmp_path,
    )  # fmt: skip
    lines = [x for x in read_lines(tmp_path / "journal.jsonl") if x["event"] in ("start", "report")]
    tuning = AskTell(SPACE, method=method, max_resource=MAX, seed=3)
    started = 0
    while (trial := tuning.ask(new=started < n)) is not None:
        started += trial.from_resource == 0
        line = lines.pop(0)
        assert (line["event"], line["trial"]) == ("start", trial.number)
        assert (line["from"], line["until"]) == (trial.from_resource, trial.until)
        for epoch, action in train(tuning, trial):
            line = lines.pop(0)
            assert (line["trial"], line["resource"]) == (trial.number, epoch)
            assert line.get("decision", "continue") == action
            assert line["metrics"]["loss"] == loss(trial.config, epoch)
    assert started == n
    assert lines == []


def test_asha_pauses_and_brings_back_the_best():
    tuning = asha()
    trials = [tuning.ask() for _ in range(3)]
    assert [t.number for t in tuning.running] == [0, 1, 2]
    assert tuning.tell(trials[0], 1, 4.0) == "pause"
    assert tuning.tell(trials[1], 1, 3.0) == "continue"
    assert tuning.tell(trials[2], 1, 5.0) == "pause"
    assert [t.number for t in tuning.running] == [1]
    # The cut-off of 3, 4 and 5 is 3.67: a new trial comes. With 6 it is 4, the value of trial 0.
    new = tuning.ask()
    assert new.number == 3
    assert tuning.tell(new, 1, 6.0) == "pause"
    again = tuning.ask()
    assert again == AskedTrial(0, trials[0].config, 1, MAX)
    assert tuning.tell(again, 2, 3.9) == "continue"


def test_not_in_place_a_trial_runs_to_its_next_rung():
    tuning = asha(continue_in_place=False)
    first, second = tuning.ask(), tuning.ask()
    assert (first.from_resource, first.until) == (0, 1)
    assert tuning.tell(first, 1, 1.0) == "pause"
    assert tuning.tell(second, 1, 2.0) == "pause"
    again = tuning.ask()
    assert (again.number, again.from_resource, again.until) == (0, 1, 3)


def test_a_trial_beyond_its_next_rung_goes_on_from_where_it_is():
    tuning = asha(continue_in_place=False)
    first, second = tuning.ask(), tuning.ask()
    assert tuning.tell(first, 5, 1.0) == "pause"
    assert tuning.tell(second, 1, 2.0) == "pause"
    again = tuning.ask()
    assert (again.number, again.from_resource, again.until) == (0, 5, 6)
    assert tuning.tell(again, 6, 1.0) == "pause"


def test_stopping_type():
    tuning = asha(type="stopping")
    first, second = tuning.ask(), tuning.ask()
    assert tuning.tell(first, 1, 1.0) == "continue"
    assert tuning.tell(second, 1, 2.0) == "stop"
    with pytest.raises(IllegalEventError, match="must be running; it is over"):
        tuning.tell(second, 2, 1.0)


def test_values_of_the_last_level_alone_are_promoted_without_being_trained_again():
    tuning = asha()
    values = np.random.default_rng(0).random(60)
    for k, value in enumerate(values):
        trial = tuning.ask()
        assert trial.number == k
        assert trial.from_resource == 0
        assert tuning.tell(trial, MAX, value) == "complete"
    assert tuning.best.value == values.min()
    # The method has learnt the value at the top as well.
    snapshot = tuning._pair.scheduler.snapshot()
    best = int(values.argmin())
    assert [o.resource for o in snapshot.observations if o.trial == best] == [1, 3, 9]
    assert len(stored(tuning)._log) == len(tuning._log)


def test_pending_configs_are_known_to_the_searcher():
    tuning = asha()
    asked = [tuning.ask() for _ in range(3)]
    snapshot = tuning._pair.scheduler.snapshot()
    assert [p.config for p in snapshot.pending] == [t.config for t in asked]
    tuning.tell(asked[1], 1, 1.0)
    tuning.fail(asked[2])
    snapshot = tuning._pair.scheduler.snapshot()
    assert [p.config for p in snapshot.pending] == [asked[0].config]
    assert snapshot.failed == {2}


def test_maximisation_mirrors_minimisation():
    down = asha()
    up = AskTell(SPACE, method="ASHA", metric_mode="max", max_resource=MAX, seed=3)
    rng = np.random.default_rng(1)
    for _ in range(200):
        trial = down.ask()
        assert trial == up.ask()
        for epoch in range(trial.from_resource + 1, MAX + 1):
            value = rng.random()
            action = down.tell(trial, epoch, value)
            assert up.tell(trial, epoch, -value) == action
            if action != "continue":
                break
    assert up.best == down.best._replace(value=-down.best.value)


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_values_that_are_not_finite_never_win(bad, mode):
    tuning = AskTell(SPACE, method="ASHA", metric_mode=mode, max_resource=MAX)
    first, second = tuning.ask(), tuning.ask()
    assert tuning.tell(first, 1, bad) == "pause"
    assert tuning.best is None
    assert tuning.tell(second, 1, 1.0) == "continue"
    assert tuning.best.trial == 1
    assert stored(tuning).best == tuning.best
    tuning.fail(second)
    assert all(tuning.ask().number != 0 for _ in range(20))


def test_a_finite_space_runs_out():
    tuning = AskTell(SMALL, method="RS", max_resource=1)
    trials = [tuning.ask() for _ in range(4)]
    assert len({tuple(t.config.items()) for t in trials}) == 4
    assert not tuning.exhausted
    assert tuning.ask() is None
    assert (tuning.why, tuning.exhausted) == ("exhausted", False)
    for trial in trials:
        tuning.tell(trial, 1, 0.5)
    assert tuning.ask() is None
    assert (tuning.why, tuning.exhausted) == ("exhausted", True)
    assert stored(tuning).ask() is None


def test_no_new_trials_when_none_are_wanted():
    tuning = asha()
    first, second = tuning.ask(), tuning.ask()
    assert tuning.ask(new=False) is None
    assert (tuning.why, tuning.exhausted) == ("draining", False)
    tuning.tell(first, 1, 2.0)
    tuning.tell(second, 1, 3.0)
    assert tuning.ask(new=False).number == 0
    assert tuning.why is None


def test_a_trial_that_ends_early_counts_with_its_last_value():
    tuning = AskTell(SPACE, method="RS", max_resource=MAX)
    first, second = tuning.ask(), tuning.ask()
    tuning.tell(first, 2, 0.5)
    tuning.finish(first)
    tuning.finish(second)
    snapshot = tuning._pair.scheduler.snapshot()
    assert snapshot.observations == [(0, MAX, 0.5)]
    assert snapshot.failed == {1}  # nothing was told of it
    assert tuning.running == ()


def illegal_calls():
    def never_asked(t):
        t.tell(99, 1, 1.0)

    def backwards(t):
        t.tell(0, 1, 1.0)

    def twice(t):
        t.tell(0, 2, 1.0)

    def paused(t):
        t.tell(1, 2, 1.0)

    def over(t):
        t.finish(2)

    def failed_twice(t):
        t.fail(2)

    return [
        (never_asked, "no such trial was asked for (trial 99: never seen)"),
        (backwards, "resource must be above 2; got 1 (trial 0: asked for -> told at 2: continue)"),
        (twice, "resource must be above 2; got 2"),
        (paused, "the trial must be running; it is paused (trial 1: asked for -> told at 1: pause"),
        (over, "the trial must be running; it is over (trial 2: asked for -> failed)"),
        (failed_twice, "the trial must be running; it is over"),
    ]


@pytest.mark.parametrize(("call", "message"), illegal_calls())
def test_illegal_calls_are_refused_and_change_nothing(call, message):
    tuning = asha()
    for _ in range(3):
        tuning.ask()
    tuning.tell(1, 1, 5.0)
    tuning.tell(0, 2, 1.0)
    tuning.fail(2)
    before, best = tuning.to_json(), tuning.best
    with pytest.raises(IllegalEventError) as caught:
        call(tuning)
    assert str(caught.value).startswith(message)
    assert (tuning.to_json(), tuning.best) == (before, best)
    assert tuning.tell(0, 3, 0.9) == "pause"


@pytest.mark.parametrize(
    ("resource", "value", "message"),
    [
        (0, 1.0, "resource must be a whole number from 1 to 9; got 0"),
        (10, 1.0, "resource must be a whole number from 1 to 9; got 10"),
        (1.0, 1.0, "resource must be a whole number from 1 to 9; got 1.0"),
        (True, 1.0, "got True"),
        (1, "low", "a value told must be a number; got 'low'"),
        (1, None, "a value told must be a number; got None"),
    ],
)
def test_what_is_no_number_is_refused(resource, value, message):
    tuning = asha()
    trial = tuning.ask()
    before = tuning.to_json()
    with pytest.raises(UsageError) as caught:
        tuning.tell(trial, resource, value)
    assert message in str(caught.value)
    assert tuning.to_json() == before
    assert tuning.tell(trial, np.int64(1), np.float32(0.5)) == "pause"
    assert stored(tuning).to_json() == tuning.to_json()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "magic"}, UsageError, "method must be one of RS, BO, ASHA, MOBSTER"),
        ({"metric_mode": "up"}, UsageError, "metric_mode must be min or max; got 'up'"),
        ({"max_resource": 0}, UsageError, "max_resource must be a whole number above 0; got 0"),
        ({"seed": -1}, UsageError, "seed must be at least 0; got -1"),
        ({"method_options": {"eta": 3}}, UsageError, "got 'eta'"),
        ({"points_to_evaluate": [{"lr": 5}]}, SpaceError, "points_to_evaluate\\[0\\]"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        AskTell(SPACE, **{"method": "ASHA", "max_resource": MAX, **arguments})


def test_points_to_evaluate_come_first():
    points = [{"lr": 0.1}, {"lr": 0.2, "momentum": 0.5}]
    tuning = AskTell(SPACE, method="RS", max_resource=1, seed=2, points_to_evaluate=points)
    assert [tuning.ask().config["lr"] for _ in range(2)] == [0.1, 0.2]
    again = stored(tuning)
    assert again.to_json() == tuning.to_json()
    assert again.ask() == tuning.ask()


def random_calls(tuning, rng, copy):
    """Make a random call of `tuning` and of its copy, which must answer alike."""
    running = tuning.running
    assert copy.running == running
    if not running or (len(running) < 6 and rng.random() < 0.5):
        new = bool(rng.random() < 0.9)
        asked = tuning.ask(new=new)
        assert copy.ask(new=new) == asked
        assert (copy.why, copy.exhausted) == (tuning.why, tuning.exhausted)
        return
    trial = running[rng.integers(len(running))]
    highest = tuning._trials[trial.number].highest
    kind = rng.random()
    if kind < 0.04:
        tuning.fail(trial)
        copy.fail(trial)
    elif kind < 0.08:
        tuning.finish(trial)
        copy.finish(trial)
    else:
        resource = min(MAX, highest + 1 + int(rng.random() < 0.2))
        value = rng.choice([nan, -inf]) if kind < 0.12 else float(rng.normal())
        assert copy.tell(trial, resource, value) == tuning.tell(trial, resource, value)


@pytest.mark.parametrize("options", [{}, {"continue_in_place": False}, {"type": "stopping"}])
@pytest.mark.parametrize("space", [SPACE, {"a": randint(1, 30)}])
def test_a_stored_state_goes_on_as_if_it_never_had_been_stored(options, space):
    rng = np.random.default_rng(5)
    tuning = AskTell(space, method="ASHA", max_resource=MAX, method_options=options)
    for step in range(600):
        if step % 20 == 0:
            copy = stored(tuning)
            assert copy.to_json() == tuning.to_json()
            assert copy.best == tuning.best
        random_calls(tuning, rng, copy)
    assert max(t.highest for t in tuning._trials.values()) == MAX


@pytest.mark.parametrize("method", ["BO", "MOBSTER"])
def test_proposals_of_a_model_are_stored_and_not_computed_again(method, monkeypatch):
    tuning = AskTell(SPACE, method=method, max_resource=MAX, seed=4)
    for _ in range(12):
        train(tuning, tuning.ask())
    trial = tuning.ask()
    proposals = [p for e in tuning._log if e["event"] == "ask" for p in e["proposals"]]
    assert "model" in {p["origin"] for p in proposals}
    searcher = type(tuning._pair.searcher)
    with monkeypatch.context() as patch:
        patch.setattr(searcher, "propose", None)
        again = stored(tuning)
    assert again.running == (trial,)
    assert again.to_json() == tuning.to_json()
    assert again.ask() == tuning.ask()


def test_an_interrupted_proposal_is_computed_by_the_next_call(monkeypatch):
    tuning = asha()
    first = tuning.ask()
    with monkeypatch.context() as patch:
        patch.setattr(type(tuning._pair.searcher), "propose", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tuning.ask()
    copy = stored(tuning)
    for t in (tuning, copy):
        t.tell(first, 1, 1.0)
        assert t.ask().number == 1
    assert copy.to_json() == tuning.to_json()
    assert stored(copy).to_json() == tuning.to_json()


def test_what_an_interrupted_call_did_before_is_stored(monkeypatch):
    tuning = asha()
    first, second, third = (tuning.ask() for _ in range(3))
    tuning.tell(first, MAX, 1.0)
    tuning.tell(second, 1, 2.0)
    with monkeypatch.context() as patch:
        patch.setattr(type(tuning._pair.searcher), "propose", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tuning.ask()  # has taken the first trial to its second rung
    tuning.tell(third, 3, 0.5)
    observations = tuning._pair.scheduler.snapshot().observations
    assert observations.index((0, 3, 1.0)) < observations.index((2, 1, 0.5))
    assert stored(tuning)._pair.scheduler.snapshot() == tuning._pair.scheduler.snapshot()


def test_the_scheduler_learns_of_every_end(monkeypatch):
    tuning = asha(type="stopping")
    trials = [tuning.ask() for _ in range(4)]
    ends = []
    monkeypatch.setattr(
        tuning._pair.scheduler, "finished", lambda trial, *, failed: ends.append((trial, failed))
    )
    tuning.tell(trials[0], MAX, 1.0)
    tuning.tell(trials[1], 1, 2.0)
    tuning.fail(trials[2])
    tuning.finish(trials[3])
    assert ends == [(0, False), (1, False), (2, True), (3, True)]


def test_the_earliest_of_equals_is_the_best():
    tuning = AskTell(SPACE, method="RS", max_resource=MAX)
    first, second = tuning.ask(), tuning.ask()
    tuning.tell(second, 1, 0.5)
    tuning.tell(first, 1, 0.5)
    assert tuning.best.trial == second.number


def damaged(data):
    log = data["log"]
    tell = next(i for i, e in enumerate(log) if e["event"] == "tell")
    yield "format", {**data, "format": 99}
    yield "says", {**data, "seed": 4, "log": [{**log[0], "trial": 7}, *log[1:]]}
    yield "says", {**data, "log": [*log[:tell], {**log[tell], "action": "stop"}, *log[tell + 1 :]]}
    yield "says", {**data, "log": [{**log[0], "proposals": []}, *log[1:]]}
    yield "must be an ask", {**data, "log": [*log, {"event": "sing"}]}


def test_a_damaged_state_is_refused():
    tuning = asha()
    for _ in range(5):
        train(tuning, tuning.ask())
    for message, data in damaged(tuning.to_json()):
        with pytest.raises(JournalError, match=message):
            AskTell.from_json(data)


def test_the_number_of_trials_falls_from_rung_to_rung():
    tuning = asha()
    reached = [0] * (MAX + 1)
    for _ in range(300):
        for epoch, _ in train(tuning, tuning.ask()):
            reached[epoch] += 1
    assert all(a >= b for a, b in pairwise(reached[1:]))
    assert reached[1] > 2 * reached[2] > 0
    assert reached[MAX] > 0
