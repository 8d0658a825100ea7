"""The rules that the rows of a table of recorded curves keep."""

from typing import TYPE_CHECKING, Final, NamedTuple

from asynctune.exceptions import SpaceError, UsageError
from asynctune.space import ConfigSpace

if TYPE_CHECKING:
    import polars as pl

NOTES: Final = ("seed", "device", "precision", "torch_version", "code_version")
"""Columns that need not be there, besides metrics."""

CURVE: Final = ("config_id", "source", "seed")
"""Columns that name a curve together."""


class TableFormat(NamedTuple):
    """What the columns of a table mean.

    Attributes:
        space: The config space; a column for each of its tuned parameters.
        resource: Name of the resource, such as "epoch".
        metric: Name of the metric that is optimised.
        others: Names of further metrics; their columns need not be there.
    """

    space: ConfigSpace
    resource: str
    metric: str
    others: tuple[str, ...] = ("train_loss",)


def checked_rows(frame: "pl.DataFrame", form: TableFormat, *, allow_gaps: bool) -> "pl.DataFrame":
    """Return the rows in order, with the types that they are to have.

    Raises:
        UsageError: If a rule is broken; see `sims.curvetable.check`.
    """
    _check_columns(frame, form)
    frame = _typed(_completed(frame, form), form)
    frame = frame.sort(*CURVE, form.resource, maintain_order=True)
    if frame.is_empty():
        raise UsageError("a table of curves must have at least one row; it has none")
    _check_configs(frame, form)
    _check_levels(frame, form.resource, allow_gaps=allow_gaps)
    _check_seconds(frame, form.resource)
    return frame


def _completed(frame: "pl.DataFrame", form: TableFormat) -> "pl.DataFrame":
    """Return the rows with what may be left out of a curve's name."""
    import polars as pl

    for name, value in (("source", ""), ("seed", -1)):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(value).alias(name))
    order = ("config_id", *form.space.names, form.resource, form.metric, *form.others)
    order = (*order, "seconds", "source", *NOTES)
    return frame.select(name for name in order if name in frame.columns)


def _typed(frame: "pl.DataFrame", form: TableFormat) -> "pl.DataFrame":
    import polars as pl

    types: dict[str, type[pl.DataType]] = {
        "config_id": pl.String,
        form.resource: pl.Int64,
        "seconds": pl.Float64,
        "source": pl.String,
        "seed": pl.Int64,
    }
    metrics = [n for n in (form.metric, *form.others) if n in frame.columns]
    types |= dict.fromkeys(metrics, pl.Float64)
    for name, wanted in types.items():
        try:
            frame = frame.with_columns(pl.col(name).cast(wanted))
        except pl.exceptions.PolarsError as error:
            raise UsageError(
                f"column {name} must be of type {wanted.__name__}; got {frame[name].dtype}"
            ) from error
    frame = frame.with_columns(pl.col("source").fill_null(""), pl.col("seed").fill_null(-1))
    for name in ("config_id", *form.space.names, form.resource, *metrics):
        if frame[name].null_count() and name not in form.others:
            raise UsageError(f"column {name} must have a value in each row; one is null")
    return frame


def _check_configs(frame: "pl.DataFrame", form: TableFormat) -> None:
    names = form.space.names
    configs = frame.select("config_id", *names).unique(maintain_order=True)
    twice = configs.filter(configs["config_id"].is_duplicated())
    if len(twice):
        raise UsageError(f"a config_id must name one config; {twice['config_id'][0]} names several")
    for row in configs.iter_rows(named=True):
        try:
            form.space.complete({name: row[name] for name in names})
        except SpaceError as error:
            raise UsageError(f"config {row['config_id']}: {error}") from error


def _check_levels(frame: "pl.DataFrame", resource: str, *, allow_gaps: bool) -> None:
    import polars as pl

    twice = frame.filter(frame.select(*CURVE, resource).is_duplicated())
    if len(twice):
        raise UsageError(
            f"a curve must have each level once; {_where(twice, resource)} is there twice"
        )
    below = frame.filter(pl.col(resource) < 1)
    if len(below):
        raise UsageError(f"levels must be at least 1; got {_where(below, resource)}")
    number = pl.col(resource).cum_count().over(*CURVE)
    gaps = frame.filter(pl.col(resource) != number)
    if len(gaps) and not allow_gaps:
        raise UsageError(
            f"a curve must have every level from 1 on, unless gaps are allowed; "
            f"{_where(gaps, resource)} follows a gap"
        )


def _check_seconds(frame: "pl.DataFrame", resource: str) -> None:
    import polars as pl

    known = pl.col("seconds").is_not_null()
    some = frame.filter(known.any().over(*CURVE) & ~known)
    if len(some):
        raise UsageError(
            f"seconds must be known of all of a curve or of none; null at {_where(some, resource)}"
        )
    step = pl.col("seconds") - pl.col("seconds").shift(1, fill_value=0.0).over(*CURVE)
    bad = frame.filter(known & ~((step > 0) & pl.col("seconds").is_finite()))
    if len(bad):
        raise UsageError(
            f"a curve's seconds must be above 0 and increase; got {bad['seconds'][0]} "
            f"at {_where(bad, resource)}"
        )


def _where(rows: "pl.DataFrame", resource: str) -> str:
    row = rows.row(0, named=True)
    seed = "" if row["seed"] == -1 else f", seed {row['seed']}"
    return f"{resource} {row[resource]} of {row['config_id']}{seed}"


def _check_columns(frame: "pl.DataFrame", form: TableFormat) -> None:
    names = form.space.names
    if not names:
        raise UsageError("a space must have at least one tuned parameter; it has none")
    needed = ("config_id", *names, form.resource, form.metric, "seconds")
    reserved = ("config_id", "seconds", "source", *NOTES, form.resource, form.metric, *form.others)
    for name in names:
        if name in reserved:
            raise UsageError(f"a tuned parameter must not be named as a column; got {name!r}")
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise UsageError(f"the columns must include {', '.join(needed)}; {missing[0]} is missing")
    known = {*needed, *reserved}
    unknown = [name for name in frame.columns if name not in known]
    if unknown:
        raise UsageError(
            f"a column must be a parameter of the space, a metric or one of "
            f"{', '.join(('config_id', form.resource, 'seconds', 'source', *NOTES))}; "
            f"got {unknown[0]!r}"
        )
