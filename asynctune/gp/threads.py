"""One thread of linear algebra: more are slower on a few hundred rows, and change the bytes."""

from contextlib import nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    # Made once: it looks through all loaded libraries. scipy's is loaded by the callers.
    return ThreadpoolController().select(user_api="blas")


def one_thread() -> Any:  # noqa: ANN401 - a context manager whose type threadpoolctl hides
    """Return a context in which this process uses one thread for linear algebra.

    So the same snapshot gives the same proposal, to the byte, on one core and on many.
    """
    controller = _controller()
    if all(library.num_threads == 1 for library in controller.lib_controllers):
        return nullcontext()
    return controller.limit(limits=1)
