"""Rungs against sorted lists and numpy's quantile."""

from math import floor, inf, log, ulp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctune.exceptions import UsageError
from asynctune.schedulers.rungs import Rung, expected_counts, rung_levels

quantiles = st.one_of(
    st.sampled_from([1 / 3, 1 / 2, 0.25, 27 / 40, 9 / 10, 1e-3, 0.999]),
    st.floats(0.001, 0.999),
)
finite = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))
values = st.one_of(finite, st.just(inf))


def bounds_of(entries, quantile):
    """Return the order statistics that the quantile lies between, and where between them."""
    ranked = sorted(entries)
    position = (len(ranked) - 1) * quantile
    low = floor(position)
    return ranked[low], ranked[min(low + 1, len(ranked) - 1)], position - low


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(finite, min_size=1, max_size=80), quantiles)
def test_the_cutoff_is_the_quantile_of_all_entries(entries, quantile):
    rung = Rung(1, quantile)
    for n, value in enumerate(entries, start=1):
        rung.enter(value)
        assert len(rung) == n
        if n == 1:
            assert rung.cutoff() is None
            continue
        seen = entries[:n]
        expected = float(np.quantile(seen, quantile, method="linear"))
        size = max(map(abs, bounds_of(seen, quantile)[:2]))
        assert rung.cutoff() == pytest.approx(expected, rel=0, abs=4 * ulp(size))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(values, min_size=2, max_size=60), quantiles)
def test_infinite_entries_count_and_never_make_room_for_themselves(entries, quantile):
    rung = Rung(1, quantile)
    for value in entries:
        rung.enter(value)
    low, high, fraction = bounds_of(entries, quantile)
    if high == inf:
        assert rung.cutoff() == low
    else:
        assert rung.cutoff() == pytest.approx(low + (high - low) * fraction, rel=1e-15)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(values, st.booleans(), st.booleans()), max_size=60), quantiles)
def test_the_best_waiting_trial_is_promoted_if_it_is_good_enough(history, quantile):
    rung = Rung(1, quantile)
    waiting = {}
    entered = []
    for trial, (value, promotes, withdraws) in enumerate(history):
        rung.enter(value)
        rung.wait(trial, value)
        entered.append(value)
        waiting[trial] = value
        if withdraws:
            rung.withdraw(min(waiting))
            del waiting[min(waiting)]
        best = min(((v, t) for t, v in waiting.items() if v < inf), default=None)
        good = best is not None and len(entered) > 1 and best[0] <= rung.cutoff()
        assert rung.promotable() == (best if good else None)
        first = min(((v, t) for t, v in waiting.items()), default=(inf, inf))
        for newcomer in ((value, -1), (value, 99), (rung.cutoff() or 0.0, 99), (-inf, 99)):
            at_once = len(entered) > 1 and newcomer[0] <= rung.cutoff() and newcomer[0] < inf
            assert rung.promotes(newcomer[1], newcomer[0]) == (at_once and newcomer < first)
        assert rung.waiting() == len(waiting)
        if good and promotes:
            assert rung.promote() == best[1]
            del waiting[best[1]]


def test_many_entries_are_quick():
    # 200,000 entries: a quantile over all of them at each would take minutes.
    rung = Rung(1, 1 / 3)
    draws = np.random.default_rng(0).standard_normal(200_000)
    for value in draws.tolist():
        rung.enter(value)
        rung.cutoff()
    assert rung.cutoff() == pytest.approx(np.quantile(draws, 1 / 3), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [
        ((40, 1, 3), (1, 3, 9, 27)),
        ((27, 1, 3), (1, 3, 9)),
        ((28, 1, 3), (1, 3, 9, 27)),
        ((81, 3, 3), (3, 9, 27)),
        ((16, 1, 2), (1, 2, 4, 8)),
        ((100, 1, 4), (1, 4, 16, 64)),
        ((10, 1, 1.2), (1, 2, 3, 4, 5, 6, 7, 9)),
        ((10, 1, 2.5), (1, 2, 6)),
        ((1, 1, 3), ()),
        ((5, 5, 3), ()),
        ((5, 4, 3), (4,)),
    ],
)
def test_rung_levels(arguments, levels):
    assert rung_levels(*arguments) == levels


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(1, 200), st.integers(1, 20), st.floats(1.01, 10))
def test_rung_levels_are_the_rounded_powers(max_resource, grace, eta):
    if grace > max_resource:
        return
    levels = rung_levels(max_resource, grace, eta)
    powers = [grace * eta**k for k in range(600) if k * log(eta) < 7]
    assert all(any(abs(level - p) <= 0.5 + 1e-9 for p in powers) for level in levels)
    assert all(round(p) in levels for p in powers if p + 0.5 < max_resource and p % 1 != 0.5)
    assert list(levels) == sorted(set(levels))
    assert all(grace <= level < max_resource for level in levels)
    assert (levels[:1] == (grace,)) == (grace < max_resource)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 3), "max_resource must be at least 1; got 0"),
        ((9, 0, 3), "grace_period must lie between 1 and max_resource 9; got 0"),
        ((9, 10, 3), "grace_period must lie between 1 and max_resource 9; got 10"),
        ((9, 1, 1), "reduction_factor must be above 1; got 1"),
        ((9, 1, float("nan")), "reduction_factor must be above 1; got nan"),
        ((9, 1, inf), "reduction_factor must be above 1; got inf"),
    ],
)
def test_bad_levels_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        rung_levels(*arguments)


def test_expected_counts():
    assert expected_counts((1, 3, 9, 27), 40, 40) == pytest.approx(
        (40, 40 / 3, 40 / 9, 40 / 27, 1.0)
    )
    assert expected_counts((), 1, 7) == (7.0,)
