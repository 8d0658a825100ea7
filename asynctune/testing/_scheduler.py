"""What every scheduler must keep to, whatever it is told."""

from collections.abc import Callable
from math import inf
from typing import Any, Final, get_args

import numpy as np
import orjson

from asynctune.exceptions import IllegalEventError
from asynctune.schedulers.base import (
    Action,
    Exhausted,
    Propose,
    Resume,
    Scheduler,
    Start,
    Wait,
    WaitReason,
)
from asynctune.searchers.base import Proposal
from asynctune.testing._require import require
from asynctune.testing._state import state_of

_ROLE: Final = 201
_MOST_CALLS: Final = 100_000


def check_scheduler(
    make: Callable[[], Scheduler],
    *,
    max_resource: int,
    n_workers: int = 4,
    n_configs: int = 40,
    seed: int = 0,
) -> None:
    """Drive a scheduler through a random experiment, to its end.

    Two copies are told the same and must answer the same. Some trials diverge, some end early,
    some fail, and many values are equal.

    Args:
        make: Makes a fresh scheduler; called twice.
        max_resource: Resource level at which a trial is complete.
        n_workers: Number of trials that run at once.
        n_configs: Number of configs after which the space is exhausted.
        seed: Seed of the experiment.

    Raises:
        AssertionError: If it breaks a rule of its protocol.
    """
    _Experiment(make(), make(), max_resource, n_workers, n_configs, seed).run()


