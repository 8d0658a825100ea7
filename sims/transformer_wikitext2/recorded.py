"""The recorded learning curves, one row a config, whichever methods trained it."""

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.transformer_wikitext2.sequences import config_sequence

if TYPE_CHECKING:
    import polars as pl

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

NAMES = ("lr", "dropout", "batch_size", "momentum", "clip")
EPOCHS = 40
PUBLISHED = "published"
SEED = 1111  # of the published trainings
# No published loss is above 15.3. From where a curve exceeds this it is replayed, but nothing is
# learnt from it: it is about to diverge, and its numbers would outweigh all others.
HIGHEST_LEARNT = 20.0


class Reading(NamedTuple):
    """A curve as it was read off a figure, or collected.

    Attributes:
        method: "RS", "ASHA" or "BO"; of a collected curve the table's source.
        trial: The trial's number in its experiment, the curve's in the table.
        config: lr, dropout, batch_size, momentum, clip, shape ``(5,)``.
        loss: Validation loss after each epoch, NaN where it was not seen, shape ``(40,)``.
        sigma: Reading error of the loss, NaN where it was not seen, shape ``(40,)``.
        epoch_seconds: Seconds an epoch on a T4, NaN if it was not measured.
        exact: True if the config can be asked for again: it is one of the computed sequence,
            or was collected.
        name: What a collected curve is called; "" for others.
        seed: Seed of the training.
        ended: Epoch after which the training ended because a loss was not finite; 0 if none was.
        last: The validation loss after that epoch, as it was.
    """

    method: str
    trial: int
    config: Vector
    loss: Vector
    sigma: Vector
    epoch_seconds: float
    exact: bool
    name: str = ""
    seed: int = SEED
    ended: int = 0
    last: float = np.nan

    @property
    def collected(self) -> bool:
        """Whether the curve was collected, not read off a figure."""
        return bool(self.name)

    @property
    def label(self) -> str:
        """What to call the curve."""
        if not self.collected:
            return f"{self.method} {self.trial}"
        return self.name if self.seed == SEED else f"{self.name} ({self.seed})"

    def learnt(self) -> Vector:
        """Return what is learnt from: the loss until it explodes, shape ``(40,)``."""
        exploded = np.maximum.accumulate(np.nan_to_num(self.loss) > HIGHEST_LEARNT)
        out: Vector = np.where(exploded, np.nan, self.loss)
        return out


class Recorded(NamedTuple):
    """Curves to learn from: of each config the published one, the collected one, or both.

    A published curve is the most accurate reading of each epoch; of a collected config it is the
    training with the published seed, or else the first. A config that has both has two rows.

    Attributes:
        configs: lr, dropout, batch_size, momentum, clip, shape ``(n, 5)``.
        loss: Validation loss, NaN where no reading saw it, shape ``(n, 40)``.
        sigma: Reading error of `loss`, shape ``(n, 40)``.
        epoch_seconds: Seconds an epoch on a T4, NaN if never measured, shape ``(n,)``.
        exact: True where the config can be asked for again: it is one of the computed
            sequence, or was collected, shape ``(n,)``.
        readings: The readings behind each row.
    """

    configs: Matrix
    loss: Matrix
    sigma: Matrix
    epoch_seconds: Vector
    exact: NDArray[np.bool_]
    readings: tuple[tuple[Reading, ...], ...]

    @property
    def collected(self) -> NDArray[np.bool_]:
        """Which rows were collected, shape ``(n,)``."""
        return np.array([copies[0].collected for copies in self.readings], dtype=bool)

    def collected_runs(self) -> list[tuple[int, Reading]]:
        """Return each collected curve, and its config's row; several seeds are several curves."""
        groups = enumerate(self.readings)
        return [(i, copy) for i, copies in groups for copy in copies if copy.collected]

    def only(self, rows: NDArray[np.intp]) -> "Recorded":
        """Return some of the rows, by their numbers."""
        return Recorded(
            configs=self.configs[rows],
            loss=self.loss[rows],
            sigma=self.sigma[rows],
            epoch_seconds=self.epoch_seconds[rows],
            exact=self.exact[rows],
            readings=tuple(self.readings[i] for i in rows.tolist()),
        )


def as_row(config: Mapping[str, Any]) -> Vector:
    """Return the tuned hyperparameters of `config` in the order of `NAMES`, shape ``(5,)``."""
    return np.array([config[name] for name in NAMES], dtype=float)


def table(name: str) -> "pl.DataFrame":
    """Return one of the data files, such as "learning_curves", as a frame."""
    import polars as pl

    with (files(__package__) / "data" / f"{name}.parquet").open("rb") as file:
        return pl.read_parquet(file)


