"""The surrogate as it is stored: arrays, without pickles, and how many curves are behind it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asynctune.files import replaced_atomically
from sims.surrogate import CurveGP
from sims.transformer_wikitext2 import SOURCES
from sims.transformer_wikitext2 import backbone as bb
from sims.transformer_wikitext2.collected import collected_paths, with_collected_words
from sims.transformer_wikitext2.recorded import EPOCHS, PUBLISHED, Reading, Recorded

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


class Surrogate(NamedTuple):
    """Everything that was fitted, and to what.

    Attributes:
        seconds: Fixed seconds an epoch, and seconds times the batch size, shape ``(2,)``.
        parameters: Parameters of the backbone.
        path: Log path length inferred for each unplaced curve, shape ``(k,)``.
        dropout: Dropout inferred for each unplaced curve, shape ``(k,)``.
        gp: The process on the residuals; its configs are the recorded ones, then the unplaced.
        noise: Standard deviation between training runs, in units of the scale.
        offset: How far above the published ones collected losses start.
    """

    seconds: Vector
    parameters: Vector
    path: Vector
    dropout: Vector
    gp: CurveGP
    noise: float
    offset: float = 0.0


def completed(recorded: Recorded, surrogate: Surrogate) -> Matrix:
    """Return the recorded curves with gaps and continuations filled, shape ``(n, 40)``.

    What the process expects, given the curve's own readings, is moved onto the readings at
    either side of a gap.
    """
    out = recorded.loss.copy()
    for i, loss in enumerate(recorded.loss):
        out[i] = _filled(loss, _expected(recorded, surrogate, i))
    return out


def save(recorded: Recorded, surrogate: Surrogate, folder: Path) -> Path:
    """Write what predictions need, and how many curves of which source it rests on.

    Args:
        recorded: The curves.
        surrogate: What was fitted to them.
        folder: Where to.

    Returns:
        The file of the arrays.
    """
    gp, exact = surrogate.gp, recorded.exact & ~recorded.collected
    arrays: dict[str, NDArray[Any]] = {
        "seconds": surrogate.seconds,
        "parameters": surrogate.parameters,
        "noise": np.array(surrogate.noise),
        "lengths": np.exp(np.array(gp.theta.features)),
        "scaled": gp.scaled,
        "weights": gp.weights,
        "theta": gp.theta.vector(),
        "path": surrogate.path,
        "dropout": surrogate.dropout,
        "configs": recorded.configs[exact],
        "loss": completed(recorded, surrogate)[exact],
        "seen": np.isfinite(recorded.loss)[exact],
        "epoch_seconds": recorded.epoch_seconds[exact],
    }
    if recorded.collected.any():
        arrays |= _collected(recorded, surrogate)
    path = folder / "surrogate.npz"
    with replaced_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    with replaced_atomically(folder / SOURCES) as temporary:
        temporary.write_text(json.dumps(counts(recorded)) + "\n")
    return path


def counts(recorded: Recorded) -> dict[str, int]:
    """Return how many curves of each source there are; several seeds are several curves."""
    n_published = int((~recorded.collected).sum())
    return {PUBLISHED: n_published, **Counter(copy.method for _, copy in recorded.collected_runs())}


def _collected(recorded: Recorded, surrogate: Surrogate) -> dict[str, NDArray[Any]]:
    """Return the collected curves as they were: each seed, and where they ended."""
    rows = recorded.collected_runs()
    expected = {
        i: with_collected_words(_expected(recorded, surrogate, i), surrogate.offset)
        for i in np.flatnonzero(recorded.collected).tolist()
    }
    loss = [_replayed(copy, expected[i]) for i, copy in rows]
    paths = collected_paths(recorded)
    return {
        "collected_configs": np.array([copy.config for _, copy in rows]),
        "collected_seed": np.array([copy.seed for _, copy in rows], dtype=np.int64),
        "collected_loss": np.array(loss),
        "collected_seen": np.array([_seen(copy) for _, copy in rows]),
        "collected_levels": np.array([copy.ended or EPOCHS for _, copy in rows], dtype=np.intp),
        # All but one of the configs followed to the end have a shorter path, as of the
        # published ones.
        "offset": np.array(surrogate.offset),
        "longest_path": np.array(paths[-2] if len(paths) > 1 else 0.0),
    }


def _replayed(copy: Reading, expected: Vector) -> Vector:
    if not copy.ended:
        return _filled(copy.loss, expected)
    out = copy.loss.copy()
    out[copy.ended - 1] = copy.last
    return out


def _seen(copy: Reading) -> NDArray[np.bool_]:
    seen = np.isfinite(copy.loss)
    if copy.ended:
        seen[copy.ended - 1] = True
    return seen


def _expected(recorded: Recorded, surrogate: Surrogate, i: int) -> Vector:
    """Return what the process expects of a recorded config, given its own readings."""
    one = bb.Inputs(*(part[0] for part in bb.inputs(recorded.configs[i : i + 1])))
    terms = bb.backbone(surrogate.parameters, one, np.log(np.arange(EPOCHS) + 1.0))
    out: Vector = terms.loss + terms.scale * surrogate.gp.mean_of(i)
    return out


def _filled(loss: Vector, expected: Vector) -> Vector:
    seen, epochs = np.isfinite(loss), np.arange(EPOCHS)
    if not seen.any():
        return expected
    gap = np.interp(epochs, epochs[seen], (loss - expected)[seen])
    return np.where(seen, loss, expected + gap)
