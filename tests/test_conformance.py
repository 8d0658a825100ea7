"""The conformance kit: what comes with the package passes it, what is broken does not."""

import anyio
import pytest
from small_experiments import Landscape
from test_tuner import RealBackend, steady

from asynctune import virtualtime
from asynctune.events import Report, Started
from asynctune.exceptions import IllegalEventError
from asynctune.ledger import Ledger
from asynctune.methods import METHODS, Problem, make_method
from asynctune.schedulers.asha import ASHA
from asynctune.schedulers.base import COMPLETE, CONTINUE, Exhausted, Start, Wait
from asynctune.schedulers.fifo import FIFO
from asynctune.searchers.base import Proposal
from asynctune.searchers.random import InitialConfigs, RandomSearcher
from asynctune.space import ConfigSpace, choice, loguniform, randint, uniform
from asynctune.stopping import StoppingCriterion
from asynctune.testing import check_backend, check_ledger, check_scheduler, check_searcher, state_of
from sims.backend import SimulatedBackend
from sims.profiles import local

SCHEDULERS = {
    "FIFO": lambda: FIFO(max_resource=9),
    "promotion": lambda: ASHA(max_resource=9),
    "new attempts": lambda: ASHA(max_resource=9, continue_in_place=False, reduction_factor=2),
    "stopping": lambda: ASHA(max_resource=9, type="stopping"),
    "without rungs": lambda: ASHA(max_resource=9, grace_period=9),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("seed", range(3))
def test_schedulers(name, seed):
    check_scheduler(SCHEDULERS[name], max_resource=9, seed=seed)
    check_scheduler(SCHEDULERS[name], max_resource=9, n_workers=1, n_configs=5, seed=seed)


class Forgetful(FIFO):
    def finished(self, trial, *, failed):
        """Keep what was expected of the trial."""


class Eager(FIFO):
    def next(self, *, new=True):
        return super().next()


class Restless(FIFO):
    def next(self, *, new=True):
        action = super().next(new=new)
        if isinstance(action, Wait):
            self._queue.exhausted = True
            self.waited = getattr(self, "waited", 0) + 1
        return action


class Endless(FIFO):
    def report(self, trial, resource, value):
        super().report(trial, resource, value)
        return CONTINUE


class Hasty(FIFO):
    def report(self, trial, resource, value):
        super().report(trial, resource, value)
        return COMPLETE


class Gullible(FIFO):
    def accept(self, proposal):
        if proposal.k == self._queue._asked:
            super().accept(proposal)


class Doubling(FIFO):
    def next(self, *, new=True):
        action = super().next(new=new)
        return Start(0, 9) if isinstance(action, Start) else action


class Undecided(FIFO):
    count = 0

    def next(self, *, new=True):
        Undecided.count += 1
        return super().next(new=new) if Undecided.count % 50 else Exhausted()


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Forgetful, "no value is to come from trial|counts as failed"),
        (Eager, "with new=False nothing new begins"),
        (Restless, "changes nothing"),
        (Endless, "a trial is complete at 9"),
        (Hasty, "a trial is complete at 9, and not before"),
        (Gullible, "a proposal that was not asked for is an illegal event"),
        (Doubling, "what starts is a proposal in stock"),
        (Undecided, "answer the same|nothing has happened since"),
    ],
)
def test_broken_schedulers(broken, rule):
    with pytest.raises(AssertionError, match=rule):
        check_scheduler(lambda: broken(max_resource=9), max_resource=9, n_configs=100)


SPACE = ConfigSpace({"x": uniform(0, 1), "lr": loguniform(1e-6, 1), "n": randint(1, 50), "c": "z"})


@pytest.mark.parametrize("method", METHODS)
def test_searchers(method):
    problem = Problem(SPACE, 9, 3)
    check_searcher(
        lambda: make_method(method, problem).searcher, SPACE, max_resource=9, n_proposals=12
    )


def test_searchers_of_a_space_that_runs_out():
    space = ConfigSpace({"a": choice([1, 2, 3]), "b": choice(["x", "y"])})
    check_searcher(lambda: RandomSearcher(InitialConfigs(space, 1)), space, max_resource=9)


class Wandering(RandomSearcher):
    def __init__(self):
        super().__init__(InitialConfigs(SPACE, 1))
        self.calls = 0

    def propose(self, snapshot, k):
        self.calls += 1
        return super().propose(snapshot, self.calls)._replace(k=k)


class Repeating(RandomSearcher):
    def __init__(self):
        super().__init__(InitialConfigs(SPACE, 1))

    def propose(self, snapshot, k):
        return super().propose(snapshot, k // 2)._replace(k=k)


class Peeking(RandomSearcher):
    def __init__(self):
        super().__init__(InitialConfigs(SPACE, 1))

    def propose(self, snapshot, k):
        n = len(snapshot.observations)
        return super().propose(snapshot, 100 * k + n)._replace(k=k)


class Short(RandomSearcher):
    def __init__(self):
        super().__init__(InitialConfigs(SPACE, 1))

    def propose(self, snapshot, k):
        return Proposal(k, {"x": k / 100})


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Wandering, "is the same twice"),
        (Repeating, "no config is proposed twice"),
        (Peeking, "beyond a snapshot's length"),
        (Short, "a proposal is a whole config"),
    ],
)
def test_broken_searchers(broken, rule):
    with pytest.raises(AssertionError, match=rule):
        check_searcher(broken, SPACE, max_resource=9)


