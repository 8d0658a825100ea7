"""Capture a step as a CUDA graph, so that replaying it costs one launch.

A step that is captured finds where it is, and leaves what it changes, in tensors that stay where
they are.
"""

from collections.abc import Callable
from typing import Final

import torch

# Real steps to be taken before the capture: libraries set themselves up in them.
WARM_UP: Final = 3


def warm_up(step: Callable[[], None], device: torch.device) -> None:
    """Take `WARM_UP` steps, on a stream of their own as a capture wants it."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """Return a function that does on the GPU what `step` does, without taking a step now.

    Raises:
        RuntimeError: If the step has something in it that cannot be captured.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
