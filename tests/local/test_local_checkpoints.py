"""Checkpoints are there as long as they can be of use, and take no more room than they may."""

import anyio
import pytest
from trials import LEVELS, Bench, order, run, script

from asynctune.backends.local.reports import Wanted
from asynctune.backends.local.store import CheckpointStore
from asynctune.events import Paused, Report

WANTED = Wanted("loss", "epoch")


def checkpoint(experiment, trial):
    return experiment / "trials" / f"{trial:06d}" / "checkpoint"


def save(experiment, trial, size=100, level=None, value=None):
    """Leave a checkpoint as a trial does, and what it reported."""
    folder = checkpoint(experiment, trial)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").write_bytes(bytes(size))
    if level is not None:
        line = f'{{"values": {{"epoch": {level}, "loss": {value}}}}}\n'
        (folder.parent / "reports.0.jsonl").write_text(line)


def store_of(experiment, budget=None, sign=1.0):
    (experiment / "trials").mkdir(parents=True, exist_ok=True)
    store = CheckpointStore(experiment, budget, WANTED, sign, LEVELS)
    store.open()
    return store


def kept(experiment):
    return sorted(int(path.parent.name) for path in experiment.glob("trials/*/checkpoint"))


def test_the_least_promising_make_room(tmp_path):
    store = store_of(tmp_path, budget=350)
    removed = []
    for trial, level, value in [(0, 1, 0.1), (1, 3, 0.9), (2, 3, 0.5), (3, 9, 0.6), (4, 1, 0.8)]:
        store.reported(trial, value)
        save(tmp_path, trial)
        removed += [(trial, *entry) for entry in store.keep(trial, level, value)]
    # At the fourth the complete trial goes first; at the fifth the best of level 1 may stay.
    assert removed == [(3, 3, 100), (4, 4, 100)]
    assert kept(tmp_path) == [0, 1, 2]
    store.close()
    assert not (tmp_path / "trials" / "removed").exists()


def test_the_best_may_be_the_greatest(tmp_path):
    store = store_of(tmp_path, budget=100, sign=-1.0)
    for trial, value in [(0, 0.9), (1, 0.1)]:
        store.reported(trial, value)
        save(tmp_path, trial)
        store.keep(trial, 1, value)
    assert kept(tmp_path) == [0]
    store.close()


def test_the_best_stays_however_low_its_level(tmp_path):
    store = store_of(tmp_path, budget=100)
    for trial, level, value in [(0, 1, 0.1), (1, 3, 0.5)]:
        store.reported(trial, value)
        save(tmp_path, trial)
        store.keep(trial, level, value)
    assert kept(tmp_path) == [0]
    store.close()


def test_stock_is_taken_of_what_was_there(tmp_path):
    for trial, level, value in [(0, 1, 0.1), (1, 1, 0.9), (2, 3, 0.5), (3, 1, '"nan"')]:
        save(tmp_path, trial, level=level, value=value)
    store = store_of(tmp_path, budget=400)
    save(tmp_path, 4, size=200)
    assert [r.trial for r in store.keep(4, 3, 0.7)] == [3, 1]  # what diverged is the worst
    store.close()


def test_what_runs_is_not_removed_and_not_counted(tmp_path):
    store = store_of(tmp_path, budget=250)
    for trial in (0, 1):
        save(tmp_path, trial)
        assert store.keep(trial, 1, 0.5) == []
    store.borrow(0, scratch=False)
    save(tmp_path, 2)
    assert store.keep(2, 1, 0.6) == []
    save(tmp_path, 0)
    assert [r.trial for r in store.keep(0, 3, 0.4)] == [2]
    store.close()


def test_from_scratch_no_checkpoint_is_found(tmp_path):
    store = store_of(tmp_path)
    save(tmp_path, 0)
    store.borrow(0, scratch=False)
    assert kept(tmp_path) == [0]
    store.borrow(0, scratch=True)
    assert kept(tmp_path) == []
    store.discard(0)
    store.discard(99)
    store.close()


def test_what_a_killed_trial_had_begun_to_write_goes(tmp_path):
    store = store_of(tmp_path)
    save(tmp_path, 0)
    half = checkpoint(tmp_path, 0) / ".checkpoint.pt.4711"
    half.touch()
    store.keep(0, 1, 0.5)
    assert not half.exists()
    assert kept(tmp_path) == [0]
    store.close()


