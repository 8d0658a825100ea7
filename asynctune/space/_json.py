"""Domains from their JSON form."""

from collections.abc import Callable, Mapping
from typing import Any

from asynctune.exceptions import SpaceError
from asynctune.space import _functions as functions
from asynctune.space._domain import Domain

_BUILDERS: dict[str, Callable[..., Domain]] = {
    name: getattr(functions, name)
    for name in (
        "uniform",
        "loguniform",
        "reverseloguniform",
        "randint",
        "lograndint",
        "choice",
        "ordinal",
        "finrange",
        "logfinrange",
    )
}


def domain_from_json(data: Mapping[str, Any]) -> Domain:
    """Return the domain that `Domain.to_json` turned into `data`.

    Raises:
        SpaceError: If `data` names no domain, or not its arguments.
    """
    arguments = dict(data)
    name = arguments.pop("domain", None)
    if name not in _BUILDERS:
        raise SpaceError(f"domain must be one of {', '.join(_BUILDERS)}; got {name!r}")
    try:
        return _BUILDERS[name](**arguments)
    except TypeError as error:
        raise SpaceError(f"{name}: the arguments do not fit: {error}") from None
