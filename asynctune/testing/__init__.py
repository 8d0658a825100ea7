"""Conformance kit: run your own scheduler, searcher or backend through it.

Each function raises `AssertionError`, with a sentence that names the broken rule, where a part
does not keep what its protocol promises. They need no test framework.
"""

from asynctune.testing._ledger import check_ledger as check_ledger
from asynctune.testing._ledger import state_of as state_of

__all__ = ["check_ledger", "state_of"]
