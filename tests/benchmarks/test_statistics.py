import numpy as np
import pytest

from benchmarks.peers.statistics import counted, mean_ranks, resolved, verdict


def test_ranks_are_means_over_seeds_and_equals_share_theirs():
    finals = {"a": np.array([1.0, 1.0]), "b": np.array([2.0, 1.0]), "c": np.array([3.0, 0.0])}
    assert mean_ranks(finals) == {"a": 1.75, "b": 2.25, "c": 2.0}


def test_differences_below_the_resolution_are_none():
    values = resolved(np.array([0.3979, 0.39841, 0.41]), 1e-3)
    assert values[0] == values[1] != values[2]


def test_a_verdict_needs_evidence():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0, 1, 10), rng.normal(3, 1, 10)
    assert verdict(low, high) == "win"
    assert verdict(high, low) == "loss"
    assert verdict(low[:2], high[:2]) == "tie"
    assert verdict(low, low + 0.01) == "tie"
    assert verdict(np.ones(5), np.ones(5)) == "tie"


@pytest.mark.parametrize(("given", "shown"), [([], "0/0/0"), (["win", "loss", "win"], "2/0/1")])
def test_verdicts_are_counted(given, shown):
    assert counted(given) == shown
