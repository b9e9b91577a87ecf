"""What a number in a scenario can be at all: bounds that physics or arithmetic sets, by the unit at the end of a field's name.

A field may be narrower by its own `ge`, `le`. These bounds keep out what no sea and no machine has and what arithmetic cannot carry: a
clock of doubles tells microseconds apart up to some 1e10 s, a level of a million decibels is infinite in every formula, and integers above
2**53 are not exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, get_args

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

BOUNDS: dict[str, tuple[float, float]] = {
    "per_s": (-1e30, 1e30),          # operations, bytes, samples, rates
    "m_s": (-1e4, 1e4),              # sound in rock is slower
    "j_per_bit": (0.0, 1e3),
    "db_per_m": (-100.0, 100.0),
    "s": (-1e10, 1e10),              # three centuries, in which doubles tell microseconds apart
    "min": (-1e8, 1e8),
    "hours": (-1e7, 1e7),
    "days": (-1e5, 1e5),
    "d": (-1e5, 1e5),
    "m": (-2.1e7, 2.1e7),            # half the circumference of the Earth
    "db": (-300.0, 300.0),           # thirty powers of ten
    "db2": (-1e5, 1e5),
    "hz": (0.0, 1e15),
    "bps": (0.0, 1e15),
    "w": (0.0, 1e10),
    "j": (0.0, 1e18),
    "bytes": (0.0, 1e18),
    "flops": (0.0, 1e27),
}
"""Unit: least and greatest value."""
SEEDS = (0.0, 2.0**63 - 1)
OTHER_FLOATS = (-3.4e38, 3.4e38)
"""Numbers without a unit: what float32 holds, in which networks are reckoned."""
OTHER_COUNTS = (-(2.0**53), 2.0**53)
"""Whole numbers without a unit: doubles hold no more exactly."""


def bounds_of(name: str, *, whole: bool) -> tuple[float, float]:
    """Return the least and the greatest value of a field called *name*, a *whole* number or not."""
    if name == "seed" or name.endswith("_seed"):
        return SEEDS
    for unit in sorted(BOUNDS, key=len, reverse=True):
        if name == unit or name.endswith(f"_{unit}") or (unit == "bytes" and name.endswith("nbytes")):
            return BOUNDS[unit]
    return OTHER_COUNTS if whole else OTHER_FLOATS


def _within(annotation: object) -> list[object]:
    """The types that a type is made of; not the parameters of functions."""
    return [inner for inner in get_args(annotation) if not isinstance(inner, list)]


@cache
def holds_numbers(annotation: object) -> bool:
    """Whether a field of this type is a number, or a list or mapping of numbers."""
    return annotation in (int, float) or any(map(holds_numbers, _within(annotation)))


@cache
def holds_floats(annotation: object) -> bool:
    """Whether a number in a field of this type may be a fraction."""
    return annotation is float or any(map(holds_floats, _within(annotation)))


@cache
def holds_truths(annotation: object) -> bool:
    """Whether ``true`` is a value of a field of this type."""
    return annotation is bool or annotation is object or any(map(holds_truths, _within(annotation)))


def numbers_in(value: object) -> Iterator[int | float]:
    """Yield the numbers of *value*, which is one or a list or mapping of some; truth values too."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, dict):
        yield from numbers_in(list(value.values()))


def flaw(name: str, value: object, *, whole: bool) -> str:
    """Return what is wrong with a number in *value* of a field called *name*; nothing if nothing."""
    least, most = bounds_of(name, whole=whole)
    for number in numbers_in(value):
        if not least <= number <= most:
            return f"must be from {least:g} to {most:g}"
    return ""
