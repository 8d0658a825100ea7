"""Capture a step as a CUDA graph, so that replaying it costs one launch."""

from collections.abc import Callable
from typing import Final

import torch

# Steps taken before the capture, on a stream of their own: libraries set themselves up.
WARM_UP: Final = 3


def captured(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return a function that does what `step` does, after taking `WARM_UP` real steps.

    Args:
        step: Takes a step; finds where it is, and leaves what it changes, in tensors that stay
            where they are.
        device: A CUDA device.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
