import pytest

from benchmarks import gp_latency
from benchmarks.peers.process import PEERS, Cost
from benchmarks.peers.report import table


class Flat:
    """Curves that cost nothing to make; the loss is the dropout, and falls."""

    def losses(self, config, number):
        return [config["dropout"] + 1 / epoch for epoch in range(1, 41)]


def test_costs_are_summed_up_in_milliseconds():
    costs = [Cost(0.002, 0.001)] * 19 + [Cost(0.2, 0.1)]
    found = gp_latency.summary(costs)
    assert (found.cpu_median, found.wall_median) == pytest.approx((1.0, 2.0))
    assert found.cpu_p95 == pytest.approx(5.95)  # a twentieth of the way up
    assert found.cpu_mean == pytest.approx(5.95)
    assert found.n == 20


def test_the_ratio_is_ours_over_theirs_and_the_target_decides():
    row = {"kind": "BO", "size": 50, "cpu_median": 10.0, "cpu_p95": 20.0, "cpu_mean": 12.0}
    row |= {"wall_median": 11.0, "n": 20}
    fast = row | {"peer": "Optuna GP", "cpu_median": 100.0, "cpu_p95": 100.0}
    slow = fast | {"peer": "Syne Tune BO", "cpu_p95": 1000.0}
    rows = gp_latency.with_ratios([row | {"peer": "asynctune BO"}, fast, slow])
    assert rows[1]["cpu_median_ratio"] == pytest.approx(0.1)
    lines = gp_latency.show(rows).splitlines()
    assert lines[3].split()[-8:] == ["1/10.0", "|", "1/5.0", "|", "1/8", "|", "no", "|"]
    slow["cpu_p95"] = 160.0
    assert gp_latency.show(gp_latency.with_ratios(rows)).splitlines()[4].endswith("| yes |")


def test_all_observations_and_pending_trials_are_there_before_the_first_timed_proposal():
    costs = gp_latency.time_whole_trials(PEERS["random"], 20, 10, Flat())
    assert costs.n == 10
    assert costs.cpu_median < 50


def test_halving_times_new_trials_only():
    costs = gp_latency.time_halving(PEERS["asynctune MOBSTER"], 40, 30, Flat())
    assert 10 <= costs.n <= 30


def test_the_data_grow_by_a_tenth_while_proposals_are_timed():
    assert all(gp_latency.n_timed(size) > size / 10 for size in (50, 100, 200, 500, 2000))


def test_a_table_is_aligned_and_refuses_a_row_of_another_length():
    lines = table(["peer", "ms"], [["a", "1.0"], ["longer name", "10.0"]]).splitlines()
    assert lines[1] == "| ----------- | ---: |"
    assert lines[2] == "| a           |  1.0 |"
    with pytest.raises(ValueError, match="2 cells"):
        table(["peer", "ms"], [["a"]])
