"""Whole numbers that say where they come from, so that a forward's own sizes can be followed when channels go.

While a network is recorded, `x.shape[1]` and the attribute `self.heads` are numbers of this kind. One that reaches a torch function as it
is tells which axis or attribute it stands for; one that was computed with tells of what, and these then have to stay as they are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn


class Slot(NamedTuple):
    """Stands for a tensor of the tape."""

    number: int


class Weight(NamedTuple):
    """Stands for a parameter or buffer of the model."""

    name: str


class AxisOf(NamedTuple):
    """The length of an axis of a tensor."""

    tensor: Slot | Weight
    axis: int


class Attribute(NamedTuple):
    """A number that a module holds, or one *place* of a tuple of them."""

    path: str
    name: str
    place: int | None = None
    counts: str = ""
    """What it counted in the network that was cut to this one, see `counting`."""


Origin = AxisOf | Attribute


class PerSample(NamedTuple):
    """Stands for a whole number that follows the size of the batch: `rate` times as many as there are samples, and `rest`."""

    rate: int
    rest: int
    parts: frozenset[Origin] = frozenset()
    """What it was computed of."""

    def of(self, samples: int) -> int:
        """Return the number for a batch of *samples*."""
        return self.rate * samples + self.rest


class Number(int):
    """A whole number with its origin; what is computed of it has none, and keeps the origins as its parts.

    A fraction can keep nothing, so the parts of a number that becomes one are put into `lost`, which all numbers of a recording share.
    """

    origin: Origin | None
    parts: frozenset[Origin]
    lost: set[Origin]

    @classmethod
    def of(cls, value: int, origin: Origin, lost: set[Origin]) -> Number:
        return cls._made(value, origin, frozenset((origin,)), lost)

    @classmethod
    def _made(cls, value: int, origin: Origin | None, parts: frozenset[Origin], lost: set[Origin]) -> Number:
        number = cls(value)
        number.origin, number.parts, number.lost = origin, parts, lost
        return number

    def _with(self, other: Any, operation: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
        first, second = int(self), int(other) if isinstance(other, Number) else other
        found = operation(second, first) if swapped else operation(first, second)
        parts = self.parts | (other.parts if isinstance(other, Number) else frozenset())
        if type(found) is int:
            return Number._made(found, None, parts, self.lost)
        self.lost.update(parts)
        return found

    def __float__(self) -> float:
        self.lost.update(self.parts)
        return float(int(self))

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, operator.add, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, operator.sub, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, operator.mul, swapped=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(other, operator.floordiv, swapped=True)

    def __mod__(self, other: Any) -> Any:
        return self._with(other, operator.mod)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv, swapped=True)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return self._with(other, operator.pow)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return self._with(other, operator.pow, swapped=True)

    def __neg__(self) -> Number:
        return Number._made(-int(self), None, self.parts, self.lost)


OF_TORCH = ("groups", "num_groups", "normalized_shape")
"""What torch's own layers hand to its functions and what changes with their channels."""


COUNTS = "pruning_counts"
"""Attribute of a layer of a cut network that says what its number of groups has counted."""


def counting(number: Any) -> str:
    """Return what a number of groups counts if that cannot be told from its size any more.

    With one group left, a GroupNorm of several looks as one that has always had one, and a depthwise convolution as a plain one; with a
    channel left in each group, a grouped convolution looks depthwise.
    """
    origin = number.origin if isinstance(number, Number) else None
    return origin.counts if isinstance(origin, Attribute) else ""


@contextmanager
def attributes_named(model: nn.Module, lost: set[Origin]) -> Iterator[None]:
    """Let the whole numbers that the modules of *model* hold say whose they are; afterwards all is as before."""
    before: list[tuple[nn.Module, str, Any]] = []
    for path, module in model.named_modules():
        foreign = type(module).__module__.startswith("torch.")
        for name, value in list(vars(module).items()):
            if name.startswith("_") or (foreign and name not in OF_TORCH):
                continue
            if type(value) is int and value > 0:
                named: Any = Number.of(value, Attribute(path, name, counts=vars(module).get(COUNTS, "")), lost)
            elif type(value) is tuple and value and all(type(item) is int for item in value):
                named = tuple(Number.of(item, Attribute(path, name, place), lost) for place, item in enumerate(value))
            else:
                continue
            before.append((module, name, value))
            vars(module)[name] = named
    try:
        yield
    finally:
        for module, name, value in before:
            vars(module)[name] = value