def test_half_a_checkpoint_is_none(tmp_path):
    text = "from asynctune import checkpoint_dir, report\n"
    text += "(checkpoint_dir() / '.checkpoint.pt.4711').touch()\nreport(epoch=3, loss=1.0)\n"

    async def main():
        async with Bench(tmp_path / "experiment", script(tmp_path, text)) as bench:
            await bench.backend.start(order(until=3))
            return await bench.end_of()

    event = anyio.run(main)
    assert isinstance(event, Paused)
    assert event.resource == 0


def test_a_stopped_trials_checkpoint_is_removed_and_the_best_ones_kept(tmp_path):
    metadata, lines = run(
        tmp_path / "experiment",
        script(tmp_path),
        method_options={"type": "stopping"},
        bounds={"max_trials": 8},
    )
    stopped = {e["trial"] for e in lines if e.get("decision") == "stop"}
    complete = {e["trial"] for e in lines if e.get("resource") == LEVELS}
    assert len(stopped) >= 2
    assert set(kept(tmp_path / "experiment")) == complete | {metadata["best_trial"]}
    best = checkpoint(tmp_path / "experiment", metadata["best_trial"])
    assert metadata["best_checkpoint"] == str(best)
    assert (best / "epoch").exists()


def test_a_trial_goes_on_from_its_checkpoint(tmp_path):
    _, lines = run(
        tmp_path / "experiment", script(tmp_path), method_options={"continue_in_place": False}
    )
    resumed = [e for e in lines if e["event"] == "start" and e["attempt"] > 0]
    assert resumed
    assert all(e["from"] in (1, 3) for e in resumed)
    statuses = {e["status"] for e in lines if e["event"] == "report"}
    assert statuses == {"running"}
    paused = [e for e in lines if e["event"] == "paused"]
    assert {e["resource"] for e in paused} <= {1, 3}


def test_a_disk_budget_is_kept_and_on_record(tmp_path):
    options = {"disk_budget": 1}  # the script's checkpoints take a byte each
    metadata, lines = run(
        tmp_path / "experiment",
        script(tmp_path),
        options=options,
        n_workers=1,
        method_options={"continue_in_place": False, "reduction_factor": 2},
        bounds={"max_trials": 5},
    )
    removed = {e["trial"] for e in lines if e["event"] == "checkpoint_removed"}
    assert removed
    assert metadata["best_checkpoint"] is not None
    assert all(e["size"] == 1 for e in lines if e["event"] == "checkpoint_removed")
    gone = set()
    for e in lines:
        if e["event"] == "checkpoint_removed":
            gone.add(e["trial"])
        elif e["event"] == "start" and e["trial"] in gone:
            assert e["from"] == 0
            gone.discard(e["trial"])


@pytest.mark.parametrize("told", ["pause", "stop"])
def test_a_report_is_answered_by_what_is_decided_on_it(tmp_path, told):
    text = """
import time
from asynctune import report
answers = []
for epoch in range(1, 10):
    began = time.monotonic()
    answers.append(str(report(epoch=epoch, loss=1.0)))
    if answers[-1]:
        break
print(answers, flush=True)
time.sleep(1000)
"""

    async def main():
        trainable = script(tmp_path, text)
        async with Bench(tmp_path, trainable, grace_period=5.0) as bench:
            await bench.backend.start(order())
            report = await bench.until(lambda e: isinstance(e, Report) and e.resource == 3)
            # Nothing was asked since: the script waits for the answer.
            await getattr(bench.backend, told)(0, 0)
            output = tmp_path / "trials" / "000000" / "stdout.0.log"
            if told == "pause":
                while not output.read_text():  # noqa: ASYNC110 - a file tells nobody
                    await anyio.sleep(0.01)
                assert output.read_text() == "['', '', 'pause']\n"
                await bench.backend.stop(0, 0)
            await bench.end_of()
            assert report.index == 2
            assert [e.resource for e in bench.seen if isinstance(e, Report)] == [1, 2, 3]

    anyio.run(main)
