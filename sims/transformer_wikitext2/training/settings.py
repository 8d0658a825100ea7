"""Everything that a training depends on, as one value and as flags of the command line."""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from asynctune.exceptions import UsageError

Precision = Literal["float", "tf32", "bf16", "double"]
PRECISIONS: Final = ("float", "tf32", "bf16", "double")

# Of these the values may differ from one attempt of a trial to the next.
_MAY_CHANGE: Final = frozenset({"epochs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The model's shape.

    Attributes:
        d_model: Width, a multiple of `nhead`, even.
        ffn_ratio: Width of the feed-forward layer over `d_model`.
        nlayers: Encoder layers.
        nhead: Attention heads.
        bptt: Tokens a sequence.
    """

    d_model: int = 256
    ffn_ratio: int = 1
    nlayers: int = 2
    nhead: int = 2
    bptt: int = 35

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            UsageError: If one is broken.
        """
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise UsageError(
                    f"{field.name} must be at least 1; got {getattr(self, field.name)}"
                )
        if self.d_model % self.nhead or self.d_model % 2:
            raise UsageError(
                f"d_model must be even and a multiple of nhead; got {self.d_model}, {self.nhead}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is trained, and how.

    Attributes:
        lr: Learning rate, above 0.
        dropout: Probability in [0, 1).
        batch_size: Sequences a step.
        momentum: In [0, 1).
        clip: Norm to which the gradient is clipped; 0 turns clipping off.
        shape: The model's shape.
        epochs: Last epoch to train.
        seed: Seeds the initial weights and dropout.
        precision: "float" (float32), "tf32", "bf16" (autocast over float32 weights), "double".
        eval_batch_size: Columns that the validation text is folded into.
    """

    lr: float = 10**-4.5
    dropout: float = 0.495
    batch_size: int = 32
    momentum: float = 0.495
    clip: float = 0.5
    shape: Shape = Shape()
    epochs: int = 40
    seed: int = 1111
    precision: Precision = "float"
    eval_batch_size: int = 10

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            UsageError: If one is broken.
        """
        rules = {
            "lr": (self.lr > 0, "above 0"),
            "dropout": (0 <= self.dropout < 1, "in [0, 1)"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "clip": (self.clip >= 0, "at least 0"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "eval_batch_size": (self.eval_batch_size >= 1, "at least 1"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise UsageError(f"{name} must be {rule}; got {getattr(self, name)!r}")

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, as plain values."""
        return {name: value for name, value in asdict(self).items() if name not in _MAY_CHANGE}


def flag(parser: argparse.ArgumentParser, name: str, **options: Any) -> None:  # noqa: ANN401
    """Add a flag that may be spelt with dashes or, as tuners pass names, with underscores."""
    spellings = dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"])
    parser.add_argument(*spellings, dest=name, **options)


def add_shape_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the model's shape, with the defaults of `Shape`."""
    default = Shape()
    for field in fields(Shape):
        value = getattr(default, field.name)
        flag(parser, field.name, type=int, default=value, metavar="N", help=f"default {value}")


def shape_of(values: argparse.Namespace) -> Shape:
    """Return the shape that the flags give."""
    return Shape(**{field.name: getattr(values, field.name) for field in fields(Shape)})


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every setting, with the defaults of `Settings`."""
    default = Settings()
    for field in fields(Settings):
        if field.name == "shape":
            add_shape_flags(parser)
            continue
        value = getattr(default, field.name)
        options: dict[str, Any] = {"type": type(value), "metavar": "X"}
        if field.name == "precision":
            options = {"choices": PRECISIONS}
        flag(
            parser,
            field.name,
            default=value,
            help=f"default {value:.6g}" if isinstance(value, float) else f"default {value}",
            **options,
        )


def settings_of(values: argparse.Namespace) -> Settings:
    """Return the settings that the flags give.

    Raises:
        UsageError: If one is out of its range.
    """
    plain = {f.name: getattr(values, f.name) for f in fields(Settings) if f.name != "shape"}
    return Settings(shape=shape_of(values), **plain)
