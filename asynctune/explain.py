"""Tell from the journal, in words: a trial's story, and why workers were idle.

The journal is read once, line by line.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from asynctune._story import Story
from asynctune.exceptions import UsageError
from asynctune.journal import read_header, read_lines
from asynctune.wording import plural, readable_time
from asynctune.workertime import worker_time

JOURNAL: Final = "journal.jsonl"

_IDLE: Final = {
    "exhausted": "no config was left to propose, and no trial could go on yet",
    "barrier": "the scheduler waited for other trials to reach their rung",
    "proposal": "the next proposal was being computed",
    "quota": "the backend could not run as many attempts",
    "back-off": "a failed trial was to be tried again later, and nothing else could start",
    "draining": "no new trial was to be started any more",
}


def explain(folder: Path, trial: int) -> list[str]:
    """Tell the story of a trial.

    Args:
        folder: The experiment's folder.
        trial: Number of the trial, from 0.

    Returns:
        Lines for people: the trial's config and where it comes from; what happened, each with
        the time since the experiment's start as h:mm:ss; how it ended and what it cost.

    Raises:
        UsageError: If there is no experiment in the folder, or no such trial in it.
        JournalError: If the journal is damaged.
    """
    story = Story(folder.resolve().name, _inputs(folder), trial)
    started = 0
    for line in read_lines(folder / JOURNAL):
        started += line["event"] == "start" and line["attempt"] == 0
        story.take(line)
    if not 0 <= trial < started:  # others may have been proposed
        known = (
            f"must be from 0 to {started - 1}"
            if started
            else "cannot be told of yet: none was started"
        )
        raise UsageError(f"a trial of {folder} {known}; got {trial}")
    return story.told()


def explain_idle(folder: Path) -> list[str]:
    """Tell how long workers were idle and why, and what they did otherwise.

    Args:
        folder: The experiment's folder.

    Returns:
        Lines for people.

    Raises:
        UsageError: If there is no experiment in the folder.
        JournalError: If the journal is damaged.
    """
    spent = worker_time(_inputs(folder)["n_workers"], read_lines(folder / JOURNAL))
    total = spent.n_workers * spent.seconds
    idle = sum(spent.idle.values())

    def part(seconds: float) -> str:
        share = seconds / total if total else 0.0
        return f"{readable_time(seconds)} ({share:.1%})"

    length = readable_time(spent.seconds) + ("" if spent.finished else " so far")
    told = [
        f"{plural(spent.n_workers, 'worker')} for {length}: {readable_time(total)} of worker time"
    ]
    for name, seconds in (
        ("starting up", spent.starting),
        ("training", spent.training),
        ("ending or pausing", spent.ending),
        ("idle", idle),
    ):
        told.append(f"{name}: {part(seconds)}")
    for reason, seconds in sorted(spent.idle.items(), key=lambda item: -item[1]):
        told.append(
            f"  {reason}: {part(seconds)}, {_IDLE.get(reason, 'for a reason unknown here')}"
        )
    return told


def _inputs(folder: Path) -> Mapping[str, Any]:
    """Return the experiment's inputs."""
    inputs = read_header(folder / JOURNAL)
    if inputs is None:
        raise UsageError(f"{folder} must be the folder of an experiment; it has no {JOURNAL}")
    return inputs
