import numpy as np
import pytest

from asynctune.gp.newton import descend


def valley(X):
    """Rosenbrock's, whose minimum is 0 at (1, 1)."""
    a, b = 1 - X[:, 0], X[:, 1] - X[:, 0] ** 2
    slope = np.stack([-2 * a - 400 * X[:, 0] * b, 200 * b], axis=1)
    return a**2 + 100 * b**2, slope


def bowl(A, centre):
    def objective(X):
        slope = (X - centre) @ A
        return 0.5 * np.vecdot(X - centre, slope), slope

    return objective


def descended(objective, starts, bounds=(-9.0, 9.0), n=60, radius=(1.0, 1.0), **options):
    return descend(
        objective,
        np.array(starts, dtype=np.float64),
        bounds,
        radius=radius,
        max_evaluations=n,
        least_gain=1e-12,
        **options,
    )


def test_every_start_descends_on_its_own():
    starts = [[-1.2, 1.0], [2.0, 2.0], [0.0, 0.0]]
    together = descended(valley, starts)
    np.testing.assert_allclose(together.X, np.ones((3, 2)), atol=1e-4)
    for start, x in zip(starts, together.X, strict=True):
        np.testing.assert_allclose(descended(valley, [start]).X[0], x, rtol=1e-4)


def test_values_are_those_of_the_points_and_never_rise():
    before = np.inf
    for n in range(1, 12):
        descent = descended(valley, [[-1.2, 1.0]], n=n)
        assert descent.value[0] == valley(descent.X)[0][0]
        assert descent.value[0] <= before
        before = descent.value[0]
    assert before < 4


def test_the_next_point_is_the_one_that_would_have_been_tried():
    for n in range(1, 12):
        here, later = (
            descended(valley, [[-1.2, 1.0]], n=n),
            descended(valley, [[-1.2, 1.0]], n=n + 1),
        )
        value = valley(here.next)[0][0]
        assert later.value[0] == min(value, here.value[0])


def test_a_true_curvature_takes_it_there_in_one_step():
    A = np.array([[3.0, 1.0], [1.0, 2.0]])
    objective = bowl(A, np.array([0.3, -0.2]))
    descent = descended(objective, [[0.0, 0.0]], n=2, curvature=lambda _: A[None])
    np.testing.assert_allclose(descent.X, [[0.3, -0.2]], rtol=1e-12)


def test_stops_at_the_bounds_at_the_best_point_there():
    A = np.array([[3.0, 1.0], [1.0, 2.0]])
    descent = descended(bowl(A, np.array([2.0, 0.0])), [[0.2, 0.9]], bounds=(0.0, 1.0))
    # With the first coordinate at 1, the second is best where 2 y = 1.
    np.testing.assert_allclose(descent.X, [[1.0, 0.5]], atol=1e-5)
    corner = descended(bowl(np.eye(2), np.array([2.0, -2.0])), [[1.0, 0.0]], bounds=(0.0, 1.0))
    np.testing.assert_array_equal(corner.X, [[1.0, 0.0]])
    np.testing.assert_array_equal(corner.next, corner.X)


@pytest.mark.parametrize("curvature", [None, lambda X: np.eye(2)[None] * 1e-6])
def test_no_step_is_longer_than_the_radius(curvature):
    objective = bowl(np.eye(2), np.array([5.0, 5.0]))
    for n in range(1, 20):
        options = {"n": n, "radius": (0.25, 1.0), "curvature": curvature}
        descent = descended(objective, [[0.0, 0.0]], **options)
        length = np.linalg.norm(descent.next - descent.X)
        assert length == pytest.approx(0.25) if n == 1 else length <= 1.0 + 1e-12
    np.testing.assert_allclose(descent.X, [[5.0, 5.0]], atol=1e-3)


def test_evaluations_are_counted_and_spared_where_nothing_is_gained():
    calls = []

    def objective(X):
        calls.append(X)
        return bowl(np.eye(2), np.zeros(2))(X)

    descended(objective, [[3.0, 3.0]], n=3)
    assert len(calls) == 3
    calls.clear()
    descended(objective, [[0.0, 0.0], [0.0, 0.0]])
    assert len(calls) == 1


def test_a_step_leaves_alone_what_is_held():
    A = np.array([[3.0, 1.0, 0.5], [1.0, 2.0, 0.3], [0.5, 0.3, 1.0]])
    # Two coordinates start at bounds they would leave; the others' best step is one step away.
    objective = bowl(A, np.array([-1.0, 0.5, 3.0]))
    descent = descended(
        objective, [[0.0, 0.2, 1.0]], bounds=(0.0, 1.0), n=2, curvature=lambda _: A[None]
    )
    best = 0.5 - (A[1, 0] * 1.0 + A[1, 2] * -2.0) / A[1, 1]
    np.testing.assert_allclose(descent.X, [[0.0, best, 1.0]], rtol=1e-12)
