"""What is said of scripts that cost their own experiment something."""

from math import inf, nan

import pytest

from asynctune.journal import encode_number
from asynctune.remarks import remarks

INPUTS = {"metric": "loss", "resource": "epoch"}


def start(t, trial, attempt=0):
    return {"t": t, "event": "start", "trial": trial, "attempt": attempt}


def report(t, trial, status="running", decision=None, value=1.0, epoch=None):
    line = {"t": t, "event": "report", "trial": trial, "status": status}
    line["resource"] = int(t) if epoch is None else epoch
    line["metrics"] = {"loss": encode_number(value)}
    return line if decision is None else line | {"decision": decision}


def over(t, trial, event="paused"):
    return {"t": t, "event": event, "trial": trial}


def said(*lines):
    return remarks(INPUTS, lines, 30.0)


def test_nothing_is_said_of_scripts_that_do_as_they_are_told():
    assert said() == []
    # The reports of trials that ran on while no tuner was there are read at once.
    late = [report(50.0, 0, "late"), report(50.2, 0, "late"), over(50.3, 0)]
    assert said(start(0.0, 0), report(50.0, 0, decision="pause"), *late) == []
    resumed = [start(70.0, 0, 1), report(71.0, 0), report(72.0, 0, decision="complete")]
    ended = over(172.0, 0, "ended")  # it may evaluate something as long as it likes
    assert (
        said(start(0.0, 0), report(1.0, 0, decision="pause"), over(2.0, 0), *resumed, ended) == []
    )


@pytest.mark.parametrize(
    ("decision", "after"),
    [
        ("pause", [report(2.5, 0, "late"), over(3.0, 0)]),
        ("complete", [report(2.5, 0, "late"), over(3.0, 0, "ended")]),
        ("pause", [over(31.5, 0)]),  # amid an epoch that took longer than it was given
    ],
)
def test_scripts_that_go_on_are_counted(decision, after):
    told = said(start(0.0, 0), report(1.0, 0, decision=decision), *after)
    assert " ".join(told) == (
        "1 trial went on after being told to pause or stop; "
        "end the script when report() returns true"
    )


def test_reports_that_come_twice_for_want_of_a_checkpoint():
    first = [start(0.0, 0), report(1.0, 0), report(2.0, 0, decision="pause"), over(2.1, 0)]
    again = [start(3.0, 0, 1), report(4.0, 0, "repeated"), report(5.0, 0, "repeated")]
    (told,) = said(*first, *again, report(6.0, 0))
    assert told.startswith("1 trial began anew when resumed, and 2 of 5 reports came twice; ")
    removed = {"t": 2.5, "event": "checkpoint_removed", "trial": 0}
    assert said(*first, removed, *again) == []
    assert said(start(0.0, 0), report(1.0, 0), report(1.0, 0, "repeated")) == []  # as it likes
    twice = [report(4.0, 0, "repeated"), report(7.0, 0), report(7.0, 0, "repeated")]
    (told,) = said(*first, *again, *twice)
    assert " 2 of 7 reports " in told
    assert said(*first, start(3.0, 0, 1), report(4.0, 0), report(4.0, 0, "repeated")) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([nan, nan], ["all 2 values of loss were NaN"]),
        ([inf], ["the value of loss was infinite"]),
        ([nan, -inf], ["all 2 values of loss were NaN or infinite"]),
        ([nan, 1.0], []),
    ],
)
def test_values_that_are_none(values, words):
    assert said(start(0.0, 0), *(report(1.0, 0, value=value) for value in values)) == words
