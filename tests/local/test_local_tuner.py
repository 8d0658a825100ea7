"""The local backend under the tuner: as simulated, at once, and for long."""

import gc
import threading
from pathlib import Path

import anyio
import functions
import numpy as np
import pytest
from trials import FUNCTION, LEVELS, Bench, descriptors, lines_of, order, run, script

from asynctune.events import Ended
from asynctune.journal import JournalWriter
from asynctune.ledger import Ledger
from asynctune.methods import Problem, make_method
from asynctune.proposer import ThreadProposer
from asynctune.space import ConfigSpace, choice, uniform
from asynctune.stopping import StoppingCriterion
from asynctune.trainable import Function
from asynctune.tuner import Tuner
from sims.blackbox import Curve


class Landscape:
    """What the function of these tests trains, as a blackbox."""

    def curve(self, config, seed):
        epochs = np.arange(1, LEVELS + 1)
        return Curve({"loss": (config["x"] - 0.3) ** 2 + 1 / epochs}, 10.0 * epochs)


def course(lines):
    """Return what was decided: the configs, the attempts, and the reports with their decisions."""
    found = []
    for line in lines:
        match line["event"]:
            case "proposal_ready":
                found.append((line["k"], line["config"]))
            case "start":
                found.append((line["trial"], line["attempt"], line["until"]))
            case "report":
                found.append(
                    (line["trial"], line["resource"], line["metrics"], line.get("decision"))
                )
                found.append(line.get("rung"))
    return found


@pytest.mark.parametrize(
    ("method", "options"),
    [("RS", {}), ("ASHA", {}), ("MOBSTER", {"continue_in_place": False, "num_init_random": 3})],
)
def test_the_same_experiment_local_and_simulated(tmp_path, method, options):
    settings = {"n_workers": 1, "method": method, "method_options": options, "lookahead": 0}
    settings["bounds"] = {"max_trials": 5}
    # Functions without checkpoints are trained again from scratch: so is what is simulated.
    _, real = run(tmp_path / "real", FUNCTION, **settings)
    simulated = settings | {
        "backend": "simulated",
        "profile": "local",
        "options": {"checkpointing": False},
        "problem": {"blackbox": Landscape, "instance_types": {"local": "ml.g4dn.xlarge"}},
    }
    _, virtual = run(tmp_path / "simulated", None, **simulated)
    assert course(real) == course(virtual)
    assert len([e for e in real if e["event"] == "report"]) > 7


