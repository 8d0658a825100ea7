"""Processes that can be waited for, ended with all they have started, and found again.

An attempt runs in a session of its own, below a shell that does what a tuner which has died
cannot do: it writes down which process this is, and the exit status when it is over.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_SECONDS_BETWEEN_LOOKS: Final = 0.02  # where the system cannot tell of an end by itself
_LOOKS: Final = 100
_SECONDS_TO_DIE: Final = 0.001
_TAKEN: Final = 125

# Only built-in commands of the shell, for it has to be quick. SIGTERM is for the script, whose
# status is waited for; SIGUSR1 asks to pause, and must not end those that do not know it. That a
# signal has ended the script is in the status: the shell is not to write it below what it wrote.
_SHELL: Final = f"""
trap 'told=1' TERM; trap '' USR1
file=$1; begun=$2; shift 2
read -r stat 2>/dev/null < /proc/$$/stat || stat=$$
read -r boot 2>/dev/null < /proc/sys/kernel/random/boot_id || boot=
set -C; echo "$stat|$boot|$begun" > "$file" || exit {_TAKEN}; set +C
[ "$told" ] && exit {128 + signal.SIGTERM}
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
status=$?
echo $status >> "$file"
exit $status
"""


class Identity(NamedTuple):
    """Which process it is: its number alone may have been given to another one meanwhile.

    `start` is in clock ticks since the machine's start `boot`; "" where the system has no such.
    """

    pid: int
    start: str
    boot: str


class Process:
    """The leader of a session, with all that belongs to its process group."""

    def __init__(self, identity: Identity, child: "subprocess.Popen[bytes] | None") -> None:
        self._identity = identity
        self._child = child
        self._watched_by: asyncio.AbstractEventLoop | None = None
        self._pidfd = -1
        with suppress(AttributeError, OSError):
            self._pidfd = os.pidfd_open(identity.pid)

    async def ended(self) -> None:
        """Wait until the leader is over. Cancelling the wait does nothing to it."""
        if self._pidfd < 0:
            while self.alive():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            return
        over = asyncio.Event()
        self._watched_by = asyncio.get_running_loop()
        self._watched_by.add_reader(self._pidfd, over.set)
        try:
            await over.wait()
        finally:
            self._stop_watching()

    def alive(self) -> bool:
        """Return whether the leader runs."""
        if self._child is not None:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._identity.pid, flags) is None
        return _alive(self._identity)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, of which something may be left without the leader."""
        if self._child is None and _taken_by_another(self._identity):
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._identity.pid, number)

    def finish(self) -> int | None:
        """Kill what the leader has left behind, and return its status, if that can be known.

        A negative status is the signal that ended it, as `subprocess` has it.
        """
        self.send(signal.SIGKILL)  # before it is waited for: its number is its own until then
        status = None if self._child is None else self._child.wait()
        self._wait_for_the_rest()
        self.close()
        return status

    def close(self) -> None:
        """Look no more; what runs goes on."""
        self._stop_watching()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._child is not None and self._child.returncode is None:
            # It is to outlive this process, and nobody is to be warned that it does.
            self._child.returncode = 0

    def _wait_for_the_rest(self) -> None:
        """Wait until what was killed is gone, mostly at once, so that it writes nothing more."""
        for _ in range(_LOOKS):
            try:
                os.killpg(self._identity.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(_SECONDS_TO_DIE)

    def _stop_watching(self) -> None:
        if self._watched_by is not None:
            self._watched_by.remove_reader(self._pidfd)
            self._watched_by = None


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    file: Path,
    stdout: Path,
    stderr: Path,
) -> Process:
    """Start a command in a session of its own.

    Args:
        command: The program and its arguments.
        environment: All of its environment variables.
        file: Where its identity and its exit status are written; must not exist.
        stdout: File that its output is appended to.
        stderr: File that its errors are appended to.

    Raises:
        OSError: If the machine cannot start another process.
    """
    with stdout.open("ab") as out, stderr.open("ab") as errors:
        child = subprocess.Popen(  # noqa: S603 - running the user's program is the purpose
            ["/bin/sh", "-c", _SHELL, "sh", str(file), str(time.time()), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
    return Process(Identity(child.pid, "", ""), child)


def adopt(file: Path) -> Process | None:
    """Return the process that an earlier tuner started, if it still runs."""
    identity = _identity(file)
    if identity is None or not _alive(identity):
        return None
    process = Process(identity, None)
    if _alive(identity):  # what was opened meanwhile is that very process
        return process
    process.close()
    return None


def sweep(file: Path) -> None:
    """Kill what is left of the group of a leader that is gone."""
    identity = _identity(file)
    if identity is not None and identity.boot == _boot():
        Process(identity, None).finish()


def written_status(file: Path) -> int | None:
    """Return the exit status that the shell has written; None if it had no time to."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return None
    return int(lines[1]) if len(lines) > 2 and lines[1].isdigit() else None


def begun(file: Path) -> float | None:
    """Return the wall clock's seconds at which a process was started; None if it was not."""
    try:
        first, newline, _ = file.read_text(encoding="utf-8", errors="replace").partition("\n")
    except FileNotFoundError:
        return None
    return float(first.rpartition("|")[2]) if newline else None


def _identity(file: Path) -> Identity | None:
    try:
        first, newline, _ = file.read_text(encoding="utf-8", errors="replace").partition("\n")
    except FileNotFoundError:
        return None
    if not newline:
        return None
    stat, boot, _ = first.rsplit("|", 2)
    return Identity(int(stat.split(" ", 1)[0]), _start(stat)[1], boot)


def _start(stat: str) -> tuple[str, str]:
    """Return (state, start time) of a line of /proc/PID/stat; the name before may hold blanks."""
    fields = stat.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def _now(pid: int) -> tuple[str, str] | None:
    """Return (state, start time) of the process that has this number now; None if none has."""
    try:
        return _start(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "", ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _alive(identity: Identity) -> bool:
    now = _now(identity.pid)
    if now is None or identity.boot != _boot():
        return False
    state, start = now
    return state not in ("Z", "X") and start == identity.start


def _taken_by_another(identity: Identity) -> bool:
    now = _now(identity.pid)
    return now is not None and now[1] != identity.start


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory; None if it is silent."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="utf-8")
    except OSError:
        return None
    found = text.partition("\noom_kill ")[2].partition("\n")[0]
    return int(found) if found.isdigit() else None
