"""What always holds of a ledger, whatever has happened."""

from collections import Counter
from math import fsum, isclose
from typing import get_args

from asynctune.ledger import Ledger
from asynctune.schedulers.base import WaitReason
from asynctune.testing._require import require
from asynctune.trial import BUSY, State, Trial


def check_ledger(ledger: Ledger) -> None:
    """Check that the books of an experiment balance.

    Args:
        ledger: May be in any state; nothing of it is changed. It is a legal `Observer` of a
            tuner in the form ``lambda ledger, now: check_ledger(ledger)``.

    Raises:
        AssertionError: If they do not.
    """
    for trial in ledger.trials:
        _check_trial(trial, ledger)
    slots = [ledger.trials[number].slot for number in ledger.busy]
    require(len(set(slots)) == len(slots), f"no worker runs two trials; got slots {slots}")
    workers = min(ledger.n_workers, ledger.capacity)
    require(
        ledger.free == workers - len(slots),
        f"{workers} workers are free or busy; got {ledger.free} free and {len(slots)} busy",
    )
    spent = fsum(trial.cost + trial.attempt_cost for trial in ledger.trials)
    require(
        isclose(ledger.cost, spent, rel_tol=1e-9, abs_tol=1e-9),
        f"the cost is the sum over trials, {spent}; got {ledger.cost}",
    )
    resource = sum(trial.highest for trial in ledger.trials)
    require(
        ledger.resource_total == resource,
        f"the resource is the sum over trials, {resource}; got {ledger.resource_total}",
    )
    failed = sum(trial.finished and trial.state is State.FAILED for trial in ledger.trials)
    require(
        ledger.failed == failed, f"{failed} trials have failed for good; counted {ledger.failed}"
    )
    for reason in get_args(WaitReason):
        idle = ledger.idle_reasons(reason)
        missing = ledger.n_workers - len(slots)
        require(
            sum(idle.values()) == missing and all(n > 0 for n in idle.values()),
            f"each of {missing} idle workers has one reason; got {idle}",
        )


def _check_trial(trial: Trial, ledger: Ledger) -> None:
    n, state = trial.number, trial.state
    busy = n in ledger.busy
    require(ledger.trials[n] is trial, f"trial {n} stands at its number")
    require(busy == (state in BUSY), f"trial {n} is busy if and only if its state says so: {state}")
    require(
        0 <= trial.slot < ledger.n_workers if busy else trial.slot == -1,
        f"trial {n} holds a worker if and only if it is {state}; got slot {trial.slot}",
    )
    require(trial.attempt >= 0, f"trial {n} was started; got attempt {trial.attempt}")
    over = state is State.ENDED or (state is State.FAILED and trial.finished)
    require(trial.finished == over, f"trial {n} is finished if and only if it is over; is {state}")
    require(
        state is not State.PAUSED or trial.held,
        f"trial {n} is paused because the scheduler wanted it, else it would go on",
    )
    failures = Counter(trial.failures or {})
    for cause, count in failures.items():
        budget = getattr(ledger.retries, cause)
        require(
            count <= budget + trial.finished,
            f"trial {n} is tried again {budget} times after {cause}; got {count} failures",
        )