CONFIG = {"x": 0.5, "n": 3}


def simulate(kind=SimulatedBackend, **options):
    async def main():
        profile = local().with_options({"instance_type": "ml.g4dn.xlarge", **options})
        backend = kind(Landscape(), profile, metric="loss", seed=0)
        clock = virtualtime.current_loop().time
        await check_backend(
            backend, clock, CONFIG, metric="loss", max_resource=27, patience=10_000.0
        )

    virtualtime.run(main)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"startup_delay": 0.0},
        {"stop_delay": 30.0, "startup_delay": 240.0, "billed_startup": 0.4},
        {"report_delay": 100.0},
        {"checkpointing": False},
        {"capacity": 2, "startup_spread": 1.0},
    ],
)
def test_the_simulated_backend(options):
    simulate(**options)


def test_a_backend_in_real_time():
    async def main():
        origin = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            backend = RealBackend(tasks, steady(0.005))
            await check_backend(
                backend,
                lambda: anyio.current_time() - origin,
                CONFIG,
                metric="loss",
                max_resource=4,
                patience=5.0,
            )
            tasks.cancel_scope.cancel()

    anyio.run(main)


class Twice(SimulatedBackend):
    async def start(self, order):
        self._running.pop(order.trial, None)
        await super().start(order)


class Loud(SimulatedBackend):
    async def events(self, until):
        batch = await super().events(until)
        return [e for event in batch for e in (Started(*event[:3]), event)]


class Hasty(SimulatedBackend):
    def ready_at(self, order):
        return super().ready_at(order) + 50.0


class Deaf(SimulatedBackend):
    async def stop(self, trial, attempt):
        """Go on."""


class Renumbering(SimulatedBackend):
    async def events(self, until):
        batch = await super().events(until)
        return [e._replace(index=0) if isinstance(e, Report) else e for e in batch]


class Untimely(SimulatedBackend):
    async def events(self, until):
        return [e._replace(time=e.time + 1.0) for e in await super().events(until)]


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Twice, "reports are numbered from 0"),
        (Loud, "it is told once that it runs"),
        (Hasty, "nothing happens before it runs"),
        (Deaf, "a command is to spare what is left"),
        (Renumbering, "reports are numbered from 0"),
        (Untimely, "events are of the past"),
    ],
)
def test_broken_backends(broken, rule):
    with pytest.raises(AssertionError, match=rule):
        simulate(broken)


def make_ledger():
    return Ledger(
        FIFO(max_resource=9),
        n_workers=2,
        metric="loss",
        mode="min",
        max_resource=9,
        stopping=StoppingCriterion(max_trials=9),
    )


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (lambda ledger: setattr(ledger, "cost", 1.0), "the cost is the sum over trials"),
        (lambda ledger: setattr(ledger, "resource_total", 1), "the resource is the sum"),
        (lambda ledger: setattr(ledger, "failed", 1), "0 trials have failed for good"),
        (lambda ledger: setattr(ledger.trials[1], "slot", 0), "no worker runs two trials"),
        (lambda ledger: setattr(ledger.trials[1], "slot", -1), "holds a worker if and only if"),
        (lambda ledger: ledger.busy.pop(0), "is busy if and only if"),
        (lambda ledger: setattr(ledger.trials[0], "finished", True), "finished if and only if"),
    ],
)
def test_books_that_do_not_balance(break_it, rule):
    ledger = make_ledger()
    for k in range(2):
        ledger.next(0.0)
        ledger.accept(Proposal(k, {"x": k}))
        ledger.next(0.0)
    check_ledger(ledger)
    break_it(ledger)
    with pytest.raises(AssertionError, match=rule):
        check_ledger(ledger)


def test_what_an_object_knows():
    first, second = make_ledger(), make_ledger()
    assert state_of(first) == state_of(second)
    second.next(0.0)
    assert state_of(first) != state_of(second)
    first.next(0.0)
    assert state_of(first) == state_of(second)
    nan = float("nan")
    assert state_of({"a": [1, (2, nan)]}) == state_of({"a": [1, (2, nan)]})
    assert state_of({"a": 1, "b": 2}) != state_of({"b": 2, "a": 1})  # order is part of it
    assert state_of({1, 2}) == state_of({2, 1})
    loop = []
    loop.append(loop)
    assert state_of(loop) == ("sequence", "...")


def test_an_error_carries_the_story():
    ledger = make_ledger()
    with pytest.raises(IllegalEventError, match="never seen"):
        ledger.observe(Report(0.0, 3, 0, 0, 1, {"loss": 1.0}))