class _Experiment:
    def __init__(
        self,
        scheduler: Scheduler,
        twin: Scheduler,
        max_resource: int,
        n_workers: int,
        n_configs: int,
        seed: int,
    ) -> None:
        self.scheduler, self.twin = scheduler, twin
        self.max, self.n_workers, self.n_configs = max_resource, n_workers, n_configs
        sequence = np.random.SeedSequence(seed, spawn_key=(_ROLE,))
        self.rng = np.random.Generator(np.random.PCG64(sequence))
        self.stock: list[int] = []
        self.proposed = 0
        self.running: dict[int, int] = {}  # how far each attempt is to go
        self.reached: dict[int, int] = {}
        self.paused: set[int] = set()
        self.settings = scheduler.describe()

    def both(self, call: Callable[[Scheduler], Any]) -> Any:  # noqa: ANN401 - any method's answer
        """Return what the scheduler answers; its twin must answer the same."""
        answer, other = call(self.scheduler), call(self.twin)
        require(
            state_of(answer) == state_of(other),
            f"two schedulers that were told the same answer the same; got {answer} and {other}",
        )
        return answer

    def run(self) -> None:
        """Bring the experiment to its end."""
        told = orjson.loads(orjson.dumps(dict(self.settings)))
        require(told == self.settings, f"settings are JSON values; got {self.settings}")
        for _ in range(_MOST_CALLS):
            if len(self.running) < self.n_workers and self.fill():
                continue
            if not self.running:
                break
            self.go_on()
        require(not self.running, f"an experiment ends; {len(self.running)} trials still run")
        last = self.both(lambda s: s.next())
        require(
            isinstance(last, Exhausted), f"with nothing left to run it is Exhausted; got {last}"
        )
        require(self.scheduler.describe() == self.settings, "settings do not change")

    def fill(self) -> bool:
        """Ask what a free worker should do; return whether there was something."""
        if self.rng.random() < 0.1:
            action: Action = self.both(lambda s: s.next(new=False))
            require(
                not isinstance(action, Start | Propose),
                f"with new=False nothing new begins; got {action}",
            )
            if self.carry_out(action, new=False):
                return True
        return self.carry_out(self.both(lambda s: s.next()), new=True)

    def carry_out(self, action: Action, *, new: bool) -> bool:
        """Do what the scheduler says; return whether there was something to do."""
        if isinstance(action, Propose):
            self.propose(action)
        elif isinstance(action, Start):
            self.start(action)
        elif isinstance(action, Resume):
            self.resume(action)
        else:
            self.wait(action, new=new)
            return False
        return True

    def propose(self, action: Propose) -> None:
        """Answer a request for a proposal."""
        k = self.proposed
        require(action.k == k, f"proposals are numbered from 0 without gaps; got {action}")
        snapshot = self.scheduler.snapshot()
        require(
            action.seen == snapshot.length == len(snapshot.observations),
            f"a request says how many observations there are, {snapshot.length}; got {action}",
        )
        before = state_of(self.scheduler)
        try:
            self.scheduler.accept(Proposal(k + 1, {"x": -1}))
        except IllegalEventError:
            require(state_of(self.scheduler) == before, "an illegal proposal changes nothing")
        else:
            require(condition=False, rule="a proposal that was not asked for is an illegal event")
        config = {"x": k} if k < self.n_configs else None
        self.both(lambda s: s.accept(Proposal(k, config)))
        if config is not None:
            self.proposed += 1
            self.stock.append(k)
            require(self.both(lambda s: s.config(k)) == config, "a config is kept as proposed")

    def start(self, action: Start) -> None:
        """Start a trial."""
        trial, until = action
        require(trial in self.stock, f"what starts is a proposal in stock; got {action}")
        require(1 <= until <= self.max, f"until lies in 1 to {self.max}; got {action}")
        self.stock.remove(trial)
        self.running[trial] = until
        self.reached[trial] = 0

    def resume(self, action: Resume) -> None:
        """Let a trial go on."""
        trial, until, why = action
        require(trial in self.paused, f"what goes on is a paused trial; got {action}")
        require(
            self.reached[trial] < until <= self.max,
            f"until lies above {self.reached[trial]}, up to {self.max}; got {action}",
        )
        require(why.value < inf, f"a trial that diverged does not go on; got {action}")
        self.paused.remove(trial)
        self.running[trial] = until

    def wait(self, action: Wait | Exhausted, *, new: bool) -> None:
        """Check that an answer by which nothing happens changes nothing."""
        if isinstance(action, Wait):
            reasons = get_args(WaitReason)
            require(action.reason in reasons, f"a reason is one of {reasons}; got {action}")
        before = state_of(self.scheduler)
        again = self.scheduler.next(new=new)
        require(again == action, f"nothing has happened since {action}; got {again}")
        require(state_of(self.scheduler) == before, f"{action} changes nothing")

    def go_on(self) -> None:
        """Let something happen to a running trial."""
        trial = int(self.rng.choice(list(self.running)))
        if self.rng.random() < 0.04:
            failed = bool(self.rng.random() < 0.5)
            self.over(trial, failed=failed)
            return
        self.reached[trial] += 1
        resource = self.reached[trial]
        value = inf if self.rng.random() < 0.05 else float(self.rng.integers(0, 30)) / 8
        decision = self.both(lambda s: s.report(trial, resource, value))
        action = decision.action
        require(
            action in ("continue", "pause", "stop", "complete"),
            f"a decision is to continue, pause, stop or complete; got {decision}",
        )
        require(
            (action == "complete") == (resource == self.max) or action == "stop",
            f"a trial is complete at {self.max}, and not before; got {action} at {resource}",
        )
        if action == "pause":
            del self.running[trial]
            self.paused.add(trial)
        elif action != "continue":
            self.over(trial, failed=False)
        elif resource == self.running[trial]:
            require(condition=False, rule=f"no trial continues beyond its `until`, {resource}")

    def over(self, trial: int, *, failed: bool) -> None:
        """End a trial."""
        del self.running[trial]
        self.both(lambda s: s.finished(trial, failed=failed))
        snapshot = self.scheduler.snapshot()
        config = self.scheduler.config(trial)
        require(
            all(pending.config != config for pending in snapshot.pending),
            f"no value is to come from trial {trial}, which is over",
        )
        require(
            failed == (trial in snapshot.failed),
            f"trial {trial} counts as failed if it has; got {snapshot.failed}",
        )