def readings() -> list[Reading]:
    """Return every published curve whose config is known well enough to learn from."""
    import polars as pl

    sequence = np.array([as_row(c) for c in config_sequence("local", 0, 400)])
    curves = table("learning_curves")
    bo = table("bo_curves").filter(
        pl.col("status").is_in(["known", "recovered"]),
        pl.col("lr").is_not_null(),
        pl.col("dropout").is_not_null(),
    )
    bo = bo.with_columns(method=pl.lit("BO")).select(c for c in curves.columns if c != "confidence")
    columns = bo.columns
    found = []
    for (method, trial), rows in (
        pl.concat([curves.select(columns), bo])
        .partition_by("method", "trial_id", as_dict=True, maintain_order=True)
        .items()
    ):
        stated = rows.select(NAMES).cast(pl.Float64).row(0)
        # Recovered configs carry four digits; some of them are configs of the sequence.
        gap = np.abs(sequence / np.array(stated) - 1).max(axis=1)
        nearest = int(gap.argmin())
        exact = bool(gap[nearest] < 5e-3)
        loss, sigma = np.full(EPOCHS, np.nan), np.full(EPOCHS, np.nan)
        at = rows["epoch"].to_numpy() - 1
        loss[at] = rows["val_loss"].to_numpy()
        sigma[at] = rows["sigma"].to_numpy()
        seconds = rows["epoch_seconds"][0]
        found.append(
            Reading(
                method=str(method),
                trial=int(trial),
                config=sequence[nearest] if exact else np.array(stated),
                loss=loss,
                sigma=sigma,
                epoch_seconds=np.nan if seconds is None else float(seconds),
                exact=exact,
            )
        )
    return found


def merge(curves: list[Reading]) -> Recorded:
    """Return one row a config and kind of source, copies brought together."""
    groups: dict[tuple[float, ...], list[Reading]] = {}
    for curve in curves:
        groups.setdefault((*curve.config, curve.collected), []).append(curve)
    loss = np.full((len(groups), EPOCHS), np.nan)
    sigma = np.full_like(loss, np.nan)
    seconds = np.full(len(groups), np.nan)
    for i, copies in enumerate(groups.values()):
        if copies[0].collected:
            # The untrained loss depends on the seed: one seed's curves are alike.
            one = next((copy for copy in copies if copy.seed == SEED), copies[0])
            loss[i], sigma[i] = one.learnt(), one.sigma
            continue
        for copy in sorted(copies, key=lambda c: ("RS", "BO", "ASHA").index(c.method)):
            better = ~np.isnan(copy.loss) & ~(sigma[i] <= copy.sigma)
            loss[i, better], sigma[i, better] = copy.loss[better], copy.sigma[better]
            if np.isnan(seconds[i]):
                seconds[i] = copy.epoch_seconds
    return Recorded(
        configs=np.array([copies[0].config for copies in groups.values()]),
        loss=loss,
        sigma=sigma,
        epoch_seconds=seconds,
        exact=np.array([copies[0].exact for copies in groups.values()]),
        readings=tuple(tuple(copies) for copies in groups.values()),
    )


class Unplaced(NamedTuple):
    """Curves of configs that are not known, but for the batch size.

    Attributes:
        curve: Their order in the figure, shape ``(n,)``.
        batch_size: From the seconds an epoch, shape ``(n,)``.
        loss: Validation loss, NaN where it was not seen, shape ``(n, 40)``.
        sigma: Reading error of `loss`, shape ``(n, 40)``.
    """

    curve: NDArray[np.intp]
    batch_size: Vector
    loss: Matrix
    sigma: Matrix


def unplaced(seconds: Vector) -> Unplaced:
    """Return the curves of BO whose path length and dropout have to be inferred.

    Args:
        seconds: Fixed seconds an epoch, and seconds times the batch size, shape ``(2,)``.
    """
    import polars as pl

    rows = table("bo_curves").filter(
        (pl.col("status") == "unknown") | (pl.col("dropout").is_null() & pl.col("lr").is_not_null())
    )
    found = rows.partition_by("curve", maintain_order=True)
    loss = np.full((len(found), EPOCHS), np.nan)
    sigma = np.full_like(loss, np.nan)
    for i, curve in enumerate(found):
        at = curve["epoch"].to_numpy() - 1
        loss[i, at], sigma[i, at] = curve["val_loss"].to_numpy(), curve["sigma"].to_numpy()
    beyond = np.maximum(np.array([c["epoch_seconds"][0] for c in found]) - seconds[0], 1e-9)
    return Unplaced(
        curve=np.array([c["curve"][0] for c in found], dtype=np.intp),
        batch_size=np.clip(np.rint(seconds[1] / beyond), 16, 48),
        loss=loss,
        sigma=sigma,
    )
