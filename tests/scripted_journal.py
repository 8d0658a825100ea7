"""Journals of experiments whose events a test makes up."""

import orjson

from asynctune.events import Report
from asynctune.explain import explain
from asynctune.journal import (
    event_line,
    header_line,
    launch_line,
    promise_line,
    proposal_line,
    request_line,
)
from asynctune.ledger import Launch, Ledger, Promise
from asynctune.methods import Problem, make_method
from asynctune.schedulers.base import Propose, Wait
from asynctune.space import ConfigSpace, loguniform, uniform
from asynctune.stopping import RetryPolicy, StoppingCriterion

SPACE = {"lr": loguniform(1e-6, 1), "momentum": uniform(0, 0.99)}


class Script:
    """Writes the journal of an experiment whose events a test makes up."""

    def __init__(self, folder, method="ASHA", n_workers=2, mode="min", max_resource=9, **options):
        retries = options.pop("retries", RetryPolicy())
        max_trials = options.pop("max_trials", None)
        self.startup = options.pop("startup", None)  # of each attempt, if that is known
        problem = Problem(ConfigSpace(SPACE), max_resource, 3)
        self.pair = make_method(method, problem, options)
        self.ledger = Ledger(
            self.pair.scheduler,
            n_workers=n_workers,
            metric="loss",
            mode=mode,
            max_resource=max_resource,
            stopping=StoppingCriterion(max_wallclock_time=7200, max_trials=max_trials),
            retries=retries,
        )
        self.folder = folder
        self.idle = {}
        self.fit = None
        inputs = {
            "benchmark": "toy", "metric": "loss", "mode": mode, "resource": "epoch",
            "method": method, **self.pair.scheduler.describe(), "n_workers": n_workers,
            "retries": retries.describe(),
        }  # fmt: skip
        (folder / "journal.jsonl").write_bytes(b"")
        self.write(header_line(inputs))
        self.fill(0.0)

    def write(self, line):
        with (self.folder / "journal.jsonl").open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")

    def fill(self, t):
        """Let free workers start what the scheduler wants, as the tuner does."""
        reason = "quota"
        while self.ledger.free > 0:
            step = self.ledger.next(t)
            if isinstance(step, Launch):
                ready = None if self.startup is None else t + self.startup
                self.write(launch_line(t, step, ready))
            elif isinstance(step, Promise):
                self.write(promise_line(t, step))
            elif isinstance(step, Propose):
                self.write(request_line(t, step.k, step.seen, ahead=False))
                proposal = self.pair.searcher.propose(self.ledger.scheduler.snapshot(), step.k)
                proposal = proposal._replace(fit=self.fit)
                self.ledger.accept(proposal)
                self.write(proposal_line(t, proposal, 0.0))
            else:
                reason = step.reason if isinstance(step, Wait) else "exhausted"
                break
        idle = self.ledger.idle_reasons(reason)
        if idle != self.idle:
            self.idle = idle
            self.write({"t": t, "event": "idle", "workers": idle})

    def happen(self, *events):
        for event in events:
            seen = self.ledger.observe(event)
            self.write(event_line(event, seen))
        self.fill(events[-1].time)

    def report(self, t, trial, resource, value, attempt=None, cost=0.0):
        entry = self.ledger.trials[trial]
        attempt = entry.attempt if attempt is None else attempt
        self.happen(Report(t, trial, attempt, entry.reports, resource, {"loss": value}, cost))

    def end(self, t, reason="max_wallclock_time"):
        self.write({"t": t, "event": "finished", "reason": reason})

    def story(self, trial):
        """Return what happened to a trial and how it ended, without the config."""
        told = explain(self.folder, trial)
        assert told[1].startswith("config: ")
        assert told[3] == ""
        blank = told.index("", 4)
        return told[4:blank], told[blank + 1 :]
