"""How workers spent their time, and stories, of scripted and of whole simulated experiments."""

import math
import shutil

import pytest
from scripted_journal import SPACE, Script

from asynctune.benchmark import Benchmark
from asynctune.events import CapacityChanged, Ended, Started
from asynctune.experiment import Experiment, run_experiment
from asynctune.explain import explain, explain_idle
from asynctune.journal import read_lines
from asynctune.stopping import RetryPolicy, StoppingCriterion
from asynctune.workertime import worker_time


def test_idle_time_by_reason(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=2)
    script.happen(CapacityChanged(0.0, 1, "quota"))  # both were started before
    script.happen(Started(20.0, 0, 0), Started(30.0, 1, 0))
    script.report(100.0, 0, 9, 1.0)
    script.happen(Ended(110.0, 0, 0))
    script.happen(CapacityChanged(150.0, 2, "quota"))
    script.end(200.0)
    spent = worker_time(2, read_lines(tmp_path / "journal.jsonl"))
    assert spent == (2, 200.0, True, 20 + 30 + 50, 80 + 170, 10, {"quota": 40.0})
    assert explain_idle(tmp_path) == [
        "2 workers for 3 min 20 s: 6 min 40 s of worker time",
        "starting up: 1 min 40 s (25.0%)",
        "training: 4 min 10 s (62.5%)",
        "ending or pausing: 10 s (2.5%)",
        "idle: 40 s (10.0%)",
        "  quota: 40 s (10.0%), the backend could not run as many attempts",
    ]


def test_time_in_start_ups_whose_end_is_known_beforehand(tmp_path):
    script = Script(tmp_path, method="RS", n_workers=2, startup=30.0)
    script.report(50.0, 0, 1, 1.0)
    script.ledger.stop(1, 50.0)
    script.happen(Ended(60.0, 0, 0))  # and another starts
    spent = worker_time(2, read_lines(tmp_path / "journal.jsonl"))
    assert spent[3:6] == (30 + 30, 30 + 30, 0)
    script.end(70.0)
    spent = worker_time(2, read_lines(tmp_path / "journal.jsonl"))
    assert spent[3:6] == (30 + 30 + 10, 30 + 40, 0)


def test_idle_time_of_a_journal_that_only_began(tmp_path):
    Script(tmp_path, method="RS", n_workers=2)
    assert explain_idle(tmp_path)[0] == "2 workers for 0 s so far: 0 s of worker time"


def curve(config):
    values = [abs(math.log10(config["lr"]) + 2.5) + 1 / epoch for epoch in range(1, 28)]
    return values, [60.0 * epoch for epoch in range(1, 28)]


@pytest.fixture(scope="module", params=["ASHA", "RS", "stopping", "not in place"])
def rough(request, tmp_path_factory):
    """An experiment on a cluster where everything goes wrong now and then."""
    folder = tmp_path_factory.mktemp("rough")
    benchmark = Benchmark(
        name="toy", space=SPACE, metric="loss", mode="min", resource="epoch", max_resource=27,
        max_wallclock_time=1e5, n_workers=4, blackbox=lambda: curve,
    )  # fmt: skip
    options = {
        "stopping": {"type": "stopping"},
        "not in place": {"continue_in_place": False},
    }
    metadata = run_experiment(
        Experiment(
            tag="t", method="RS" if request.param == "RS" else "ASHA", benchmark=benchmark,
            n_workers=5, seed=0, scheduler_seed=5, profile="sagemaker",
            stopping=StoppingCriterion(max_wallclock_time=30_000),
            method_options=options.get(request.param, {}),
            retries=RetryPolicy(max_failures=100, backoff=300),
            backend_options={
                "failure_rate": 3.0, "preemption_rate": 1.0, "stop_delay": 70.0,
                "report_delay": 2.0, "checkpointing": request.param != "RS", "capacity": 4,
                "startup_spread": 0.3, "prices": {"any": 1.0}, "instance_type": "any",
            },
        ),
        folder,
    )  # fmt: skip
    return folder, metadata


def test_workers_are_busy_or_idle_for_a_reason(rough):
    folder, metadata = rough
    spent = worker_time(5, read_lines(folder / "journal.jsonl"))
    busy = spent.starting + spent.training + spent.ending
    assert busy == pytest.approx(metadata["worker_busy_seconds"])
    assert busy + sum(spent.idle.values()) == pytest.approx(5 * 30_000)
    assert spent.idle["quota"] == pytest.approx(30_000)
    assert all(seconds > 0 for seconds in spent.idle.values())


def test_every_story_adds_up(rough):
    folder, metadata = rough
    lines = list(read_lines(folder / "journal.jsonl"))
    for trial in range(metadata["n_trials"]):
        told = explain(folder, trial)
        own = [x for x in lines if x.get("trial") == trial]
        summary = dict(line.split(": ", 1) for line in told[told.index("", 4) + 1 :])
        starts = [x for x in own if x["event"] == "start"]
        assert sum("started on worker" in x or "resumed on worker" in x for x in told) == len(
            starts
        )
        assert summary["attempts"].startswith(str(len(starts)))
        reports = [x for x in own if x["event"] == "report"]
        assert summary["reports"].startswith(str(sum(x["status"] == "running" for x in reports)))
        assert ("repeated" in summary["reports"]) == any(x["status"] == "repeated" for x in reports)
        rungs = [x for x in own if "rung" in x]
        assert sum(": rank " in x or "(rank " in x for x in told[4:]) == len(rungs)
        assert not any("one of" in x for x in told)
        failed = [x for x in own if x["event"] == "failed"]
        assert sum("failed (" in x or "failed while" in x for x in told) == len(failed)
        ended = {"ended": "it ", "failed": "it failed for good"}.get(own[-1].get("state"))
        if ended is not None:
            assert summary["end"].startswith(ended)
            assert "when the experiment ended" not in summary["end"]


def test_ranks_and_cutoffs_are_those_of_the_entries(rough):
    folder, _ = rough
    entered = {}
    for line in read_lines(folder / "journal.jsonl"):
        if line["event"] != "report" or "rung" not in line:
            continue
        said = line["rung"]
        values = entered.setdefault(said["level"], [])
        values.append(said["value"])
        story = explain(folder, line["trial"]) if len(values) % 10 == 0 else None
        if story is not None:
            rank = sorted(values).index(said["value"]) + 1
            text = f"rung {said['level']}: rank {rank} of {len(values)} entries"
            assert any(text in x for x in story)


def test_a_torn_journal_is_told_up_to_its_last_line(rough, tmp_path):
    folder, _ = rough
    shutil.copy(folder / "journal.jsonl", tmp_path)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:20_000])
    told = explain(tmp_path, 0)
    assert told[4:6] == explain(folder, 0)[4:6]
    assert " so far: " in explain_idle(tmp_path)[0]
