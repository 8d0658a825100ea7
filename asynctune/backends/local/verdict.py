"""What the end of a process means for the attempt that it was. Pure: facts in, an event out."""

import signal
from typing import Final, Literal, NamedTuple

from asynctune.events import Cause, Ended, Failed, Paused
from asynctune.files import NO_ROOM

Command = Literal["", "pause", "stop"]
WROTE_LAST: Final = "; it wrote last:"  # ends the first line of a message, if others follow

_FULL: Final = (*NO_ROOM, "[Errno 28]")
# Nobody sends these to itself: they come from the kernel, from a person or from a batch system.
_FROM_OUTSIDE: Final = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU}
)
_SHELL_SIGNAL: Final = 128  # a shell's status is so much plus the signal
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127


class End(NamedTuple):
    """What is known when the process of an attempt is over.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        status: Exit status, negative for a signal; None if nobody was there to see it.
        command: What it had been told.
        killed: Whether the backend has killed it.
        fault: Why it had to be ended, if it had to.
        reports: Number of its reports.
        level: Resource level of its last report, or the one that it went on from.
        from_level: Resource level that it went on from.
        until: Resource level at which it was to end by itself.
        max_level: Resource level at which a trial is complete.
        checkpointed: Whether the trial's folder holds a checkpoint.
        tail: The last lines that it wrote.
        oom_kills: How many processes the kernel has killed for want of memory while it ran; None
            if the kernel does not tell.
    """

    trial: int
    attempt: int
    status: int | None
    command: Command
    killed: bool
    fault: tuple[Cause, str] | None
    reports: int
    level: int
    from_level: int
    until: int
    max_level: int
    checkpointed: bool
    tail: str
    oom_kills: int | None

    @property
    def checkpoint(self) -> int:
        """The resource level that a next attempt can go on from.

        A script writes its checkpoint before it reports, or when it is told to pause: either way
        the last report and the checkpoint are of the same level.
        """
        return self.level if self.checkpointed else 0


def verdict(end: End, now: float) -> Ended | Paused | Failed:
    """Return the event that tells of an attempt's end, which was noticed at time `now`."""
    key = now, end.trial, end.attempt
    if end.command == "stop":
        return Ended(*key)
    if end.fault is not None:
        cause, message = end.fault
        return Failed(*key, cause, _with_tail(message, end.tail), end.checkpoint)
    if end.status == 0 or end.killed:
        if end.command == "pause":  # though it may have gone on to its end
            return Paused(*key, end.checkpoint)
        if end.level >= end.max_level:
            return Ended(*key)
        if end.level >= end.until:
            return Paused(*key, end.checkpoint)
        if end.reports == 0 and end.from_level == 0:
            message = "it ended in order and without any report"
            return Failed(*key, Cause.USER_ERROR, _with_tail(message, end.tail))
        return Ended(*key)
    cause, message = _fault(end)
    return Failed(*key, cause, _with_tail(message, end.tail), end.checkpoint)


def _fault(end: End) -> tuple[Cause, str]:
    """Return cause and message of an end that was not in order."""
    status = end.status
    if status is None:
        return Cause.INFRASTRUCTURE, (
            "it is gone, and nobody saw how: it was killed with all that belonged to it, "
            "or the machine was started anew"
        )
    number = _signal(status)
    if number is None:
        if any(sign in end.tail for sign in _FULL):
            return Cause.INFRASTRUCTURE, f"the disk is full; exit status {status}"
        words = {_NOT_FOUND: " (not found)", _NOT_EXECUTABLE: " (not executable)"}
        return Cause.USER_ERROR, f"exit status {status}{words.get(status, '')}"
    message = f"killed by {number.name}"
    if number == signal.SIGKILL:
        message += _memory(end.oom_kills)
    cause = Cause.INFRASTRUCTURE if number in _FROM_OUTSIDE else Cause.USER_ERROR
    return cause, message


def _memory(oom_kills: int | None) -> str:
    """Return what the kernel knows of processes killed for want of memory."""
    if oom_kills is None:
        return "; whether for want of memory the kernel does not tell here"
    if oom_kills == 0:
        return "; the kernel has killed nothing for want of memory meanwhile"
    return f"; meanwhile the kernel has killed {oom_kills} for want of memory, so probably this one"


def _signal(status: int) -> signal.Signals | None:
    number = -status if status < 0 else status - _SHELL_SIGNAL
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def _with_tail(message: str, tail: str) -> str:
    return f"{message}{WROTE_LAST}\n{tail}" if tail else message
