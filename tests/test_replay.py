"""Replay: the replayed ledger is the live one, at every instant; what cannot be is refused."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_experiments import CLUSTERS, METHODS, small_experiment

from asynctune.events import Paused, Report, Started
from asynctune.exceptions import JournalError
from asynctune.experiment import JOURNAL, replay_experiment, run_experiment
from asynctune.journal import (
    event_line,
    launch_line,
    proposal_line,
    read_lines,
    request_line,
)
from asynctune.ledger import Ledger
from asynctune.replay import replay
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.fifo import FIFO
from asynctune.searchers.base import Proposal
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.testing import check_ledger, state_of


@settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(list(METHODS)),
    st.sampled_from(list(CLUSTERS)),
    st.integers(0, 100),
    st.integers(1, 7),
)
def test_the_replayed_ledger_is_the_live_one(tmp_path, method, cluster, seed, n_workers):
    live = []

    def observe(ledger, now):
        check_ledger(ledger)
        live[:] = [ledger]

    folder = tmp_path / f"{method} {cluster} {seed} {n_workers}"
    settings = METHODS[method] | CLUSTERS[cluster]
    experiment = small_experiment(
        **settings | {"bounds": {"max_evaluations": 120}},
        scheduler_seed=seed,
        n_workers=n_workers,
    )
    run_experiment(experiment, folder, observer=observe)
    replayed = replay_experiment(experiment, folder)
    assert state_of(replayed) == state_of(live[0])
    assert len(replayed.trials) > 0


def test_the_replayed_ledger_is_the_live_one_at_every_instant(tmp_path):
    states = []
    experiment = small_experiment(
        options={"startup_delay": 1.0, "failure_rate": 60.0},
        landscape={"lock_step": True},
        bounds={"max_wallclock_time": 15.0},
    )
    run_experiment(
        experiment, tmp_path, observer=lambda ledger, now: states.append((now, state_of(ledger)))
    )
    lines = list(read_lines(tmp_path / JOURNAL))
    times = sorted({line["t"] for line in lines})
    assert len(times) > 15
    last = dict(states)
    for time in times[:-1]:  # the last instant has no free workers filled, but ends
        cut = tmp_path / "cut"
        cut.mkdir(exist_ok=True)
        upto = sum(line["t"] <= time for line in lines)
        whole = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
        (cut / JOURNAL).write_bytes(b"".join(whole[: upto + 1]))
        assert state_of(replay_experiment(experiment, cut)) == last[time]


# By hand.


class Told:
    """Drives a ledger by hand, and writes its journal's lines."""

    def __init__(self, scheduler, n_workers=1):
        self.scheduler, self.n_workers, self.lines = scheduler, n_workers, []
        self.ledger = self.fresh()

    def fresh(self):
        return Ledger(
            self.scheduler(),
            n_workers=self.n_workers,
            metric="loss",
            mode="min",
            max_resource=9,
            stopping=StoppingCriterion(max_trials=100),
            retries=RetryPolicy(),
        )

    def propose(self, now, *, ahead=False):
        step = self.ledger.scheduler.ahead(5) if ahead else self.ledger.next(now)
        self.lines.append(request_line(now, step.k, step.seen, ahead=ahead))

    def accept(self, now, k, config):
        proposal = Proposal(k, config)
        self.ledger.accept(proposal)
        self.lines.append(proposal_line(now, proposal, 0.0))

    def start(self, now):
        launch = self.ledger.next(now)
        self.lines.append(launch_line(now, launch))
        return launch.order

    def observe(self, event):
        self.lines.append(event_line(event, self.ledger.observe(event)))

    def replay(self):
        ledger = self.fresh()
        replayed = replay(ledger, self.lines)
        assert state_of(ledger) == state_of(self.ledger)
        return replayed


def test_nothing():
    replayed = Told(lambda: FIFO(max_resource=9)).replay()
    assert replayed == (0.0, {}, (), None, None, False)


