"""Stories are told of journals that a ledger has written."""

import math

import pytest
from scripted_journal import Script

from asynctune.events import (
    CapacityChanged,
    Cause,
    CheckpointRemoved,
    Ended,
    Failed,
    Paused,
    Started,
)
from asynctune.exceptions import JournalError, UsageError
from asynctune.explain import explain, explain_idle
from asynctune.journal import proposal_line
from asynctune.searchers.base import Fit, Proposal
from asynctune.stopping import RetryPolicy
from asynctune.wording import plural, readable_time


def test_a_trial_that_is_paused_and_promoted(tmp_path):
    script = Script(tmp_path)
    script.happen(Started(5.0, 0, 0), Started(5.0, 1, 0))
    script.report(65.0, 0, 1, 2.0, cost=0.01)
    script.happen(Paused(66.0, 0, 0, 1, 0.011))
    script.report(75.0, 1, 1, 3.0)  # trial 0 is promoted as soon as a worker is free
    script.happen(Paused(76.5, 1, 0, 1, 0.01))
    script.happen(Started(90.0, 0, 1))
    script.report(150.0, 0, 2, 1.5)
    script.report(210.0, 0, 3, 1.25, cost=0.04)
    script.happen(Paused(211.0, 0, 1, 3, 0.05))
    script.end(7200.0)
    happened, end = script.story(0)
    assert happened == [
        (
            "  0:00:00  started on worker 0, to epoch 9 at most: the worker was free, "
            "and no paused trial could be promoted"
        ),
        "  0:00:05  runs, after 5 s of start-up",
        (
            "  0:01:05  epoch 1: loss 2; rung 1: rank 1 of 1 entry, "
            "one entry makes no cut-off yet: paused"
        ),
        "  0:01:06  paused with the checkpoint of epoch 1; worker 0 free after 1 min 06 s",
        (
            "  0:01:16  promoted from rung 1 to 3: 2 is at or below the cut-off 2.33333 "
            "(rank 1 of 2 entries)"
        ),
        (
            "  0:01:16  resumed on worker 1 (attempt 2) from the checkpoint of epoch 1, "
            "to epoch 9 at most, after 10 s waiting for its promotion"
        ),
        "  0:01:30  runs, after 14 s of start-up",
        "  0:02:30  epoch 2: loss 1.5",
        (
            "  0:03:30  epoch 3: loss 1.25; rung 3: rank 1 of 1 entry, "
            "one entry makes no cut-off yet: paused"
        ),
        "  0:03:31  paused with the checkpoint of epoch 3; worker 1 free after 2 min 14 s",
    ]
    assert end == [
        "end: it was paused when the experiment ended (max_wallclock_time) at 2 h",
        "needed: a second entry of rung 3, without which there is no cut-off",
        "best: loss 1.25 at epoch 3",
        "reports: 3",
        "attempts: 2, on workers 0, 1",
        "cost: 3 min 20 s of a worker, $0.06",
    ]
    assert script.story(1)[1][:2] == [
        "end: it was paused when the experiment ended (max_wallclock_time) at 2 h",
        (
            "needed: loss at or below 2.33333, the final cut-off; "
            "its 3 is rank 2 of 2 entries of rung 1"
        ),
    ]


def test_a_start_up_whose_end_is_known_beforehand(tmp_path):
    script = Script(tmp_path, startup=200.0)
    assert script.story(0)[1][0].startswith("end: it was starting up")
    script.report(260.0, 0, 1, 2.0)
    script.report(270.0, 1, 1, 3.0)
    script.happen(Paused(300.0, 0, 0, 1))  # and goes on at once
    first = "  0:03:20  runs, after 3 min 20 s of start-up"
    assert [line for line in script.story(0)[0] if "runs, after" in line] == [first]
    script.end(600.0)
    happened, end = script.story(0)
    assert happened[1] == first
    assert happened[-1] == "  0:08:20  runs, after 3 min 20 s of start-up"
    assert end[0].startswith("end: it was running")


