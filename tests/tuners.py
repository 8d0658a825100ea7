"""What a tuner needs, for tests."""

import time

from asynctune.journal import JournalWriter, header_line
from asynctune.ledger import Ledger
from asynctune.schedulers.fifo import FIFO
from asynctune.searchers.base import Proposal
from asynctune.stopping import RetryPolicy, StoppingCriterion


class Counting:
    """A searcher that proposes {"x": k / 10, "n": 1} after some seconds of work in real time."""

    needs_data = False

    def __init__(self, seconds=0.0, size=10**9):
        self.seconds, self.size = seconds, size

    def propose(self, snapshot, k):
        time.sleep(self.seconds)
        return Proposal(k, {"x": k % 10 / 10, "n": 1} if k < self.size else None)

    def describe(self):
        return {"searcher": "counting"}


def make_ledger(scheduler=None, n_workers=2, max_resource=4, retries=None, **bounds):
    return Ledger(
        scheduler or FIFO(max_resource=max_resource),
        n_workers=n_workers,
        metric="loss",
        mode="min",
        max_resource=max_resource,
        stopping=StoppingCriterion(**bounds or {"max_trials": 3}),
        retries=retries or RetryPolicy(),
    )


def open_journal(path, *, durable=True):
    if not path.exists():
        writer = JournalWriter(path, durable=durable)
        writer.append(header_line({}))
        writer.close()
    return JournalWriter(path, durable=durable)