def test_what_was_under_way():
    told = Told(lambda: ASHA(max_resource=9, continue_in_place=False), n_workers=3)
    orders = []
    for k in range(3):
        told.propose(1.0)
        told.accept(1.0, k, {"x": k})
        orders.append(told.start(1.0))
    told.observe(Started(2.0, 0, 0))
    told.observe(Report(3.0, 0, 0, 0, 1, {"loss": 2.0}))
    told.observe(Started(4.0, 1, 0))
    replayed = told.replay()
    assert replayed.time == 4.0
    assert not replayed.filling
    assert [e.order for e in replayed.expected] == orders
    assert [e.time for e in replayed.expected] == [1.0] * 3
    assert [e.running for e in replayed.expected] == [True, True, False]
    assert [e.reports for e in replayed.expected] == [1, 0, 0]
    assert [e.commands for e in replayed.expected] == [(("pause", 3.0),), (), ()]
    told.observe(Paused(5.0, 0, 0, 1))
    assert [e.order.trial for e in told.replay().expected] == [1, 2]
    told.observe(Report(6.0, 1, 0, 0, 1, {"loss": 1.0}))
    told.observe(Paused(7.0, 1, 0, 1))
    again = told.start(8.0)
    assert again.trial == 1
    expected = told.replay().expected[-1]
    assert (expected.order, expected.reports, expected.commands) == (again, 0, ())


def test_a_request_without_an_answer():
    told = Told(lambda: FIFO(max_resource=9))
    told.propose(1.0)
    told.accept(1.0, 0, {"x": 0})
    told.start(1.0)
    told.observe(Report(2.0, 0, 0, 0, 9, {"loss": 0.5}))
    told.propose(2.5, ahead=True)
    replayed = told.replay()
    k, snapshot, time = replayed.request
    assert (k, time, replayed.filling) == (1, 2.5, True)
    assert snapshot.length == 1
    assert [o.value for o in snapshot.observations] == [0.5]
    told.accept(3.0, 1, {"x": 1})
    assert told.replay().request is None


def test_the_end():
    told = Told(lambda: FIFO(max_resource=9))
    told.propose(1.0)
    told.lines.append({"t": 1.0, "event": "idle", "workers": {"proposal": 1}})
    told.lines.append({"t": 7.0, "event": "finished", "reason": "max_cost"})
    told.ledger.end("max_cost")
    replayed = told.replay()
    assert (replayed.finished, replayed.time, replayed.idle) == ("max_cost", 7.0, {"proposal": 1})


def tell_a_story():
    told = Told(lambda: ASHA(max_resource=9, continue_in_place=False), n_workers=2)
    for k in range(2):
        told.propose(1.0)
        told.accept(1.0, k, {"x": k})
        told.start(1.0)
    for k in range(2):
        told.observe(Report(2.0, k, 0, 0, 1, {"loss": float(k)}))
        told.observe(Paused(2.0, k, 0, 1))
    told.start(3.0)
    return told


@pytest.mark.parametrize("n", range(9))  # nothing follows yet from the last two
def test_a_line_left_out_is_noticed(n):
    told = tell_a_story()
    assert len(told.lines) == 11
    with pytest.raises(JournalError):
        replay(told.fresh(), told.lines[:n] + told.lines[n + 1 :])


@pytest.mark.parametrize("n", range(11))
def test_a_line_doubled_is_noticed(n):
    told = tell_a_story()
    with pytest.raises(JournalError):
        replay(told.fresh(), told.lines[: n + 1] + told.lines[n:])


@pytest.mark.parametrize("key", ["trial", "attempt", "index", "resource", "metrics", "status", "t"])
def test_a_field_left_out_is_noticed(key):
    told = tell_a_story()
    line = next(line for line in told.lines if line["event"] == "report")
    del line[key]
    with pytest.raises(JournalError):
        replay(told.fresh(), told.lines)


@pytest.mark.parametrize("line", [{}, {"t": 1.0}, {"t": 1.0, "event": "coffee"}, [], 42, None, "x"])
def test_what_is_no_line_is_refused(line):
    told = tell_a_story()
    with pytest.raises(JournalError):
        replay(told.fresh(), [*told.lines, line])