def test_the_heading_config_and_origin(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=1)
    script.fit = Fit((0.0,), 1)
    script.report(3600.0, 0, 9, 1.0)
    script.happen(Ended(3700.0, 0, 0))
    told = explain(tmp_path, 0)
    assert told[:4] == [
        f"trial 0 of {tmp_path.name} (RS on toy, 1 worker)",
        "config: lr 0.001, momentum 0.495",
        (
            "from: a config to begin with: given, or the midpoint of the space if none was; "
            "ready at 0 s"
        ),
        "",
    ]
    second = explain(tmp_path, 1)
    assert second[2] == (
        "from: drawn at random from the config space, fitted to 1 of 1 observation; "
        "ready at 1 h 02 min"
    )
    assert second[4].endswith("started on worker 0, to epoch 9 at most: the worker was free")


def test_in_place_promotions_and_reports_between(tmp_path):
    script = Script(tmp_path, n_workers=2)
    script.report(10.0, 1, 1, 5.0)
    script.report(20.0, 0, 1, 2.0)
    script.report(30.0, 0, 2, 1.9)
    script.report(40.0, 0, 3, math.nan, cost=0.3)
    happened, end = script.story(0)
    assert happened[1:] == [
        (
            "  0:00:20.00  epoch 1: loss 2; rung 1: rank 1 of 2 entries, at or below the cut-off "
            "3: promoted in place to 3"
        ),
        "  0:00:30.00  epoch 2: loss 1.9",
        (
            "  0:00:40.00  epoch 3: loss nan; rung 3: rank 1 of 1 entry, "
            "a value that is not finite goes no further: paused"
        ),
    ]
    assert end[:2] == [
        "end: it was being paused when the unfinished journal ends at 40 s",
        "best: loss 1.9 at epoch 2",
    ]
    assert end[-1] == "cost: 40 s of a worker, $0.30"


def test_a_row_of_reports_is_one_line(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=1)
    for epoch in range(1, 10):
        script.report(60.0 * epoch, 0, epoch, 10.0 - epoch)
    script.happen(Ended(541.0, 0, 0, 0.5))
    happened, end = script.story(0)
    assert happened[1:] == [
        "  0:08:00  epoch 1 to 8: loss 9 to 2",
        "  0:09:00  epoch 9: loss 1; complete, as this is epoch 9",
        "  0:09:01  ended, complete; worker 0 free after 9 min 01 s",
    ]
    assert end == [
        "end: it is complete",
        "best: loss 1 at epoch 9",
        "reports: 9",
        "attempts: 1, on worker 0",
        "cost: 9 min 01 s of a worker, $0.50",
    ]


def test_stopped_for_good_with_a_late_report(tmp_path):
    script = Script(tmp_path, type="stopping")
    script.report(10.0, 0, 1, 1.0)
    script.report(12.0, 1, 1, 2.0)
    script.report(22.0, 1, 2, 1.8)
    script.report(32.0, 1, 3, 1.7)
    script.happen(Ended(33.0, 1, 0, 0.1))
    assert script.story(0)[0] == [
        "  0:00:00.00  started on worker 0, to epoch 9 at most: the worker was free",
        (
            "  0:00:10.00  epoch 1: loss 1; rung 1: rank 1 of 1 entry, one entry makes no cut-off "
            "yet: goes on to 3"
        ),
    ]
    happened, end = script.story(1)
    assert happened[1:] == [
        (
            "  0:00:12.00  epoch 1: loss 2; rung 1: rank 2 of 2 entries, above the cut-off "
            "1.33333: stopped for good"
        ),
        (
            "  0:00:32.00  epoch 2 to 3: loss 1.8 to 1.7; late, while it was being stopped: "
            "recorded, and nothing follows"
        ),
        "  0:00:33.00  stopped; worker 1 free after 33 s",
    ]
    assert end == [
        "end: it was stopped",
        "best: loss 2 at epoch 1",
        "reports: 1, 2 late",
        "attempts: 1, on worker 1",
        "cost: 33 s of a worker, $0.10",
    ]


