"""The fitted surrogate: what predictions need, as arrays, and how they are made."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.curvefit.index import Index
from sims.curvefit.scale import Scale
from sims.curvefit.shapes import Shapes
from sims.surrogate import matern52

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

VOTERS: Final = 5
_MOST_AT_ONCE: Final = 256  # what fits the cache


def squared(A: Array, B: Array) -> Array:
    """Return squared distances between rows, by a matrix product: quick, good to 14 digits."""
    out: Array = (A * A).sum(axis=1)[:, None] + (B * B).sum(axis=1) - 2 * (A @ B.T)
    return np.maximum(out, 0.0, out=out)


class Process(NamedTuple):
    """Means of Gaussian processes that share their `n` known configs.

    Attributes:
        lengths: Lengths of the features, shape ``(K, d)``.
        weights: Of the kernel's rows, in the numbers' own unit, shape ``(K, n)``.
        shift: Shape ``(K,)``.
    """

    lengths: Array
    weights: Array
    shift: Array

    def mean(self, features: Array, known: Array) -> Array:
        """Return the means at features of shape ``(q, d)``, shape ``(q, K)``."""
        out = np.empty((len(features), len(self.shift)))
        for k, (lengths, weights) in enumerate(zip(self.lengths, self.weights, strict=True)):
            like = matern52(squared(features / lengths, known / lengths))
            out[:, k] = self.shift[k] + like @ weights
        return out


class Fitted(NamedTuple):
    """Everything that was fitted.

    Attributes:
        scale: The model's scale.
        shapes: The principal curves.
        directions: What is added to the coordinates of a config to have its features.
        features: Features of the `m` recorded configs, shape ``(m, d)``.
        known: Which of them the weights were fitted to, shape ``(n,)``.
        weights: The processes of the principal curves' weights.
        lengths: Lengths of the features where configs are compared, shape ``(d,)``.
        beyond: What each config's curve has beyond its prediction; of those that diverged, the
            curve itself, shape ``(m, R)``.
        donor: Which configs lend that to others: those seen at all levels, shape ``(w,)``.
        diverged: Level at which a config diverged, 0 if it did not, shape ``(m,)``.
        last: What its metric was then, shape ``(m,)``.
        timed: Which configs the seconds were fitted to, shape ``(t,)``.
        seconds: The process of the log seconds of a full training; one.
        share: Share of the seconds that has passed after each level, shape ``(R,)``.
        spread: Deviation of the log seconds of alike configs.
        copies: How repeated trainings differ from their mean, shape ``(p, R)``.
        copy_weights: Weights of the principal curves of their configs, shape ``(p, K)``.
    """

    scale: Scale
    shapes: Shapes
    directions: Index
    features: Array
    known: Indices
    weights: Process
    lengths: Array
    beyond: Array
    donor: Indices
    diverged: Indices
    last: Array
    timed: Indices
    seconds: Process
    share: Array
    spread: float
    copies: Array
    copy_weights: Array

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all numbers by flat names, as they are stored."""
        out: dict[str, NDArray[Any]] = {}
        for name, part in self._asdict().items():
            if isinstance(part, tuple):
                fields: dict[str, Any] = part._asdict()  # type: ignore[attr-defined]
                out |= {f"{name}.{field}": np.asarray(v) for field, v in fields.items()}
            else:
                out[name] = np.asarray(part)
        return out

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> "Fitted":
        """Return the surrogate that `arrays` turned into arrays."""

        def part(name: str, kind: Any) -> Any:  # noqa: ANN401 - a named tuple of any sort
            return kind(*(arrays[f"{name}.{field}"] for field in kind._fields))

        scale = Scale(*(float(arrays[f"scale.{field}"]) for field in Scale._fields))
        shapes = part("shapes", Shapes)
        structured: dict[str, Any] = {
            "directions": part("directions", Index),
            "scale": scale,
            "shapes": shapes._replace(rest=float(shapes.rest)),
            "weights": part("weights", Process),
            "seconds": part("seconds", Process),
            "spread": float(arrays["spread"]),
        }
        plain = {name: arrays[name] for name in cls._fields if name not in structured}
        return cls(**(plain | structured))


class Prediction(NamedTuple):
    """Predicted curves of `q` configs.

    Attributes:
        loss: On the model's scale, shape ``(q, R)``.
        weights: Of the principal curves, shape ``(q, K)``.
        diverged: Level at which it diverges, or 0, shape ``(q,)``.
        last: What the metric is then, shape ``(q,)``.
    """

    loss: Array
    weights: Array
    diverged: Indices
    last: Array


def predict(fitted: Fitted, features: Array) -> Prediction:
    """Return the curves of configs, without noise between seeds.

    Args:
        fitted: The surrogate.
        features: Features of the configs, shape ``(q, d)``.
    """
    parts = []
    known = fitted.features[fitted.known]
    for begin in range(0, len(features), _MOST_AT_ONCE):
        chunk = features[begin : begin + _MOST_AT_ONCE]
        weights = fitted.weights.mean(chunk, known)
        parts.append(around(fitted, distances(fitted, chunk), weights))
    return Prediction(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def distances(fitted: Fitted, features: Array) -> Array:
    """Return squared distances to the recorded configs, ``(q, d)`` to ``(q, m)``.

    Features count as they do for the principal curves, each of these by the deviation of its
    weights; and a little in any case, for what no principal curve shows may depend on them.
    """
    lengths = fitted.lengths
    return squared(features / lengths, fitted.features / lengths)


def around(fitted: Fitted, sq: Array, weights: Array) -> Prediction:
    """Return the curves of given weights, completed with what the neighbours lend.

    Args:
        fitted: The surrogate.
        sq: Squared distances to the recorded configs, shape ``(q, m)``; infinite for those that
            are to be left out.
        weights: Weights of the principal curves, shape ``(q, K)``.
    """
    lender = fitted.donor[sq[:, fitted.donor].argmin(axis=1)]
    diverged = np.zeros(len(sq), dtype=np.intp)
    last = np.zeros(len(sq))
    if fitted.diverged.any():
        fate = np.flatnonzero(fitted.diverged > 0)
        voters = np.union1d(fitted.donor, fate)
        near = np.argsort(sq[:, voters], axis=1, kind="stable")[:, :VOTERS]
        like = matern52(np.take_along_axis(sq[:, voters], near, axis=1))
        against = (like * (fitted.diverged[voters] > 0)[near]).sum(axis=1)
        ends = against > 0.5 * like.sum(axis=1)
        lender[ends] = fate[sq[ends][:, fate].argmin(axis=1)]
        diverged[ends], last[ends] = fitted.diverged[lender[ends]], fitted.last[lender[ends]]
    loss = np.where(diverged > 0, 0.0, fitted.shapes.curve(weights).T).T + fitted.beyond[lender]
    return Prediction(loss, weights, diverged, last)