def test_reports_are_decided_on_while_a_proposal_is_computed(tmp_path):
    """The searcher thinks until four reports have been decided on, which it must not hold up."""
    decided = threading.Event()
    problem = Problem(ConfigSpace({"x": uniform(0, 1)}), LEVELS, 3)
    scheduler, searcher = make_method("RS", problem)

    class Slow:
        needs_data = False
        describe = searcher.describe

        def propose(self, snapshot, k):
            if k == 1:
                assert decided.wait(60)
            return searcher.propose(snapshot, k)

    ledger = Ledger(
        scheduler,
        n_workers=2,
        metric="loss",
        mode="min",
        max_resource=LEVELS,
        stopping=StoppingCriterion(max_trials=2),
    )
    delays = []

    def observer(ledger, now):
        if ledger.reports >= 4:
            decided.set()

    async def main():
        bench = Bench(tmp_path, script(tmp_path, TIMED))
        bench._origin = anyio.current_time()
        journal = JournalWriter(tmp_path / "journal.jsonl", durable=True)
        async with anyio.create_task_group() as tasks:
            proposer = ThreadProposer(Slow(), tasks)
            tuner = Tuner(ledger, bench.backend, journal, proposer, bench.clock, observer=observer)
            await tuner.run()
        journal.close()

    anyio.run(main)
    for line in lines_of(tmp_path):
        if line["event"] == "proposal_ready" and line["k"] == 1:
            assert decided.is_set()
        if line["event"] == "report":
            delays.append(line["metrics"]["answered"])
    assert len(delays) == 2 * LEVELS
    assert sorted(delays)[len(delays) // 2] < 0.5  # mostly a millisecond or two


# Reports how long the answer to the report before took.
TIMED = """
import time
from asynctune import report
answered = 0.0
for epoch in range(1, 10):
    began = time.monotonic()
    told = report(epoch=epoch, loss=1 / epoch, answered=answered)
    answered = time.monotonic() - began
    if told:
        break
"""


def test_many_trials_leave_nothing_in_the_tuner(tmp_path):
    """As many as fit into a test; a benchmark runs ten thousand."""
    text = '#!/bin/sh\nprintf \'{"values":{"epoch":9,"loss":1}}\\n\' >> $ASYNCTUNE_REPORT\n'
    path = tmp_path / "train.sh"
    path.write_text(text)
    path.chmod(0o700)
    from asynctune.trainable import Script

    async def main():
        async with Bench(tmp_path / "experiment", Script(path=path)) as bench:
            await run_some(bench, 0, 20)
            before = held(bench)
            await run_some(bench, 20, 90)
            assert held(bench) == before

    async def run_some(bench, first, last):
        for trial in range(first, last):
            await bench.backend.start(order(trial))
            assert isinstance(await bench.end_of(trial), Ended)
            bench.seen.clear()

    def held(bench):
        backend = bench.backend
        gc.collect()
        return descriptors(), len(backend._supervisor.attempts), threading.active_count()

    anyio.run(main)


def test_what_is_printed_does_not_matter(tmp_path):
    _, lines = run(
        tmp_path, Function(function=functions.prints), method="RS", bounds={"max_trials": 1}
    )
    levels = [e["resource"] for e in lines if e["event"] == "report"]
    assert levels == list(range(1, LEVELS + 1))
    logs = tmp_path / "trials" / "000000"
    assert (logs / "stdout.0.log").stat().st_size == 200_000 * LEVELS


def test_a_function_may_return_its_metrics(tmp_path):
    metadata, lines = run(
        tmp_path, Function(function=functions.returns), method="RS", bounds={"max_trials": 2}
    )
    reports = [(e["resource"], list(e["metrics"])) for e in lines if e["event"] == "report"]
    assert reports == [(LEVELS, ["loss"])] * 2
    assert metadata["n_failed"] == 0


def test_a_function_that_raises_is_at_fault(tmp_path):
    metadata, lines = run(tmp_path, Function(function=functions.raises), bounds={"max_trials": 1})
    (failed,) = [e for e in lines if e["event"] == "failed"]
    assert "ArithmeticError: no luck with 0." in failed["message"]
    assert metadata["n_failed"] == 1


SHOW = """
import json, sys
from pathlib import Path
from asynctune import report
Path(__file__).with_suffix(".json").write_text(json.dumps(sys.argv[1:]))
report(epoch=9, loss=1.0)
"""


@pytest.mark.parametrize("config_as", ["flags", "json"])
def test_a_script_is_given_its_config_and_the_constants(tmp_path, config_as):
    import json

    trainable = script(tmp_path, SHOW, config_as=config_as, arguments=("--verbose",))
    space = {"x": uniform(-2e-7, -1e-7), "kind": choice(["a b"]), "layers": 3}
    space |= {"none": None, "nesterov": True}
    run(
        tmp_path / "experiment",
        trainable,
        problem={"space": space},
        bounds={"max_trials": 1},
        method="RS",
    )
    given = json.loads((tmp_path / "train.json").read_text())
    assert given[0] == "--verbose"
    if config_as == "flags":
        for name, value in (("--layers", "3"), ("--kind", "a b"), ("--nesterov", "True")):
            assert given[given.index(name) + 1] == value
        assert "--none" not in given
        (x,) = [argument for argument in given if argument.startswith("--x=")]
        assert -2e-7 <= float(x[4:]) <= -1e-7
    else:
        assert given[1] == "--config"
        whole = json.loads(Path(given[2]).read_text())
        assert (whole["layers"], whole["kind"]) == (3, "a b")
        assert (whole["none"], whole["nesterov"]) == (None, True)
        assert -2e-7 <= whole["x"] <= -1e-7
