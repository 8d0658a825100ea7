"""What a running study shows: one live line, or JSON lines."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import click
import orjson


class Reporter(Protocol):
    """Shows how far a study is."""

    def begin(self, goals: Mapping[str, float], total: int) -> None:
        """Learn the experiments to run, with the seconds that each will have."""
        ...

    def progress(self, name: str, seconds: float, metadata: dict[str, Any] | None) -> None:
        """Show that an experiment has come to `seconds`, or is complete."""
        ...

    def say(self, event: str, text: str, **facts: Any) -> None:  # noqa: ANN401 - JSON values
        """Show one message."""
        ...


class _JsonReporter:
    def begin(self, goals: Mapping[str, float], total: int) -> None:
        self.say("study_started", "", experiments=total, to_run=len(goals))

    def progress(self, name: str, seconds: float, metadata: dict[str, Any] | None) -> None:
        if metadata is not None:
            self.say(
                "experiment_complete",
                "",
                name=name,
                seconds=seconds,
                best=metadata["best_metric"],
                trials=metadata["n_trials"],
                cost_usd=metadata["total_cost_usd"],
            )

    def say(self, event: str, text: str, **facts: Any) -> None:  # noqa: ANN401
        del text
        click.echo(orjson.dumps({"event": event, "unix_time": time.time(), **facts}))


class _TextReporter:
    def __init__(self, bar: Any) -> None:  # noqa: ANN401 - a rich Progress
        self._bar = bar
        self._task: Any = None
        self._goals: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        self._complete = 0

    def begin(self, goals: Mapping[str, float], total: int) -> None:
        self._goals = dict(goals)
        skipped = total - len(goals)
        note = f", {skipped} complete before" if skipped else ""
        self._task = self._bar.add_task(f"{len(goals)} experiments{note}", total=1.0)
        if not goals:
            self._bar.update(self._task, completed=1.0)

    def progress(self, name: str, seconds: float, metadata: dict[str, Any] | None) -> None:
        goal = self._goals[name]
        if metadata is not None:
            self._complete += 1
        share = 1.0 if metadata is not None or goal == float("inf") else seconds / goal
        self._reached[name] = share
        self._bar.update(
            self._task,
            completed=sum(self._reached.values()) / len(self._goals),
            description=f"{self._complete} of {len(self._goals)} experiments",
        )

    def say(self, event: str, text: str, **facts: Any) -> None:  # noqa: ANN401
        del event, facts
        self._bar.console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def make_reporter(log_format: str) -> Iterator[Reporter]:
    """Yield a reporter; the live line goes to standard error."""
    if log_format == "json":
        yield _JsonReporter()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        Remaining(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(file=sys.stderr), refresh_per_second=4) as bar:
        yield _TextReporter(bar)
