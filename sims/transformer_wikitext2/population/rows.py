"""The record: a line an epoch of a member, appended as it is measured; and the table of it."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asynctune.exceptions import UsageError
from asynctune.files import replaced_atomically
from asynctune.journal import encode_number

if TYPE_CHECKING:
    import polars as pl

NAME: Final = "epochs.jsonl"
_PURPOSE: Final = "record.json"


class Key(NamedTuple):
    """What was trained: a config, with a seed."""

    config_id: str
    seed: int


class Record:
    """The epochs recorded so far, in a file that is only ever appended to.

    A torn last line, as a killed process leaves it, is cut off.

    Args:
        folder: Where the file is; made if it does not exist.

    Raises:
        UsageError: If the file holds something else.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / NAME
        self._epochs: dict[Key, int] = {}
        self._diverged: set[Key] = set()
        self.rows = 0
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("rb+") as file:
                file.truncate(whole)
        for number, raw in enumerate(content[:whole].splitlines(), start=1):
            try:
                row = json.loads(raw)
                self._note(row)
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{self.path}, line {number} is no row of a record: {raw[:80]!r}"
                ) from error

    def _note(self, row: Mapping[str, Any]) -> None:
        key = Key(row["config_id"], row["seed"])
        self._epochs[key] = max(self._epochs.get(key, 0), int(row["epoch"]))
        if not math.isfinite(float(row["val_loss"]) + float(row["train_loss"])):
            self._diverged.add(key)
        self.rows += 1

    def claim(self, purpose: Mapping[str, Any]) -> None:
        """Note what the record is of, or make sure that it is of that.

        Args:
            purpose: What all rows have in common, as JSON values.

        Raises:
            UsageError: If the record is of something else.
        """
        path = self.path.with_name(_PURPOSE)
        if path.exists():
            noted = json.loads(path.read_bytes())
            for name, value in purpose.items():
                if noted.get(name) != value:
                    raise UsageError(
                        f"a record must be of one benchmark, text and design: {self.path.parent} "
                        f"has {name} {noted.get(name)!r}, asked for is {value!r}"
                    )
            return
        with replaced_atomically(path) as temporary:
            temporary.write_text(json.dumps(purpose, indent=1) + "\n")

    def epochs(self, key: Key) -> int:
        """Return how many epochs of a training are recorded."""
        return self._epochs.get(key, 0)

    def complete(self, key: Key, epochs: int) -> bool:
        """Return whether a training has come to its end, be it that it diverged."""
        return key in self._diverged or self.epochs(key) >= epochs

    def count(self, epochs: int) -> int:
        """Return how many trainings have come to their end."""
        return sum(self.complete(key, epochs) for key in self._epochs)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows, those left out that are there already or follow a divergence."""
        new = []
        for row in rows:
            key = Key(row["config_id"], row["seed"])
            if row["epoch"] > self.epochs(key) and key not in self._diverged:
                self._note(row)
                new.append(json.dumps(_plain(row)) + "\n")
        if not new:
            return
        with self.path.open("ab") as file:
            file.write("".join(new).encode())
            file.flush()
            os.fsync(file.fileno())

    def table(self) -> "pl.DataFrame":
        """Return the record: one row an epoch, hyperparameters as columns, ordered by training."""
        import polars as pl

        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        flat = []
        for line in lines:
            config = line.pop("config")
            for name in ("val_loss", "train_loss"):
                line[name] = float(line[name])
            flat.append({"config_id": line.pop("config_id"), **config, **line})
        return pl.DataFrame(flat, infer_schema_length=None).sort(
            "config_id", "seed", "epoch", maintain_order=True
        )

    def export(self, path: Path) -> int:
        """Write the record as a parquet file, whole or not at all; returns its rows."""
        table = self.table()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(path) as temporary:
            table.write_parquet(temporary, compression="zstd", statistics=False)
        return len(table)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON values: numbers that are not finite as texts."""
    return {
        name: encode_number(value) if isinstance(value, float) else value
        for name, value in row.items()
    }