def test_promoted_while_its_pause_is_on_the_way(tmp_path):
    script = Script(tmp_path)
    script.report(10.0, 0, 1, 2.0)
    script.report(11.0, 1, 1, 3.0)
    script.happen(Paused(12.0, 1, 0, 1))
    script.happen(Paused(30.0, 0, 0, 1))
    happened, end = script.story(0)
    assert happened[2:] == [
        (
            "  0:00:12.00  promoted from rung 1 to 3: 2 is at or below the cut-off 2.33333 "
            "(rank 1 of 2 entries); it goes on once its pause is confirmed"
        ),
        "  0:00:30.00  paused with the checkpoint of epoch 1; worker 0 free after 30 s",
        (
            "  0:00:30.00  resumed on worker 0 (attempt 2) from the checkpoint of epoch 1, "
            "to epoch 9 at most, after 0 s waiting for a worker"
        ),
    ]
    assert end[0] == "end: it was starting up when the unfinished journal ends at 30 s"


def test_failures_retries_and_repeated_reports(tmp_path):
    script = Script(
        tmp_path, method="RS", n_workers=1, max_trials=1, retries=RetryPolicy(infrastructure=2)
    )
    for epoch in (1, 2, 3):
        script.report(60.0 * epoch, 0, epoch, 4.0 - epoch)
    script.happen(Failed(200.0, 0, 0, Cause.INFRASTRUCTURE, "disk\nfull", 1, 0.25))
    script.fill(210.0)
    script.happen(Started(220.0, 0, 1))
    script.report(280.0, 0, 2, 2.5)
    script.report(285.0, 0, 3, 1.5)
    script.report(290.0, 0, 4, 0.5)
    script.happen(Failed(300.0, 0, 1, Cause.PREEMPTION, "", 0, 0.25))
    script.happen(Failed(320.0, 0, 2, Cause.INFRASTRUCTURE, "cable", 0, 0.25))
    assert script.story(0)[1][0] == (
        "end: it was waiting for its back-off of 20 s and for a worker "
        "when the unfinished journal ends at 5 min 20 s"
    )
    script.fill(400.0)
    script.happen(Failed(410.0, 0, 3, Cause.INFRASTRUCTURE, "fire", 0, 0.25))
    happened, end = script.story(0)
    assert happened[1:] == [
        "  0:03:00  epoch 1 to 3: loss 3 to 1",
        (
            "  0:03:20  failed (infrastructure: full), retry 1 of 2 follows after "
            "a back-off of 10 s; worker 0 free after 3 min 20 s"
        ),
        (
            "  0:03:30  resumed on worker 0 (attempt 2) from the checkpoint of epoch 1, "
            "epoch 2 to 3 once more, to epoch 9 at most, "
            "after 10 s waiting for its back-off of 10 s and for a worker"
        ),
        "  0:03:40  runs, after 10 s of start-up",
        (
            "  0:04:45  epoch 2 to 3: loss 2.5 to 1.5; repeated: recorded, "
            "and the value told first stands"
        ),
        "  0:04:50  epoch 4: loss 0.5",
        (
            "  0:05:00  failed (preemption: no message), retry 1 of 20 follows; "
            "worker 0 free after 1 min 30 s"
        ),
        (
            "  0:05:00  resumed on worker 0 (attempt 3) from scratch, epoch 1 to 4 once more, "
            "to epoch 9 at most, after 0 s waiting for a worker"
        ),
        (
            "  0:05:20  failed (infrastructure: cable), retry 2 of 2 follows after "
            "a back-off of 20 s; worker 0 free after 20 s"
        ),
        (
            "  0:06:40  resumed on worker 0 (attempt 4) from scratch, epoch 1 to 4 once more, "
            "to epoch 9 at most, after 1 min 20 s waiting for its back-off of 20 s and for a worker"
        ),
        (
            "  0:06:50  failed (infrastructure: fire) for good: 2 retries allowed "
            "after this cause; worker 0 free after 10 s"
        ),
    ]
    assert end == [
        "end: it failed for good",
        "best: loss 0.5 at epoch 4",
        "reports: 4, 2 repeated",
        "attempts: 4, on worker 0",
        "failures: 3 by infrastructure, 1 by preemption",
        "cost: 5 min 20 s of a worker, $1.00",
    ]


