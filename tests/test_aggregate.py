import numpy as np
import pytest

from asynctune import aggregate as ag

INF = float("inf")


def run(times, losses, *, end=100.0, seed=0):
    times = np.asarray(times, dtype=float)
    first = float(times.min()) if len(times) else 0.0
    return ag.Run(seed, first, end, ag.best_so_far(times, np.asarray(losses, dtype=float)))


def test_best_so_far_sorts_and_keeps_improvements_only():
    steps = ag.best_so_far(np.array([3.0, 1.0, 2.0, 4.0]), np.array([5.0, 7.0, 8.0, 5.0]))
    assert steps.times.tolist() == [1.0, 3.0]
    assert steps.losses.tolist() == [7.0, 5.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_wins(bad):
    steps = ag.best_so_far(np.array([1.0, 2.0, 3.0]), np.array([bad, 4.0, bad]))
    assert steps.times.tolist() == [2.0]
    assert steps.losses.tolist() == [4.0]


def test_of_one_instant_the_best_counts():
    steps = ag.best_so_far(np.array([1.0, 1.0, 1.0]), np.array([4.0, 3.0, 5.0]))
    assert steps.times.tolist() == [1.0]
    assert steps.losses.tolist() == [3.0]


def test_nothing_reported_is_an_empty_curve():
    steps = ag.best_so_far(np.array([]), np.array([]))
    assert len(steps.times) == 0
    assert ag.losses_at(steps, np.array([0.0, 9.0])).tolist() == [INF, INF]


def test_a_step_holds_from_its_own_time_on():
    steps = ag.best_so_far(np.array([1.0, 3.0]), np.array([7.0, 5.0]))
    when = np.array([0.5, 1.0, 2.9, 3.0, 50.0])
    assert ag.losses_at(steps, when).tolist() == [INF, 7.0, 7.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("n", "weights"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [1 / 6, 2 / 3, 1 / 6]),
        (4, [0, 0.5, 0.5, 0]),
        (5, [0, 0.3, 0.4, 0.3, 0]),
        (6, [0, 1 / 6, 1 / 3, 1 / 3, 1 / 6, 0]),
        (8, [0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0]),
    ],
)
def test_iqm_weights(n, weights):
    np.testing.assert_allclose(ag.iqm_weights(n), weights, atol=1e-15)


@pytest.mark.parametrize("n", range(1, 30))
def test_iqm_weights_sum_to_one_and_are_symmetric(n):
    weights = ag.iqm_weights(n)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-15)


def test_no_values_have_no_iqm():
    with pytest.raises(ValueError, match="at least one value; got 0"):
        ag.iqm_weights(0)


def test_iqm_ignores_order_and_outliers():
    losses = np.array([[9.0, 1.0], [2.0, INF], [3.0, 2.0], [1.0, 3.0], [4.0, 4.0]])
    np.testing.assert_allclose(ag.iqm(losses), [0.3 * 2 + 0.4 * 3 + 0.3 * 4] * 2)


def test_iqm_is_infinite_only_where_an_infinity_has_weight():
    assert np.isfinite(ag.iqm(np.array([1.0, 2.0, 3.0, 4.0, INF])))
    assert ag.iqm(np.array([1.0, 2.0, 3.0, INF, INF])) == INF


def test_band_is_seeded_and_contains_the_iqm():
    losses = np.random.default_rng(3).normal(size=(12, 40))
    low, high = ag.iqm_band(losses)
    again = ag.iqm_band(losses)
    assert low.tolist() == again[0].tolist()
    assert high.tolist() == again[1].tolist()
    assert low.tolist() != ag.iqm_band(losses, seed=1)[0].tolist()
    centre = ag.iqm(losses)
    assert np.all((low <= centre) & (centre <= high))
    assert np.all((losses.min(axis=0) <= low) & (high <= losses.max(axis=0)))


def test_band_is_the_bootstrap_over_runs():
    # Oracle: resample the runs themselves, with other draws, and take interpolated percentiles.
    losses = np.random.default_rng(5).normal(size=(10, 3))
    low, high = ag.iqm_band(losses, resamples=20000)
    draws = np.random.default_rng(6).integers(10, size=(20000, 10))
    resampled = np.stack([ag.iqm(losses[draw]) for draw in draws])
    np.testing.assert_allclose(low, np.quantile(resampled, 0.025, axis=0), atol=0.03)
    np.testing.assert_allclose(high, np.quantile(resampled, 0.975, axis=0), atol=0.03)


