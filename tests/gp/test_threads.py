import pytest
from scipy.linalg.blas import dgemm  # noqa: F401 - so that its library is there to be limited
from threadpoolctl import ThreadpoolController

from asynctune.gp.threads import one_thread


def counts():
    return [
        lib.num_threads for lib in ThreadpoolController().select(user_api="blas").lib_controllers
    ]


@pytest.mark.parametrize("outside", [1, 2])
def test_there_is_one_thread_inside_and_what_there_was_outside(outside):
    with ThreadpoolController().limit(limits=outside, user_api="blas"):
        before = counts()
        with one_thread():
            assert set(counts()) == {1}
        assert counts() == before