def test_ends_of_their_own(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=3)
    script.happen(Ended(10.0, 0, 0))
    script.report(20.0, 1, 4, 0.5)
    script.happen(Ended(21.0, 1, 0))
    script.report(30.0, 2, 9, 0.5)
    script.happen(Failed(31.0, 2, 0, Cause.USER_ERROR, "Traceback:\n  OSError: gone\n"))
    happened, end = script.story(0)
    assert happened[-1] == (
        "  0:00:10.00  failed (user_error: it ended without any report) for good: "
        "0 retries allowed after this cause; worker 0 free after 10 s"
    )
    assert end[:3] == ["end: it failed for good", "reports: 0", "attempts: 1, on worker 0"]
    happened, end = script.story(1)
    assert happened[-1] == "  0:00:21.00  ended by itself at epoch 4; worker 1 free after 21 s"
    assert end[0] == "end: it ended by itself"
    happened, end = script.story(2)
    assert happened[-1] == (
        "  0:00:31.00  failed while about to end, complete (user_error: OSError: gone), "
        "which changes nothing; worker 2 free after 31 s"
    )
    assert end[0] == "end: it is complete"


def test_a_failure_or_an_end_while_pausing(tmp_path):
    script = Script(tmp_path, n_workers=3)
    script.report(10.0, 0, 1, 2.0)
    script.report(10.0, 1, 1, 3.0)
    script.happen(Failed(12.0, 0, 0, Cause.PREEMPTION, "taken", 1))
    script.happen(Ended(12.0, 1, 0))
    assert script.story(0)[0][2] == (
        "  0:00:12.00  failed while being paused (preemption: taken), which changes nothing; "
        "worker 0 free after 12 s"
    )
    assert script.story(1)[0][2] == (
        "  0:00:12.00  ended by itself when it was to pause, which is as good; "
        "worker 1 free after 12 s"
    )
    assert script.story(1)[1][0].startswith("end: it was paused when")


def test_a_checkpoint_that_made_room(tmp_path):
    script = Script(tmp_path, n_workers=3)
    script.report(10.0, 0, 1, 2.0)
    script.report(10.0, 1, 1, 3.0)
    script.happen(Paused(12.0, 1, 0, 1), CheckpointRemoved(13.0, 1, 4096))
    said = "  0:00:13.00  its checkpoint made room for more promising ones"
    assert script.story(1)[0][-1] == said
    assert said not in script.story(0)[0]


def test_a_maximised_metric_is_told_as_it_was_reported(tmp_path):
    script = Script(tmp_path, mode="max")
    script.report(10.0, 0, 1, 0.5)
    script.report(11.0, 1, 1, 0.25)
    script.happen(Paused(12.0, 1, 0, 1))
    happened, end = script.story(1)
    assert "rank 2 of 2 entries, below the cut-off 0.416667: paused" in happened[1]
    assert end[1] == (
        "needed: loss at or above 0.416667, the final cut-off; "
        "its 0.25 is rank 2 of 2 entries of rung 1"
    )
    assert end[2] == "best: loss 0.25 at epoch 1"
    assert "0.5 is at or above the cut-off 0.416667" in script.story(0)[0][2]


def test_not_in_place_a_good_trial_waits_for_a_worker(tmp_path):
    script = Script(tmp_path, continue_in_place=False)
    script.report(10.0, 1, 1, 5.0)
    script.report(11.0, 0, 1, 2.0)
    assert script.story(0)[0][1].endswith(
        "rank 1 of 2 entries, at or below the cut-off 3: paused until a worker is free"
    )
    script.ledger.capacity = 0  # nobody takes it on
    script.happen(Paused(12.0, 0, 0, 1))
    assert script.story(0)[1][1] == (
        "needed: a free worker and time; its 2 is rank 1 of 2 entries of rung 1, "
        "at or below the cut-off 3, and it was next in turn"
    )


