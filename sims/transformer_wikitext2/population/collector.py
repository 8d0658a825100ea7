"""Record learning curves, a population at a time, until the time or the configs are used up.

Rows are written before the checkpoint. Killed in between, an epoch is trained once more from the
checkpoint, to the same values, and its rows are left out as they are there already.
"""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from asynctune.wording import plural, readable_time
from sims.transformer_wikitext2.population.cost import Problem, device_of
from sims.transformer_wikitext2.population.design import next_population
from sims.transformer_wikitext2.population.operations import choose
from sims.transformer_wikitext2.population.plan import Item, Plan, items
from sims.transformer_wikitext2.population.recipe import Recipe
from sims.transformer_wikitext2.population.rows import Key, Record
from sims.transformer_wikitext2.population.trainer import OutOfTimeError, Population, Vector
from sims.transformer_wikitext2.training import checkpoint
from sims.transformer_wikitext2.training.precision import set_matmul_precision
from sims.transformer_wikitext2.training.settings import Settings
from sims.transformer_wikitext2.training.text import Text

_CHECKPOINT: Final = "population.pt"
# An epoch is begun only if the time left is this many times what the last one took.
_MARGIN: Final = 1.1


class Clock(NamedTuple):
    """How much time there is, in seconds.

    Attributes:
        now: Returns the time, from any origin.
        end: When all must be over.
    """

    now: Callable[[], float]
    end: float

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.end - self.now()


