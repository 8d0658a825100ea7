"""One thread of linear algebra: more are slower on a few hundred rows, and change the bytes."""

from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    # Made once: it looks through all loaded libraries. scipy's is loaded by the callers.
    return ThreadpoolController()


def one_thread() -> Any:  # noqa: ANN401 - a context manager whose type threadpoolctl hides
    """Return a context in which this process uses one thread for linear algebra.

    So the same snapshot gives the same proposal, to the byte, on one core and on many.
    """
    return _controller().limit(limits=1, user_api="blas")
