"""What a training costs on its own: seconds of one core, by the batch size.

    python -m sims.transformer_wikitext2_mini.alone --data FOLDER [--epochs N] [--save FILE]

The curves were recorded by training many configs together, beside other work. How long each of
them took there is no measure of anything. So the script's epochs are timed here one config at a
time, in seconds of the processor, which other work changes little.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from sims.transformer_wikitext2.training.settings import Settings
from sims.transformer_wikitext2.training.text import Text, load
from sims.transformer_wikitext2_mini.recipe import mini_recipe

NAME: Final = "seconds.json"
SIZES: Final = (16, 20, 24, 28, 32, 36, 40, 44, 48)


class Alone(NamedTuple):
    """Seconds of an epoch: so many for the tokens, and so many more for each step.

    Attributes:
        fixed: Seconds of an epoch whatever the batch size.
        by_step: Further seconds times the batch size: there are the fewer steps the larger it is.
    """

    fixed: float
    by_step: float

    def epoch(self, batch_size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds of an epoch, shape as `batch_size`."""
        return self.fixed + self.by_step / np.asarray(batch_size, dtype=np.float64)


def fitted(sizes: ArrayLike, seconds: ArrayLike) -> Alone:
    """Return what comes closest to measured seconds, in least squares; neither number is negative.

    Args:
        sizes: Batch sizes, shape ``(n,)``.
        seconds: Of an epoch, shape ``(n,)``.

    Raises:
        UsageError: If there are fewer than two different sizes.
    """
    from scipy.optimize import nnls

    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if len(set(x.tolist())) < 2:
        raise UsageError(f"seconds must be measured at two batch sizes at least; got {x.tolist()}")
    fixed, by_step = nnls(np.stack([np.ones_like(x), 1 / x], axis=1), y)[0]
    return Alone(float(fixed), float(by_step))


def measure(text: Text, sizes: Sequence[int], epochs: int) -> list[float]:
    """Return the script's seconds an epoch for each batch size, in processor time.

    Sizes take turns, so that what else the host does hits all of them; medians are returned.

    Args:
        text: What is trained on, shortened already.
        sizes: Batch sizes.
        epochs: Epochs of each that are timed, after one that is not.

    Raises:
        UsageError: If there are none to be timed.
    """
    if epochs < 1:
        raise UsageError(f"epochs must be at least 1; got {epochs}")
    import torch

    from sims.transformer_wikitext2.training.batches import fold
    from sims.transformer_wikitext2.training.loop import evaluate, train_epoch
    from sims.transformer_wikitext2.training.model import initial_model

    torch.set_num_threads(1)
    device = torch.device("cpu")
    shape = mini_recipe().shape
    # The middle of the space. Only dropout matters: near 0 and 1 it takes a tenth less time.
    trained = [Settings(lr=0.05, batch_size=size, shape=shape) for size in sizes]
    models = [initial_model(one, text.n_words) for one in trained]
    taken: list[list[float]] = [[] for _ in sizes]
    for turn in range(epochs + 1):
        for one, model, seconds in zip(trained, models, taken, strict=True):
            training = fold(text.train, one.batch_size, device)
            validation = fold(text.valid, one.eval_batch_size, device)
            optimizer = torch.optim.SGD(model.parameters(), lr=one.lr, momentum=one.momentum)
            begin = time.process_time()
            train_epoch(model, optimizer, training, one)
            evaluate(model, validation, one)
            if turn:
                seconds.append(time.process_time() - begin)
    return [statistics.median(seconds) for seconds in taken]


def recorded() -> Alone:
    """Return what was measured when the table was made."""
    import json

    content = (files(__package__) / "data" / NAME).read_text()
    found: dict[str, Any] = json.loads(content)
    return Alone(found["fixed"], found["by_step"])


def save(path: Path, sizes: Sequence[int], seconds: Sequence[float], processor: str) -> Alone:
    """Write what was measured, and what is made of it, as JSON; returns the latter."""
    import json

    alone = fitted(sizes, seconds)
    content = {
        **alone._asdict(),
        "batch_size": list(sizes),
        "seconds": [round(value, 4) for value in seconds],
        "processor": processor,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    return alone


def processor_name() -> str:
    """Return the name that the system gives its processor, or what little is known."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="alone", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the text")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="for token ids")
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="timed, of each size")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what was measured")
    values = parser.parse_args(arguments)
    recipe = mini_recipe()
    try:
        text = load(values.data, values.cache, recipe.vocabulary)
        text = text.shortened(recipe.train_tokens, recipe.valid_tokens)
        seconds = measure(text, SIZES, values.epochs)
    except UsageError as error:
        sys.stderr.write(f"alone: {' '.join(str(error).split())}\n")
        return 2
    alone = fitted(SIZES, seconds)
    for size, value in zip(SIZES, seconds, strict=True):
        sys.stdout.write(f"batch size {size}: {value:.3f} s, fitted {alone.epoch(size):.3f} s\n")
    if values.save is not None:
        save(values.save, SIZES, seconds, processor_name())
    return 0


if __name__ == "__main__":
    sys.exit(main())
