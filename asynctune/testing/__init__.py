"""Conformance kit: run your own scheduler, searcher or backend through it.

Each function raises `AssertionError`, with a sentence that names the broken rule, where a part
does not keep what its protocol promises. They need no test framework.
"""

from asynctune.testing._backend import check_backend as check_backend
from asynctune.testing._ledger import check_ledger as check_ledger
from asynctune.testing._scheduler import check_scheduler as check_scheduler
from asynctune.testing._searcher import check_searcher as check_searcher
from asynctune.testing._state import state_of as state_of

__all__ = ["check_backend", "check_ledger", "check_scheduler", "check_searcher", "state_of"]