def test_of_two_good_trials_the_better_goes_first(tmp_path):
    script = Script(tmp_path, n_workers=6, continue_in_place=False)
    script.ledger.capacity = 0  # nobody takes them on
    values = [2.0, 10.0, 1.0, 11.0, 12.0, 13.0]
    for trial, value in enumerate(values):
        script.report(10.0, trial, 1, value)
    for trial in range(6):
        script.happen(Paused(12.0, trial, 0, 1))
    assert script.story(0)[1][1].endswith("and 1 trial went before it")
    assert script.story(2)[1][1].endswith("and it was next in turn")
    script.happen(CapacityChanged(15.0, 1, "quota"))
    assert script.story(2)[1][0].startswith("end: it was starting up")
    assert script.story(0)[1][1].endswith("and it was next in turn")


def test_levels_that_are_skipped_leave_no_rank(tmp_path):
    script = Script(tmp_path)
    script.report(10.0, 1, 1, 5.0)
    script.report(20.0, 0, 3, 2.0)  # enters rungs 1 and 3; the journal tells of rung 3
    script.happen(Paused(21.0, 0, 0, 3))
    script.report(30.0, 2, 1, 7.0)
    assert "rung 3: rank 1 of 1 entry" in script.story(0)[0][1]
    assert "rung 1: one of 3 entries, above" in script.story(2)[0][1]


def test_a_trial_that_was_only_proposed_is_none(tmp_path):
    script = Script(tmp_path)
    script.write(proposal_line(1.0, Proposal(2, {"lr": 0.1, "momentum": 0.5}), 0.0))
    with pytest.raises(UsageError, match="must be from 0 to 1; got 2"):
        explain(tmp_path, 2)


def test_a_short_experiment_is_told_to_the_hundredth(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=1)
    script.report(0.256, 0, 1, 0.5)
    script.report(59.999, 0, 9, 0.4)
    assert [line[:12] for line in script.story(0)[0]] == [
        "  0:00:00.00",
        "  0:00:00.25",
        "  0:00:59.99",
    ]
    script.happen(Ended(60.0, 0, 0))
    assert script.story(0)[0][-1].startswith("  0:01:00  ")


def test_what_a_script_wrote_last_hides_no_cause(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=2)
    wrote = "exit status 1; it wrote last:\nTraceback:\n  OSError: gone"
    script.happen(Failed(70.0, 0, 0, Cause.USER_ERROR, wrote))
    script.happen(Failed(70.0, 1, 0, Cause.USER_ERROR, "a report must have 'loss'; got epoch"))
    assert "(user_error: exit status 1; it wrote last: OSError: gone)" in script.story(0)[0][-1]
    assert "(user_error: a report must have 'loss'; got epoch)" in script.story(1)[0][-1]


def test_a_trial_is_asked_for_that_is_not_there(tmp_path):
    script = Script(tmp_path)
    for number in (-1, 2, 99):
        with pytest.raises(UsageError) as caught:
            explain(tmp_path, number)
        assert str(caught.value) == f"a trial of {tmp_path} must be from 0 to 1; got {number}"
    with pytest.raises(UsageError, match="must be the folder of an experiment; it has no journal"):
        explain(tmp_path / "nowhere", 0)
    with pytest.raises(UsageError, match="must be the folder of an experiment; it has no journal"):
        explain_idle(tmp_path / "nowhere")
    script.write({"event": "header"})
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(UsageError, match="cannot be told of yet: none was started; got 0"):
        explain(tmp_path, 0)
    journal.write_text('{"event":"song"}\n')
    with pytest.raises(JournalError, match="must begin with a journal header"):
        explain(tmp_path, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.04, "0 s"), (2.25, "2.2 s"), (9.96, "10 s"), (59.4, "59 s"),
        (59.6, "1 min"), (61, "1 min 01 s"), (3599.7, "1 h"), (3600 + 29, "1 h"),
        (3600 + 31, "1 h 01 min"), (18_000, "5 h"), (100_000, "27 h 47 min"),
    ],
)  # fmt: skip
def test_readable_time(seconds, text):
    assert readable_time(seconds) == text


def test_plural():
    assert [plural(n, "worker") for n in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]
    assert plural(2, "entry", "entries") == "2 entries"
