import numpy as np
import pytest

from asynctune.gp.cholesky import factorise, factorise_triangle
from asynctune.gp.triangles import diagonal_of, lower, symmetric, triangle


@pytest.mark.parametrize("n", [1, 2, 7])
def test_elements_stand_where_they_are_looked_for(n):
    A = np.random.default_rng(n).random((n, n))
    A = np.asfortranarray(A + A.T)
    packed = triangle(A)
    columns = [A[j:, j] for j in range(n)]
    np.testing.assert_array_equal(packed, np.concatenate(columns))
    np.testing.assert_array_equal(packed[diagonal_of(n)], np.diagonal(A))
    np.testing.assert_array_equal(lower(packed, n), np.tril(A))
    np.testing.assert_array_equal(symmetric(packed, n), A)


@pytest.mark.parametrize("rank", [3, 6])
def test_a_triangle_has_the_factor_of_its_matrix(rank):
    A = np.random.default_rng(0).standard_normal((6, rank))
    K = np.asfortranarray(A @ A.T)
    ours = factorise_triangle(triangle(K), diagonal_of(6))
    np.testing.assert_allclose(ours, factorise(K), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours @ ours.T, K, atol=1e-5)


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan), -np.eye(2)])
def test_a_hopeless_triangle_is_refused(bad):
    with pytest.raises(ValueError, match="a covariance matrix must be"):
        factorise_triangle(triangle(np.asfortranarray(bad)), np.array([0, 2]))
