"""Parameters as plain data, so that each optimizer makes of them what it calls a space.

This module and `wire` are imported in the environments of all peers: standard library only.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Kind = Literal["float", "int", "choice"]
Config = Mapping[str, Any]


class Parameter(NamedTuple):
    """One parameter of a problem.

    Attributes:
        name: Its name.
        kind: "float", "int" (both ends included) or "choice" (without an order).
        low: Smallest value; of no meaning for a choice.
        high: Largest value; of no meaning for a choice.
        log: Whether it is searched on a logarithmic scale.
        values: The values of a choice.
    """

    name: str
    kind: Kind = "float"
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    values: tuple[str, ...] = ()


def parameters_from_json(rows: list[dict[str, Any]]) -> tuple[Parameter, ...]:
    """Return the parameters that `Parameter._asdict` made `rows` of."""
    return tuple(Parameter(**{**row, "values": tuple(row["values"])}) for row in rows)
