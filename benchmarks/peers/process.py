"""This end of the pipe: peers by name, and a peer's process as an object to ask and tell."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.peers.space import Config, Parameter
from benchmarks.peers.wire import Asked

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENTS: Final = ROOT / ".peers"
# One thread each: matrices are small here, and what is compared is work, not cores.
_ONE_THREAD: Final = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
}


class PeerError(Exception):
    """A peer could not be started, or failed; the message is for people."""


class Peer(NamedTuple):
    """An optimizer to compare with.

    Attributes:
        name: Its name in tables.
        environment: Folder under `.peers` that it is installed in; None: this environment.
        module: Module of this package that serves it.
        method: The method's name there.
        options: Further settings of the method.
        revision: To be raised when its module comes to use it otherwise, so that results that
            were kept are not taken for those of now.
    """

    name: str
    environment: str | None
    module: str
    method: str
    options: Mapping[str, Any] = {}
    revision: int = 1

    @property
    def python(self) -> Path:
        """The interpreter that it runs in."""
        if self.environment is None:
            return Path(sys.executable)
        return ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Whether its environment is there."""
        return self.python.exists()


class Cost(NamedTuple):
    """What an answer cost the optimizer, in seconds of the wall's clock and of the processor."""

    wall: float
    cpu: float

    def __add__(self, other: object) -> "Cost":
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer("asynctune BO", None, "asynctune_peer", "BO"),
        Peer("asynctune MOBSTER", None, "asynctune_peer", "MOBSTER"),
        Peer("random", None, "asynctune_peer", "RS"),
        Peer("Optuna GP", "optuna", "optuna_peer", "GP"),
        Peer("Optuna TPE", "optuna", "optuna_peer", "TPE"),
        Peer("BoTorch qLogEI", "botorch", "botorch_peer", "qLogEI"),
        Peer("BoTorch qLogNEI", "botorch", "botorch_peer", "qLogNEI"),
        Peer("SMAC BB", "smac", "smac_peer", "BB"),
        Peer("SMAC HPO", "smac", "smac_peer", "HPO"),
        Peer("Syne Tune BO", "syne-tune", "syne_tune_peer", "BO"),
        Peer("Syne Tune MOBSTER", "syne-tune", "syne_tune_peer", "MOBSTER"),
    )
}
"""All optimizers by name."""


def find_peers(names: Sequence[str]) -> list[Peer]:
    """Return the peers of these names, without those whose environment is missing.

    Each that is missing is named in a line on standard error, with what to do about it.

    Raises:
        PeerError: If there is no peer of a name.
    """
    for name in names:
        if name not in PEERS:
            raise PeerError(f"a peer must be one of {', '.join(PEERS)}; got {name!r}")
    found = []
    for peer in (PEERS[name] for name in names):
        if peer.installed:
            found.append(peer)
        else:
            print(f"{peer.name} is not installed: run make peers", file=sys.stderr)
    return found


class RunningPeer:
    """A peer's process. Answers come with what they cost.

    Args:
        process: The process, its pipes open.
        name: The peer's name, for errors.
        errors: Where what it prints goes to.
    """

    def __init__(self, process: subprocess.Popen[str], name: str, errors: Path) -> None:
        self._process = process
        self._name = name
        self._errors = errors
        self.version = ""

    def request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and return the answer.

        Raises:
            PeerError: If the peer has failed, with what it had to say.
        """
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise PeerError(f"{self._name} has no pipes")
        try:
            requests.write(json.dumps(message) + "\n")
            requests.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            text = self._errors.read_text(errors="replace").strip()
            raise PeerError(f"{self._name} ended: {text[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self._name} failed: {answer['error']}")
        return answer

    def ask(self) -> tuple[Asked, Cost]:
        """Return a trial to be evaluated."""
        answer = self.request({"do": "ask"})
        asked = Asked(answer["number"], answer["config"], answer["reached"])
        return asked, Cost(answer["wall"], answer["cpu"])

    def tell(self, number: int, value: float, resource: int = 1) -> tuple[str, Cost]:
        """Tell a trial's value and return what is to become of the trial."""
        message = {"do": "tell", "number": number, "resource": resource, "value": value}
        answer = self.request(message)
        return answer["action"], Cost(answer["wall"], answer["cpu"])


@contextmanager
def process_of(peer: Peer, module: str) -> Iterator[RunningPeer]:
    """Start a peer's process, and end it at the end of the block.

    Args:
        peer: The peer.
        module: Module of this package whose `main` answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        with (
            errors.open("w") as stream,
            subprocess.Popen(
                [peer.python, "-m", "benchmarks.peers.wire", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                cwd=ROOT,
                env={**os.environ, **_ONE_THREAD},
            ) as process,
        ):
            try:
                yield RunningPeer(process, peer.name, errors)
            finally:
                process.kill()


@contextmanager
def running(
    peer: Peer,
    parameters: Sequence[Parameter],
    *,
    seed: int,
    points: Sequence[Config] = (),
    max_resource: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Iterator[RunningPeer]:
    """Start a peer on a problem.

    Args:
        peer: The peer.
        parameters: The space.
        seed: Seed of everything random in the peer.
        points: Configs that are asked for first, in this order.
        max_resource: Resource level at which a trial is complete.
        options: Settings of the method, over the peer's own.
    """
    with process_of(peer, peer.module) as process:
        opened = process.request(
            {
                "do": "open",
                "parameters": [p._asdict() for p in parameters],
                "method": peer.method,
                "seed": seed,
                "points": [dict(point) for point in points],
                "max_resource": max_resource,
                "options": {**peer.options, **(options or {})},
            }
        )
        process.version = opened["version"]
        yield process