def test_band_covers_the_mean_of_a_normal_population():
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        low, high = ag.iqm_band(rng.normal(size=(20, 1)), resamples=400)
        hits += low[0] <= 0 <= high[0]
    assert 0.87 <= hits / 200 <= 0.99


def test_one_run_has_no_band():
    low, high = ag.iqm_band(np.ones((1, 3)))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_curve_starts_at_the_latest_first_report_and_carries_on():
    runs = [run([1, 5], [9, 7], end=6.0), run([2, 8], [8, 4], end=10.0)]
    curve = ag.aggregate(runs)
    assert curve.times.tolist() == [2.0, 5.0, 8.0, 10.0]
    np.testing.assert_allclose(curve.iqm, [8.5, 7.5, 5.5, 5.5])


def test_curve_of_one_run_is_the_run():
    curve = ag.aggregate([run([1, 5, 7], [9, 7, 8], end=10.0)])
    assert curve.times.tolist() == [1.0, 5.0, 10.0]
    assert curve.iqm.tolist() == [9.0, 7.0, 7.0]


def test_a_run_without_any_value_counts_as_worst():
    good = [run([1, 5], [9, 7 + s], seed=s) for s in range(4)]
    curve = ag.aggregate([*good, run([3], [np.nan], seed=4)])
    assert curve.times[0] == 3.0
    assert curve.iqm[-1] == pytest.approx(0.3 * 8 + 0.4 * 9 + 0.3 * 9)
    nothing_yet = ag.aggregate([run([1, 5], [9, 7]), run([3], [np.nan])])
    assert len(nothing_yet.times) == 0


def test_curve_with_too_many_steps_is_read_off_a_grid():
    times = np.linspace(1, 90, 1000)
    runs = [run(times, 100 - times - s / 10, end=100.0) for s in range(3)]
    curve = ag.aggregate(runs, points=50)
    assert len(curve.times) == 50
    assert (curve.times[0], curve.times[-1]) == (1.0, 100.0)
    exact = ag.iqm(np.stack([ag.losses_at(r.steps, curve.times) for r in runs]))
    np.testing.assert_allclose(curve.iqm, exact)


def test_no_runs_have_no_curve():
    with pytest.raises(ValueError, match="at least one run"):
        ag.aggregate([])


def test_time_to_reach():
    one = run([1, 5], [9, 7])
    assert ag.time_to_reach(one, 9.0) == 1.0
    assert ag.time_to_reach(one, 8.99) == 5.0
    assert ag.time_to_reach(one, 7.0) == 5.0
    assert ag.time_to_reach(one, 6.9) == INF
    assert ag.time_to_reach(run([], []), 6.9) == INF


def test_reach_counts_those_that_never_get_there():
    runs = [run([10 * (s + 1)], [s]) for s in range(5)]
    most = ag.reach(runs, 2.0)
    assert (most.reached, most.median) == (3, 30.0)
    few = ag.reach(runs, 1.0)
    assert (few.reached, few.median) == (2, INF)


def test_probability_lower():
    first, second = np.arange(5.0), np.arange(5.0) + 10
    assert ag.probability_lower(first, second, paired=False) == 1.0
    assert ag.probability_lower(second, first, paired=True) == 0.0
    assert ag.probability_lower(first, first, paired=True) == 0.5
    with pytest.raises(ValueError, match="equally many"):
        ag.probability_lower(first, second[:4], paired=True)


def test_pairing_sees_a_small_difference_that_spread_between_seeds_hides():
    seeds = np.array([0.0, 3.0, 6.0, 9.0, 12.0])
    assert ag.probability_lower(seeds, seeds + 0.1, paired=True) == 1.0
    assert ag.probability_lower(seeds, seeds + 0.1, paired=False) < 0.8


def test_speed_up_band():
    slow = np.array([10.0, 12.0, 14.0])
    low, high = ag.speed_up_band(slow, slow / 2, paired=True)
    assert (low, high) == (2.0, 2.0)
    low, high = ag.speed_up_band(np.array([10.0, INF, INF]), np.full(3, 5.0), paired=False)
    assert (low, high) == (2.0, INF)
    low, high = ag.speed_up_band(np.full(3, 5.0), np.array([10.0, INF, INF]), paired=False)
    assert (low, high) == (0.0, 0.5)
    low, high = ag.speed_up_band(np.full(3, INF), np.full(3, INF), paired=True)
    assert (low, high) == (0.0, INF)
