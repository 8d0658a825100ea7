"""What is shown of an experiment while it runs."""

import asyncio
import io
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from small_experiments import small_experiment

from asynctune.experiment import replay_experiment, run_experiment
from asynctune.stopping import StoppingCriterion
from asynctune.trial import State, Trial
from asynctune.watch import budget, fate, interrupted_rows, live, rows, seconds_left


def ledger(bounds, **spent):
    counts = {"trials": [], "reports": 0, "resource_total": 0, "cost": 0.0}
    return SimpleNamespace(stopping=StoppingCriterion(**bounds), **(counts | spent))


def test_budget_names_each_bound_that_is_set():
    one = ledger({"max_trials": 10, "max_cost": 2.0}, trials=[0] * 4, cost=0.5)
    assert budget(one, 60.0) == {"max_trials": (4, 10), "max_cost": (0.5, 2.0)}
    assert budget(ledger({"metric_value": 1.0}), 60.0) == {}


def test_the_first_bound_to_be_reached_ends_it():
    both = {"max_wallclock_time": 100.0, "max_evaluations": 50}
    assert seconds_left(ledger(both, reports=10), 10.0) == (40.0, "max_evaluations")
    assert seconds_left(ledger(both, reports=10), 90.0) == (10.0, "max_wallclock_time")
    assert seconds_left(ledger(both), 10.0) == (90.0, "max_wallclock_time")


def test_nothing_is_known_before_anything_is_spent():
    assert seconds_left(ledger({"max_evaluations": 3}), 10.0) is None
    assert seconds_left(ledger({"metric_value": 3.0}, reports=7), 10.0) is None


def test_trials_that_were_started_tell_nothing_of_when_they_end():
    bounds = {"max_trials": 3}
    assert seconds_left(ledger(bounds, trials=[0] * 2), 10.0) is None
    assert seconds_left(ledger(bounds, trials=[0] * 3), 10.0) is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "pausing 2 trials; Ctrl-C again ends them now"),
        ({"on_interrupt": "stop"}, "ending 2 trials; Ctrl-C again ends them now"),
        ({"on_interrupt": "detach"}, "leaving 2 trials running; Ctrl-C again ends them now"),
    ],
)
def test_what_happens_at_an_interruption(options, word):
    busy = SimpleNamespace(busy={3: None, 5: None})
    assert interrupted_rows(busy, options) == [("interrupted", word)]


def test_an_interruption_is_shown_while_trials_come_to_their_end(tmp_path, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)

    async def main():
        observer(replay_experiment(experiment, tmp_path), 1.0)
        asyncio.current_task().cancel()
        deadline = time.monotonic() + 30
        while "interrupted" not in screen.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)  # noqa: ASYNC251 - a task that awaits is cancelled

    experiment = small_experiment()
    run_experiment(experiment, tmp_path)
    with live(experiment) as observer, suppress(asyncio.CancelledError):
        asyncio.run(main())
    assert "Ctrl-C again" in screen.getvalue()


@pytest.mark.parametrize(
    ("state", "highest", "word"),
    [
        (State.RUNNING, 3, "running"),
        (State.PAUSING, 9, "running"),
        (State.PAUSED, 3, "paused"),
        (State.QUEUED, 3, "waiting"),
        (State.ENDED, 9, "complete"),
        (State.PAUSED, 9, "complete"),
        (State.ENDED, 3, "stopped"),
        (State.FAILED, 3, "failed"),
    ],
)
def test_what_becomes_of_trials(state, highest, word):
    trial = Trial(0, 9)
    trial.state, trial.highest = state, highest
    assert fate(trial, 9) == word


def test_the_rows_add_up(tmp_path):
    experiment = small_experiment(bounds={"max_wallclock_time": 3000.0, "max_trials": 1000})
    done = run_experiment(experiment, tmp_path)
    shown = dict(rows(replay_experiment(experiment, tmp_path), 3000.0))
    assert shown["best loss"] == f"{done['best_metric']:.5g} (trial {done['best_trial']})"
    assert shown["time"] == "50 min, at most 0 s left (max_wallclock_time)"
    assert shown["budget"].startswith("50 min of 50 min (100%), ")
    started, _, words = shown["trials"].partition(" started: ")
    assert sum(int(part.split()[0]) for part in words.split(", ")) == int(started)
    assert int(started) == done["n_trials"]
    assert shown["reports"] == str(done["n_reports"])
    assert shown["cost"].startswith("$ ")


def test_a_terminal_shows_the_table_and_nothing_else_does(tmp_path, monkeypatch):
    experiment = small_experiment()
    for terminal in (True, False):
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
        screen = io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        with live(experiment) as observer:
            run_experiment(experiment, tmp_path / str(terminal), observer=observer)
            deadline = time.monotonic() + 30
            while terminal and "best loss" not in screen.getvalue():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert ("best loss" in screen.getvalue()) == terminal
