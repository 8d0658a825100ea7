"""Train the transformer on WikiText-2, reporting its validation loss after each epoch.

    python -m sims.transformer_wikitext2.train --data FOLDER [--lr 0.001 ...]

Every hyperparameter is a flag. With `--checkpoint-dir`, or under a tuner, each epoch's
checkpoint is written before its report, and training goes on from it when it is started again.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from asynctune.exceptions import UsageError
from asynctune.reporting import checkpoint_dir, report
from sims.transformer_wikitext2.training.settings import (
    Settings,
    add_setting_flags,
    flag,
    settings_of,
)
from sims.transformer_wikitext2.training.text import Text, load


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="train", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    add_text_flags(made)
    add_setting_flags(made)
    flag(made, "device", default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:N")
    flag(made, "use_cuda", type=int, choices=(0, 1), default=1, help="0 keeps to the CPU")
    flag(made, "optimizer_name", choices=("sgd",), default="sgd")
    flag(made, "checkpoint_dir", type=Path, metavar="FOLDER", help="default: what the tuner says")
    flag(made, "threads", type=int, metavar="N", help="threads of torch on the CPU")
    # Tuners pass on all of a config; what is logged here is the report alone.
    flag(made, "log_interval", type=int, help=argparse.SUPPRESS)
    return made


def add_text_flags(made: argparse.ArgumentParser) -> None:
    """Add the flags that say which text is trained on."""
    made.add_argument(
        "--data",
        "--input-data-dir",
        "--input_data_dir",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="holds train.txt, valid.txt and test.txt",
    )
    made.add_argument("--download", action="store_true", help="fetch what --data lacks")
    made.add_argument("--cache", type=Path, metavar="FOLDER", help="for token ids; default --data")
    flag(made, "vocabulary", type=int, metavar="N", help="keep the N most frequent words only")
    flag(made, "train_tokens", type=int, metavar="N", help="train on the first N tokens only")
    flag(made, "valid_tokens", type=int, metavar="N", help="validate on the first N tokens only")


def text_of(values: argparse.Namespace) -> Text:
    """Return the text that the flags ask for.

    Raises:
        UsageError: If it is not there.
    """
    if values.download:
        from sims.transformer_wikitext2.training.download import download

        download(values.data)
    text = load(values.data, values.cache, values.vocabulary)
    return text.shortened(values.train_tokens, values.valid_tokens)


def train(settings: Settings, text: Text, device_name: str, checkpoints: Path | None) -> None:
    """Train, from the checkpoint if there is one, and report after each epoch.

    Once a loss is not finite, it is reported as it is and training ends.

    Args:
        settings: What to train, and how.
        text: What to train on.
        device_name: "auto", "cpu", "cuda" or "cuda:N".
        checkpoints: Folder of the checkpoint; None keeps none.
    """
    import torch

    from sims.transformer_wikitext2.training import checkpoint
    from sims.transformer_wikitext2.training.batches import fold
    from sims.transformer_wikitext2.training.loop import evaluate, train_epoch
    from sims.transformer_wikitext2.training.model import initial_model
    from sims.transformer_wikitext2.training.precision import pick_device, set_matmul_precision

    device = pick_device(device_name)
    set_matmul_precision(settings.precision)
    training = fold(text.train, settings.batch_size, device)
    validation = fold(text.valid, settings.eval_batch_size, device)
    model = initial_model(settings, text.n_words).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
    identity = settings.identity() | {"n_words": text.n_words, "train_tokens": len(text.train)}

    epoch, seconds, diverged = 0, 0.0, False
    path = None if checkpoints is None else checkpoints / checkpoint.NAME
    if path is not None and (state := checkpoint.load(path, identity)) is not None:
        epoch, seconds, diverged = state["epoch"], state["seconds"], state["diverged"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    while epoch < settings.epochs and not diverged:
        began = time.perf_counter()
        train_loss = train_epoch(model, optimizer, training, settings)
        val_loss = evaluate(model, validation, settings)
        epoch, seconds = epoch + 1, seconds + time.perf_counter() - began
        diverged = not (math.isfinite(train_loss) and math.isfinite(val_loss))
        if path is not None:
            state = {"epoch": epoch, "seconds": seconds, "diverged": diverged}
            state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoint.save(path, state, identity)
        if report(epoch=epoch, val_loss=val_loss, train_loss=train_loss, elapsed_time=seconds):
            break


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    values = parser().parse_args(arguments)
    try:
        settings, text = settings_of(values), text_of(values)
        if values.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(values.threads)  # torch is not imported yet
        train(
            settings,
            text,
            device_name=values.device if values.use_cuda else "cpu",
            checkpoints=values.checkpoint_dir or checkpoint_dir(),
        )
    except UsageError as error:
        sys.stderr.write(f"train: {' '.join(str(error).split())}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
