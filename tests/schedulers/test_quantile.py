"""The running quantile against a sorted list, where its window moves as well."""

from bisect import insort
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctune.schedulers import quantile
from asynctune.schedulers.quantile import RunningQuantile

shares = st.one_of(st.sampled_from([1 / 3, 0.5, 27 / 40, 1e-3, 0.999]), st.floats(0.001, 0.999))
numbers = st.one_of(st.integers(-4, 4).map(float), st.floats(-1e6, 1e6), st.just(inf))


def expected(ranked, share):
    """Return the quantile of numbers in order by its definition; infinity is not approached."""
    position = (len(ranked) - 1) * share
    whole = int(position)
    if whole == position or ranked[whole + 1] == inf:
        return ranked[whole]
    return ranked[whole] + (ranked[whole + 1] - ranked[whole]) * (position - whole)


def check(drawn, share):
    running, ranked = RunningQuantile(share), []
    for n, number in enumerate(drawn, start=1):
        insort(ranked, number)
        assert running.add(number) == running.count == n
        assert running.value == (None if n == 1 else expected(ranked, share))
        assert len(running._around) <= 4 * quantile.REACH
    held = [*running._below, *running._around, *running._above]
    assert sorted(held) == ranked


@pytest.mark.parametrize("reach", [2, 3, 7])
@settings(derandomize=True, max_examples=150, deadline=None)
@given(drawn=st.lists(numbers, max_size=120), share=shares)
def test_it_is_exact_with_a_narrow_window(reach, drawn, share):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantile, "REACH", reach)
        check(drawn, share)


@pytest.mark.parametrize("share", [1 / 3, 0.01, 0.99])
@pytest.mark.parametrize("order", ["random", "rising", "falling", "falling apart", "equal"])
def test_it_is_exact_wherever_the_numbers_come(order, share):
    n = 6_000
    drawn = np.random.default_rng(0).standard_normal(n)
    if order == "rising":
        drawn = np.sort(drawn)
    elif order == "falling":
        drawn = -np.sort(drawn)
    elif order == "falling apart":
        drawn = drawn * np.where(np.arange(n) % 2, 1.0, 1e-3) * np.arange(n)
    elif order == "equal":
        drawn = np.zeros(n)
    check(drawn.tolist(), share)
