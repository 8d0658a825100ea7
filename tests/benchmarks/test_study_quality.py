from math import isnan

import pytest

from benchmarks.peers import virtual
from benchmarks.peers.process import PEERS, Cost, running
from benchmarks.peers.space import Parameter
from benchmarks.peers.wire import Asked
from benchmarks.study_quality import Setup, as_run, figures, judged, ratios, show

SPACE = (Parameter("x", low=0, high=1),)


class Scripted:
    """An optimizer that stops its second trial after one level and resumes its first."""

    def __init__(self):
        self.asked = iter([Asked(0, {"x": 0.1}), Asked(1, {"x": 0.2}), Asked(0, {"x": 0.1}, 1)])
        self.told = []

    def ask(self):
        return next(self.asked, Asked(9, {"x": 0.9})), Cost(0, 0)

    def tell(self, number, value, resource):
        self.told.append((number, resource, value))
        return {0: "pause", 1: "stop"}.get(number, "continue"), Cost(0, 0)


def test_virtual_time_has_start_ups_and_a_resumed_trial_goes_on_where_it_was():
    def curve(config, number):
        return virtual.Curve([3.0, 2.0, 1.0], [10.0, 25.0, 45.0])

    scripted = Scripted()
    reports = virtual.simulate(scripted, curve, n_workers=1, seconds=340, startup_delay=100)
    assert reports == [(110.0, 3.0), (220.0, 3.0), (335.0, 2.0)]
    assert scripted.told == [(0, 1, 3.0), (1, 1, 3.0), (0, 2, 2.0)]


def test_asha_promotes_in_virtual_time():
    def curve(config, number):
        return virtual.Curve(
            [config["x"] + 1 / r for r in range(1, 10)], [10.0 * r for r in range(1, 10)]
        )

    with running(PEERS["asynctune MOBSTER"], SPACE, seed=0, max_resource=9) as process:
        reports = virtual.simulate(process, curve, n_workers=3, seconds=400, startup_delay=5)
    times = [when for when, _ in reports]
    assert times == sorted(times)
    assert times[0] == 15.0
    assert min(loss for _, loss in reports) < 0.6


def rows_of(ours, theirs):
    """Return figures of runs of MOBSTER given as lists of reports."""
    runs = {
        Setup("asynctune", "MOBSTER", 4): tuple(as_run(s, r, 1000) for s, r in enumerate(ours)),
        Setup("Syne Tune", "MOBSTER", 4): tuple(as_run(s, r, 1000) for s, r in enumerate(theirs)),
    }
    return figures(runs, 1000)


def test_reports_after_the_end_do_not_count():
    run = as_run(0, [(10.0, 6.0), (20.0, 7.0), (1001.0, 1.0)], 1000)
    assert run.steps.losses.tolist() == [6.0]
    assert (run.first_report, run.end) == (10.0, 1000)


def test_times_are_compared_method_by_method():
    ours = [[(100.0, 5.4), (200.0, 5.2)], [(120.0, 5.4), (240.0, 5.1)]]
    theirs = [[(200.0, 5.4), (400.0, 5.3)], [(240.0, 5.4), (480.0, 5.2)]]
    rows = rows_of(ours, theirs)
    (row,) = ratios(rows, 1000)
    assert (row["ratio_5.5"], row["ratio_5.3"]) == (0.5, 0.5)
    assert row["final"] == pytest.approx(-0.1)
    assert judged(row) == "met"
    text = "\n".join(show(rows, [row]))
    assert "110 (2/2)" in text
    assert "| met |".replace(" ", "") in text.replace(" ", "")


def test_a_loss_that_is_never_reached_gives_a_bound():
    fast, slow, poor = [(600.0, 5.2)], [(900.0, 5.2)], [(100.0, 5.9)]
    (row,) = ratios(rows_of([fast], [poor]), 1000)
    assert (row["ratio_5.5"], row["bound_5.5"]) == (0.6, "<")
    assert judged(row) == "met"
    (row,) = ratios(rows_of([slow], [poor]), 1000)
    assert judged(row) == "open"
    (row,) = ratios(rows_of([poor], [fast]), 1000)
    assert row["bound_5.3"] == ">"
    assert judged(row) == "missed"
    (row,) = ratios(rows_of([poor], [poor]), 1000)
    assert row["ratio_5.3"] is None
    assert judged(row) == "open"
    (row,) = ratios(rows_of([slow], [fast]), 1000)
    assert judged(row) == "missed"


def test_one_seed_has_no_band():
    row = rows_of([[(1.0, 5.0)]], [[(1.0, 5.0)]])[0]
    assert isnan(row["low"])
    assert isnan(row["high"])
