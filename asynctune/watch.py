"""What people watch while an experiment runs: a table of its state."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final

from asynctune.experiment import Experiment
from asynctune.ledger import Ledger
from asynctune.trial import BUSY, State, Trial
from asynctune.tuner import Observer
from asynctune.wording import plural, readable_time

if TYPE_CHECKING:
    from rich.table import Table

_A_SECOND: Final = 4
_TIME: Final = "max_wallclock_time"
_FATES: Final = ("running", "waiting", "paused", "complete", "stopped", "failed")


def budget(ledger: Ledger, now: float) -> Mapping[str, tuple[float, float]]:
    """Return (spent, granted) of each bound of the experiment that is spent little by little."""
    stopping = ledger.stopping
    spent = {
        _TIME: now,
        "max_trials": len(ledger.trials),
        "max_evaluations": ledger.reports,
        "max_resource_total": ledger.resource_total,
        "max_cost": ledger.cost,
    }
    granted = {name: getattr(stopping, name) for name in spent}
    return {name: (spent[name], g) for name, g in granted.items() if g is not None and g < inf}


def seconds_left(ledger: Ledger, now: float) -> tuple[float, str] | None:
    """Return about how long it will take, and the bound that ends it; None if nothing is known.

    What is bounded otherwise than by time is taken to go on at its average speed so far. A bound
    on trials says nothing: those that were started last may go on for long, and be promoted.
    """
    left = [
        (granted - now if name == _TIME else now * (granted - spent) / spent, name)
        for name, (spent, granted) in budget(ledger, now).items()
        if name == _TIME or (spent > 0 and name != "max_trials")
    ]
    return min(left, default=None)


def fate(trial: Trial, max_resource: int) -> str:
    """Return in a word what has become of a trial."""
    if trial.state in BUSY:
        return "running"
    if trial.highest >= max_resource:
        return "complete"
    others = {State.QUEUED: "waiting", State.PAUSED: "paused", State.FAILED: "failed"}
    return others.get(trial.state, "stopped")


@contextmanager
def live(experiment: Experiment) -> Iterator[Observer]:
    """Yield an observer that keeps a table of the experiment's state on standard error.

    The table is drawn by a thread, whether or not anything happens; it disappears at the end,
    and there is none if standard error is no terminal.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield lambda ledger, now: None  # noqa: ARG005
        return
    state: tuple[Ledger, float, float] | None = None
    task: asyncio.Task[Any] | None = None

    def observe(ledger: Ledger, now: float) -> None:
        nonlocal state, task
        task = task or asyncio.current_task()
        state = ledger, now, time.perf_counter()

    def drawn() -> "Table | Text":
        if state is None:
            return Text(f"{experiment.name} is starting")
        ledger, now, since = state
        found = rows(ledger, now + time.perf_counter() - since)
        if task is not None and task.cancelling():
            found = [*interrupted_rows(ledger, experiment.backend_options), *found[2:]]
        return _table(experiment.name, found)

    with Live(get_renderable=drawn, console=console, refresh_per_second=_A_SECOND, transient=True):
        yield observe


def _table(name: str, found: list[tuple[str, str]]) -> "Table":
    from rich.table import Table

    table = Table(title=name, show_header=False)
    for row in found:
        table.add_row(*row)
    return table


def interrupted_rows(ledger: Ledger, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lines that stand for time and budget while what runs comes to its end."""
    trials = plural(len(ledger.busy), "trial")
    doing = {"stop": f"ending {trials}", "detach": f"leaving {trials} running"}
    word = doing.get(options.get("on_interrupt", ""), f"pausing {trials}")
    return [("interrupted", f"{word}; Ctrl-C again ends them now")]


def rows(ledger: Ledger, now: float) -> list[tuple[str, str]]:
    """Return the lines of the table, each a name and a text."""
    left = seconds_left(ledger, now)
    eta = ""
    if left is not None:
        about = "at most" if left[1] == _TIME else "about"
        eta = f", {about} {readable_time(max(left[0], 0.0))} left ({left[1]})"
    best = "none yet"
    if ledger.best_metric is not None:
        best = f"{ledger.best_metric:.5g} (trial {ledger.best_trial})"
    # Another thread may be adding trials: what is counted is a copy.
    counts = Counter(fate(trial, ledger.max_resource) for trial in list(ledger.trials))
    fates = ", ".join(f"{counts[word]} {word}" for word in _FATES if counts[word])
    busy = len(ledger.busy)
    shares = [_share(name, *bound) for name, bound in budget(ledger, now).items()]
    found = [
        ("time", f"{readable_time(now)}{eta}"),
        ("budget", ", ".join(shares) or "unbounded"),
        (f"best {ledger.metric}", best),
        ("trials", f"{len(ledger.trials)} started: {fates or 'none'}"),
        ("workers", f"{busy} of {ledger.n_workers} busy"),
        ("reports", f"{ledger.reports}"),
    ]
    if ledger.cost:
        found.append(("cost", f"$ {ledger.cost:.2f}"))
    return found


def _share(name: str, spent: float, granted: float) -> str:
    share = f"({spent / granted:.0%})"
    if name == _TIME:
        return f"{readable_time(spent)} of {readable_time(granted)} {share}"
    if name == "max_cost":
        return f"$ {spent:.2f} of {granted:.2f} {share}"
    unit = {"max_trials": "trial", "max_evaluations": "report"}.get(name, "resource level")
    return f"{spent:g} of {plural(int(granted), unit)} {share}"
