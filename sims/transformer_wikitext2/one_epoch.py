"""Hold the training script against the published curves, one epoch at full size.

    python -m sims.transformer_wikitext2.one_epoch --data FOLDER [--configs 4] [--json FILE]

The configs are published ones whose loss after the first epoch lies between 8.6 and 10.0: they
have learnt something, and the loss still depends on every hyperparameter. What is finished is
kept in FILE; the same command goes on with the others. Needs torch, and on one core of a
recent CPU about a quarter of an hour a config.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from asynctune.reporting import CHANNEL, CHECKPOINTS
from sims.transformer_wikitext2.recorded import NAMES, merge, readings
from sims.transformer_wikitext2.training.text import Text, load

LOWEST: Final = 8.6
HIGHEST: Final = 10.0
TOLERANCE: Final = 0.15
_ESTIMATED_FROM: Final = 12  # steps
# Blocks of hundreds of megabytes come and go each step: glibc is to keep them, since having
# them mapped and cleared anew costs nearly half of the time.
_KEEP_MEMORY: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**36),
    "MALLOC_TOP_PAD_": str(2**28),
}


class Published(NamedTuple):
    """A config and what the original study saw of it.

    Attributes:
        trial: The trial's number in the study's sequence of configs.
        config: Its hyperparameters.
        val_loss: Validation loss after the first epoch.
    """

    trial: int
    config: dict[str, float | int]
    val_loss: float


class Outcome(NamedTuple):
    """What the training script made of it, in `minutes`."""

    trial: int
    precision: str
    published: float
    ours: float
    minutes: float

    @property
    def within(self) -> bool:
        """Return whether the losses agree."""
        return abs(self.ours - self.published) <= TOLERANCE


def candidates() -> list[Published]:
    """Return the published configs to choose from, the quickest ones first."""
    recorded = merge(readings())
    first = recorded.loss[:, 0]
    found = []
    for i in np.flatnonzero(recorded.exact & (first >= LOWEST) & (first <= HIGHEST)).tolist():
        config: dict[str, float | int] = dict(zip(NAMES, recorded.configs[i].tolist(), strict=True))
        config["batch_size"] = int(config["batch_size"])
        found.append(Published(recorded.readings[i][0].trial, config, float(first[i])))
    return sorted(found, key=lambda p: (-p.config["batch_size"], p.trial))


def train(config: Mapping[str, Any], flags: Sequence[str], threads: int) -> dict[str, Any]:
    """Run the training script for an epoch and return its report.

    Args:
        config: Hyperparameters by name.
        flags: Further flags of the script.
        threads: Threads of torch.

    Raises:
        UsageError: If the script fails; with what it said last.
    """
    command = [sys.executable, "-m", "sims.transformer_wikitext2.train", "--epochs", "1"]
    command += [f"--{name}={value!r}" for name, value in config.items()]
    environment = {k: v for k, v in os.environ.items() if k not in (CHANNEL, CHECKPOINTS)}
    done = subprocess.run(  # noqa: S603 - this package's own program
        [*command, "--threads", str(threads), *flags],
        env=environment | _KEEP_MEMORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UsageError(f"the training script failed: {said}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def estimate(published: Published, text: Text, flags: Sequence[str], threads: int) -> float:
    """Return the minutes that an epoch takes, from a few steps."""
    n_columns, bptt = int(published.config["batch_size"]), 35
    train_tokens = n_columns * (bptt * _ESTIMATED_FROM + 1)
    valid_tokens = 10 * (bptt * _ESTIMATED_FROM + 1)
    short = ["--train-tokens", str(train_tokens), "--valid-tokens", str(valid_tokens)]
    report = train(published.config, [*flags, *short], threads)
    # Validation has no backward pass: about a third of the work a token.
    work = (len(text.train) + len(text.valid) / 3) / (train_tokens + valid_tokens / 3)
    return float(report["elapsed_time"]) * work / 60


def read(path: Path) -> list[Outcome]:
    """Return the outcomes in a file; none if it does not exist."""
    if not path.exists():
        return []
    try:
        return [Outcome(**row) for row in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} must hold outcomes of this check: {error}") from error


def write(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes to a file, all of them or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_atomically(path) as temporary:
        rows = [outcome._asdict() for outcome in outcomes]
        temporary.write_text(json.dumps(rows, indent=2) + "\n")


def row(outcome: Outcome, published: Published) -> str:
    """Return a line of the table."""
    config = published.config
    return (
        f"{outcome.trial:5} {config['lr']:8.2e} {config['dropout']:7.3f} {config['batch_size']:5} "
        f"{config['momentum']:8.3f} {config['clip']:5.2f} {outcome.published:9.3f} "
        f"{outcome.ours:8.3f} {outcome.ours - outcome.published:+7.3f} "
        f"{'yes' if outcome.within else 'no':>6} {outcome.minutes:7.1f}  {outcome.precision}"
    )


HEADER: Final = (
    "trial       lr dropout batch momentum  clip published     ours    diff within minutes"
)


def check(
    data: Path, n_configs: int, precision: str, threads: int, path: Path, flags: Sequence[str]
) -> list[Outcome]:
    """Train what is not finished, printing and keeping each outcome; return all of them."""
    chosen = candidates()
    if not 1 <= n_configs <= len(chosen):
        raise UsageError(f"configs must be between 1 and {len(chosen)}; got {n_configs}")
    chosen = chosen[:n_configs]
    text = load(data)
    common = ["--data", str(data), *flags]
    kept = read(path)
    finished = {outcome.trial: outcome for outcome in kept}
    if any(published.trial not in finished for published in chosen):
        tried = ("float", "bf16") if precision == "auto" else (precision,)
        minutes = {}
        for name in tried:
            minutes[name] = estimate(chosen[0], text, [*common, "--precision", name], threads)
            click.echo(f"{name}: about {minutes[name]:.0f} minutes a config on {threads} threads")
        precision = min(minutes, key=minutes.__getitem__)
    click.echo(HEADER)
    for published in chosen:
        if published.trial not in finished:
            report = train(published.config, [*common, "--precision", precision], threads)
            outcome = Outcome(
                trial=published.trial,
                precision=precision,
                published=published.val_loss,
                ours=float(report["val_loss"]),
                minutes=float(report["elapsed_time"]) / 60,
            )
            finished[published.trial] = outcome
            write(path, list(finished.values()))
        click.echo(row(finished[published.trial], published))
    return [finished[published.trial] for published in chosen]


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with WikiText-2."
)
@click.option("--configs", default=4, show_default=True, help="How many, the quickest first.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: whichever is faster here.",
)
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option(
    "--json",
    "path",
    type=click.Path(path_type=Path),
    default=Path("results/one-epoch.json"),
    show_default=True,
    help="Keeps what is finished.",
)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def main(
    data: Path, configs: int, precision: str, threads: int, path: Path, flags: tuple[str, ...]
) -> None:
    """Compare the first epoch with the published one; status 1 if one is not within 0.15.

    FLAGS, after --, go to the training script.
    """
    try:
        outcomes = check(data, configs, precision, threads, path, flags)
    except UsageError as error:
        click.echo(f"one_epoch: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    n_within = sum(outcome.within for outcome in outcomes)
    click.echo(f"{n_within} of {len(outcomes)} within {TOLERANCE} of the published loss")
    sys.exit(0 if n_within == len(outcomes) else 1)


if __name__ == "__main__":
    main()