class Collector:
    """Records a plan into a folder.

    Args:
        recipe: What is recorded.
        plan: Which configs, and how.
        text: What is trained on, shortened already.
        folder: Where the record and the checkpoint are; what is there is gone on with.
        device: Where it is trained.
        tell: Told of the progress, a line at a time.
        now: Returns the time in seconds.
    """

    def __init__(
        self,
        recipe: Recipe,
        plan: Plan,
        text: Text,
        folder: Path,
        device: torch.device,
        *,
        tell: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recipe, self._plan, self._text = recipe, plan, text
        self._device, self._tell, self._now = device, tell, now
        self.record = Record(folder)
        self.record.claim(self._purpose())
        self._checkpoint = folder / _CHECKPOINT
        self._items = items(plan, recipe, len(text.train))
        self._operations = choose(device, plan.precision, tell=tell)
        self._problem = Problem(
            recipe.shape, text.n_words, len(text.train), len(text.valid), plan.precision
        )
        self._best = device_of(device, plan.precision)
        self._origin = {
            "source": plan.source,
            "device": _device_name(device),
            "precision": plan.precision,
            "torch_version": torch.__version__,
            "code_version": code_version(),
        }
        set_matmul_precision(plan.precision)

    def run(self, budget: float) -> bool:
        """Record until all is there, or `budget` seconds are used up; returns whether all is."""
        clock = Clock(self._now, self._now() + budget)
        done = self.record.count(self._plan.epochs)
        self._tell(f"{done} of {len(self._items)} trainings are recorded")
        begun = self._begun()
        n_rows = self.record.rows
        for number, members in enumerate(self._populations(begun)):
            if not number and (least := self._least(members)) is not None:
                self._tell(
                    f"an epoch of {plural(len(members), 'config')}, trained at once, takes at "
                    f"least {readable_time(least)}"
                )
            if not self._train(members, clock, resumed=members is begun):
                self._tell(self._out_of_time(added=self.record.rows - n_rows))
                return False
        self._tell(f"all {len(self._items)} trainings are recorded")
        return True

    def _least(self, members: Sequence[Item]) -> float | None:
        """Return the seconds that the device needs at least for an epoch of a population."""
        batch_size = self._settings(members[0]).batch_size
        return self._best.least(self._problem, batch_size, len(members))

    def _out_of_time(self, *, added: int) -> str:
        said = f"out of time: {plural(self._left(), 'training is', 'trainings are')} left; "
        if not added:
            return said + "nothing was recorded, as no epoch fitted into the time"
        return said + (
            f"what was recorded is saved in {self.record.path}, and the same command goes on "
            "with it"
        )

    def _left(self) -> int:
        return sum(not self.record.complete(item.key, self._plan.epochs) for item in self._items)

    def _populations(self, begun: list[Item] | None) -> Iterator[list[Item]]:
        """Yield what is trained together: what was begun, then what shares a batch size."""
        if begun:
            yield begun
        while pending := [
            i for i in self._items if not self.record.complete(i.key, self._plan.epochs)
        ]:
            seed = pending[0].seed
            of_seed = {i.planned.config_id: i for i in pending if i.seed == seed}
            together = next_population([i.planned for i in of_seed.values()], self._plan.members)
            yield [of_seed[planned.config_id] for planned in together]

    def _begun(self) -> list[Item] | None:
        """Return whom the checkpoint is of, if they are not done."""
        if not self._checkpoint.exists():
            return None
        whole = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        wanted = {item.key: item for item in self._items}
        keys = [Key(*pair) for pair in whole["identity"]["members"]]
        if any(key not in wanted for key in keys):
            return None
        members = [wanted[key] for key in keys]
        same = whole["identity"] == self._identity(members)
        unfinished = any(not self.record.complete(key, self._plan.epochs) for key in keys)
        return members if same and unfinished else None

    def _purpose(self) -> dict[str, Any]:
        """Return what all rows of a record must have in common."""
        recipe, plan, text = self._recipe, self._plan, self._text
        digest = hashlib.sha256(text.train.tobytes() + b"|" + text.valid.tobytes())
        return {
            "benchmark": recipe.name,
            "space": recipe.config_space().to_json(),
            "shape": asdict(recipe.shape),
            "n_words": text.n_words,
            "text": digest.hexdigest()[:16],
            "seed": recipe.seed,
            "precision": plan.precision,
            "design_seed": plan.design_seed,
            "block": plan.block,
            "region": None if recipe.region is None else list(recipe.region),
        }

    def _identity(self, members: Sequence[Item]) -> dict[str, Any]:
        """Return what a checkpoint must have in common with the training that goes on from it."""
        return {
            "members": [list(item.key) for item in members],
            "settings": [
                self._settings(item).identity() | {"n_words": self._text.n_words}
                for item in members
            ],
            "train_tokens": len(self._text.train),
        }

    def _settings(self, item: Item) -> Settings:
        return self._recipe.settings(
            item.planned.config,
            seed=item.seed,
            epochs=self._plan.epochs,
            precision=self._plan.precision,
        )

    def _train(self, members: Sequence[Item], clock: Clock, *, resumed: bool) -> bool:
        """Train a population to its end, `resumed` from the checkpoint; False if time ran out."""
        identity = self._identity(members)
        population = Population(
            [self._settings(item) for item in members], self._text, self._device, self._operations
        )
        seconds = 0.0
        if resumed:
            state = checkpoint.load(self._checkpoint, identity)
            assert state is not None  # noqa: S101 - `_begun` has just seen it
            population.restore(state["population"])
            seconds = state["seconds"]
        last = 0.0
        while population.epoch < self._plan.epochs and not self._all_diverged(members):
            if clock.left < _MARGIN * last or clock.left <= 0:
                return False
            begun, used = self._now(), self._used()
            try:
                train = population.train_epoch(partial(self._too_late, clock, begun))
            except OutOfTimeError:
                return False
            valid = population.evaluate()
            last = self._now() - begun
            seconds += (self._used() - used) / len(members)
            rows = self._rows(members, population.epoch, valid, train, seconds)
            self.record.append(rows)
            state = {"population": population.state(), "seconds": seconds}
            checkpoint.save(self._checkpoint, state, identity)
            self._report(members, population.epoch, last, valid)
        return True

    def _too_late(self, clock: Clock, begun: float) -> bool:
        """Return whether an epoch begun then would, evaluated, be over after the end."""
        return clock.left <= self._problem.evaluation_share * (self._now() - begun)

    def _all_diverged(self, members: Sequence[Item]) -> bool:
        return all(self.record.complete(item.key, self._plan.epochs) for item in members)

    def _used(self) -> float:
        """Return seconds of the device: the CPU's own, where other work shares it."""
        return time.process_time() if self._device.type == "cpu" else self._now()

    def _rows(
        self,
        members: Sequence[Item],
        epoch: int,
        valid: Vector,
        train: Vector,
        seconds: float,
    ) -> list[Mapping[str, Any]]:
        return [
            {
                "config_id": item.planned.config_id,
                "config": dict(item.planned.config),
                "seed": item.seed,
                "epoch": epoch,
                "val_loss": float(of_valid),
                "train_loss": float(of_train),
                "seconds": seconds,
                **self._origin,
            }
            for item, of_valid, of_train in zip(members, valid, train, strict=True)
        ]

    def _report(self, members: Sequence[Item], epoch: int, took: float, valid: Vector) -> None:
        done = self.record.count(self._plan.epochs)
        batch_size = self._settings(members[0]).batch_size
        speed = self._best.speed(self._problem, batch_size, len(members), took)
        epochs_left = self._left() * self._plan.epochs - len(members) * epoch
        hours = max(epochs_left, 0) * took / len(members) / 3600
        finite = sorted(float(v) for v in valid if v == v)  # noqa: PLR0124 - the test for NaN
        best = f"{finite[0]:.3f}" if finite else "none"
        self._tell(
            f"{done}/{len(self._items)} trainings; {len(members)} members, epoch {epoch}: "
            f"best {best}, {took:.1f} s, {speed}; about {hours:.1f} h left"
        )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def code_version() -> str:
    """Return the package's version, and a digest of the code that trains."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(
        itertools.chain((root / "training").glob("*.py"), (root / "population").glob("*.py"))
    ):
        digest.update(path.read_bytes())
    return f"{version('asynctune')}+{digest.hexdigest()[:8]}"
