import numpy as np
import pytest

from asynctune.gp.targets import target_scale

LOSSES = np.array([5.2, 5.4, 5.9, 6.1, 6.8, 7.7, 9.9, 10.8, 14.2])


def test_targets_are_standardised_and_keep_the_order():
    targets = target_scale(LOSSES).targets(LOSSES)
    assert targets.mean() == pytest.approx(0, abs=1e-12)
    assert targets.std() == pytest.approx(1)
    assert (np.diff(targets) > 0).all()


def test_good_half_is_linear_and_bad_half_compressed():
    targets = target_scale(LOSSES).targets(LOSSES)
    slopes = np.diff(targets) / np.diff(LOSSES)
    np.testing.assert_allclose(slopes[:4], slopes[0])
    assert (np.diff(slopes[4:]) < 0).all()


def test_one_huge_value_leaves_the_good_ones_apart():
    values = np.append(LOSSES, 1e9)
    targets = target_scale(values).targets(values)
    assert targets[2] - targets[0] > 0.1


def test_targets_do_not_depend_on_the_unit_of_the_metric():
    values = 100.0 * LOSSES - 3.0
    np.testing.assert_allclose(
        target_scale(values).targets(values), target_scale(LOSSES).targets(LOSSES), rtol=1e-9
    )


def test_diverged_trials_are_as_bad_as_the_worst():
    values = np.append(LOSSES, [np.inf, np.inf])
    targets = target_scale(values).targets(values)
    assert np.isfinite(targets).all()
    assert targets[-1] == targets[-2] == targets[:-2].max()
    assert targets.std() == pytest.approx(1)


def test_mostly_diverged_still_tells_the_others_apart():
    values = np.array([np.inf, 6.0, np.inf, 5.0, np.inf, np.inf, 5.5])
    targets = target_scale(values).targets(values)
    assert targets[3] < targets[6] < targets[1]
    assert targets[0] == targets[1]


@pytest.mark.parametrize("values", [[np.inf, np.inf], [4.0], [4.0, 4.0, 4.0], [1e308, -1e308, 0.0]])
def test_degenerate_values_give_finite_targets(values):
    values = np.array(values)
    targets = target_scale(values).targets(values)
    assert np.isfinite(targets).all()
    if len(set(values)) == 1:
        assert (targets == 0).all()


def test_scale_carries_over_to_later_values():
    scale = target_scale(LOSSES)
    later = scale.targets(np.array([4.9, 5.2, np.inf, 20.0]))
    assert later[1] == scale.targets(LOSSES)[0]
    assert later[0] < later[1] < later[3] == later[2]
