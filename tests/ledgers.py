"""Ledgers for tests."""

from asynctune.ledger import Ledger
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.fifo import FIFO
from asynctune.stopping import RetryPolicy, StoppingCriterion

MAX = 9
RETRIES = RetryPolicy(
    user_error=0, infrastructure=2, preemption=3, timeout=1, backoff=10.0, max_failures=10**6
)
SCHEDULERS = {
    "FIFO": lambda: FIFO(max_resource=MAX),
    "promotion": lambda: ASHA(max_resource=MAX),
    "new attempts": lambda: ASHA(max_resource=MAX, continue_in_place=False),
    "stopping": lambda: ASHA(max_resource=MAX, type="stopping"),
}


def make_ledger(scheduler="promotion", n_workers=3, retries=RETRIES, mode="min", **bounds):
    return Ledger(
        SCHEDULERS[scheduler](),
        n_workers=n_workers,
        metric="loss",
        mode=mode,
        max_resource=MAX,
        stopping=StoppingCriterion(**bounds or {"max_trials": 1000}),
        retries=retries,
    )
