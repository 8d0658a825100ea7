"""The peer's end of the pipe: JSON lines on standard input, answered on standard output.

An optimizer is opened once, then asked and told, with any number of trials under way. Each
answer says what it cost: seconds by the wall's clock and of the processor, all threads
together, of the optimizer's own work and without that of the pipe.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TextIO

from benchmarks.peers.space import Config, Parameter, parameters_from_json


class Opening(NamedTuple):
    """What an optimizer is made of.

    Attributes:
        parameters: The space.
        method: The optimizer's own name of the method.
        seed: Seed of everything random.
        points: Configs to be asked for first, in this order.
        max_resource: Resource level at which a trial is complete; 1 if it has one value.
        options: Further settings of the method.
    """

    parameters: tuple[Parameter, ...]
    method: str
    seed: int
    points: tuple[Config, ...]
    max_resource: int
    options: Mapping[str, Any]


class Asked(NamedTuple):
    """A trial to be evaluated; `reached` is the resource level that it was paused at, or 0."""

    number: int
    config: Config
    reached: int = 0


class Optimizer(Protocol):
    """An optimizer that minimises, behind the pipe."""

    version: str

    def ask(self) -> Asked:
        """Return a trial to be evaluated, new or paused before."""
        ...

    def tell(self, number: int, resource: int, value: float) -> str:
        """Take a value of a running trial; return "continue", "pause", "stop" or "complete"."""
        ...


def take_standard_output() -> TextIO:
    """Return standard output; what is printed from now on goes to standard error.

    So answers stand alone, whatever libraries print.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def serve(make: Callable[[Opening], Optimizer], answers: TextIO) -> None:
    """Answer requests until the other end closes the pipe."""
    optimizer: Optimizer | None = None
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.perf_counter(), time.process_time()
        try:
            if optimizer is None:
                optimizer = make(_opening(request))
                answer: dict[str, Any] = {"version": optimizer.version}
            elif request["do"] == "ask":
                answer = optimizer.ask()._asdict()
            else:
                action = optimizer.tell(request["number"], request["resource"], request["value"])
                answer = {"action": action}
        except Exception:  # noqa: BLE001 - whatever it is, the other end is to know
            answer = {"error": traceback.format_exc()}
        cost = {"wall": time.perf_counter() - begin[0], "cpu": time.process_time() - begin[1]}
        send(answers, answer | cost)


def _opening(request: Mapping[str, Any]) -> Opening:
    return Opening(
        parameters_from_json(request["parameters"]),
        request["method"],
        request["seed"],
        tuple(request["points"]),
        request["max_resource"],
        request["options"],
    )


def send(stream: TextIO, answer: Mapping[str, Any]) -> None:
    """Write one line."""
    # Numbers of numpy become plain ones here.
    json.dump(answer, stream, default=lambda number: number.item())
    stream.write("\n")
    stream.flush()


def main() -> None:
    """Let the `main` of the module named on the command line answer."""
    answers = take_standard_output()  # before libraries are imported, for some print then
    module = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    module.main(answers)


if __name__ == "__main__":
    main()
