"""Scales that a numerical parameter is searched on: linear, log, and reverse-log.

A scale is a monotone map from values to *positions*; a parameter is uniform in its
position. Positions of bounds are correctly rounded, and values are computed from
positions by additions and multiplications alone, so that a seed gives the same
configs to the last bit on every machine (`numpy.exp` differs between processors).
"""

import decimal
import math
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Scale: TypeAlias = Literal["linear", "log", "reverse-log"]
FloatArray: TypeAlias = NDArray[np.float64]

_CONTEXT: Final = decimal.Context(prec=50)
# ln 2 in two parts: the first has so few bits that its product with an exponent is exact.
_LN2_HIGH: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
_INVERSE_FACTORIALS: Final = tuple(1.0 / math.factorial(n) for n in range(14))


def portable_exp(x: FloatArray) -> FloatArray:
    """Return e to the power of `x`, the same bits on every IEEE 754 machine.

    Args:
        x: Array of any shape, between -700 and 700.

    Returns:
        Array of the same shape; relative error below 4e-16.
    """
    n = np.rint(x * (1.0 / math.log(2.0)))
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW  # |r| <= ln(2) / 2, where 14 terms suffice
    p = np.full_like(r, _INVERSE_FACTORIALS[-1])
    for c in _INVERSE_FACTORIALS[-2::-1]:
        p *= r
        p += c
    return np.ldexp(p, n.astype(np.int32))


def position(value: float, scale: Scale) -> float:
    """Return the position of one value, correctly rounded."""
    if scale == "linear":
        return float(value)
    exact = decimal.Decimal(value)
    if scale == "log":
        return float(_CONTEXT.ln(exact))
    return float(-_CONTEXT.ln(_CONTEXT.subtract(1, exact)))


def positions(values: FloatArray, scale: Scale) -> FloatArray:
    """Return the positions of an array of values."""
    if scale == "linear":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):  # the caller checks the range
        return np.log(values) if scale == "log" else -np.log1p(-values)


def values_at(t: FloatArray, scale: Scale) -> FloatArray:
    """Return the values at an array of positions; inverse of `positions`."""
    if scale == "linear":
        return t
    return portable_exp(t) if scale == "log" else 1.0 - portable_exp(-t)


def middle(lower: float, upper: float, scale: Scale) -> float:
    """Return the value half-way between two positions, correctly rounded.

    That is the arithmetic mean, the geometric mean, or one minus the geometric mean of
    the distances to one.
    """
    a, b = decimal.Decimal(lower), decimal.Decimal(upper)
    if scale == "linear":
        return float(_CONTEXT.divide(_CONTEXT.add(a, b), 2))
    if scale == "log":
        return float(_CONTEXT.sqrt(_CONTEXT.multiply(a, b)))
    rest = _CONTEXT.multiply(_CONTEXT.subtract(1, a), _CONTEXT.subtract(1, b))
    return float(_CONTEXT.subtract(1, _CONTEXT.sqrt(rest)))
