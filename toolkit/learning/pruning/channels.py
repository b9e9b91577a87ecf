"""Where channels go: every index of every axis of every tensor on a tape as an atom, atoms that must go together joined, the rest kept.

A weight's indices are atoms, a layer's output has those of its weight, and what a layer reads is tied to the indices that meet it. How a
torch function passes atoms on is a rule of its own (`rules`); whatever has no rule ties its atoms to those that are never removed: a group
may be missed, and never wrongly cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.learning.pruning.numbers import Attribute, AxisOf, Number, Origin, PerSample, Slot, Weight
from toolkit.learning.pruning.trace import TracedCall, leaves

Atoms = NDArray[np.int64]
Axes = tuple[Atoms, ...]
"""The atoms of every axis of a tensor."""


@dataclass(frozen=True)
class Read:
    """A place where removable indices meet others, so that their values count: what a gate has to reach."""

    call: int
    """Its place on the tape."""
    operand: int
    """Place of the tensor among the arguments."""
    axis: int
    atoms: Atoms


@dataclass(frozen=True)
class Product:
    """The multiply-adds of a call: `constant` times how many of each of `factors` are left, for one image."""

    factors: tuple[Atoms, ...]
    constant: int
    convolution: bool = False


@dataclass(frozen=True)
class Layer:
    """A weight that makes units along one of its dimensions."""

    weight: str
    dim: int
    depthwise: bool = False
    """Its units are those of what it reads."""


@dataclass
class Channels:
    """The atoms of all tensors, and which slices of which weights belong to them."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of parameters and buffers by name."""
    rates: Mapping[int, Mapping[int, int]]
    """By slot the axes that grow with the batch, and by how much for each sample."""
    parent: list[int] = field(default_factory=lambda: [0])
    """Union-find; atom 0 stands for all that is never removed."""
    made: list[bool] = field(default_factory=lambda: [False])
    """Whether a layer makes an atom, or one that it is tied to."""
    of: dict[int, Axes] = field(default_factory=dict)
    """Atoms by slot."""
    uses: dict[str, Axes] = field(default_factory=dict)
    """Atoms by weight."""
    derived: dict[int, str] = field(default_factory=dict)
    """Slots that are made of weights alone, and the first of these."""
    layers: list[Layer] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    attributes: dict[Attribute, Atoms] = field(default_factory=dict)
    """What the number that a module holds counts."""
    fixed: set[Attribute] = field(default_factory=set)
    """Numbers of modules that must not change."""
    reasons: list[str] = field(default_factory=list)
    """What was not understood and so keeps its channels."""

    def find(self, atom: int) -> int:
        parent = self.parent
        while parent[atom] != atom:
            parent[atom] = parent[parent[atom]]
            atom = parent[atom]
        return atom

    def roots(self, atoms: Atoms) -> Atoms:
        """Return the representative of each atom; 0 where it is never removed."""
        if not atoms.any():
            return atoms
        return np.fromiter((self.find(int(atom)) for atom in atoms), np.int64, len(atoms))

    def removable(self, atoms: Atoms) -> bool:
        """Whether any of them may still go."""
        return bool(self.roots(atoms).any())

    def join(self, first: Atoms, second: Atoms) -> None:
        """Tie atoms pair by pair; whoever is tied to what is never removed is never removed."""
        if first is second or not (first.any() or second.any()):
            return
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self.parent[high] = low
            self.made[low] |= self.made[high]

    def tie_rows(self, rows: Atoms) -> Atoms:
        """Tie the rows of a matrix of atoms, column by column, and return the first of them."""
        for row in rows[1:]:
            self.join(rows[0], row)
        return np.ascontiguousarray(rows[0])

    def keep(self, atoms: Atoms, reason: str = "") -> None:
        """Never remove these."""
        if reason and reason not in self.reasons and any(self.made[root] for root in self.roots(atoms).tolist() if root):
            self.reasons.append(reason)
        self.join(np.zeros_like(atoms), atoms)

    def axes(self, tensor: Slot | Weight) -> Axes:
        """Return the atoms of a tensor; a weight that is met for the first time has new ones."""
        if isinstance(tensor, Slot):
            return self.of[tensor.number]
        if tensor.name not in self.uses:
            axes = []
            for size in self.shapes[tensor.name]:
                begin = len(self.parent)
                self.parent += range(begin, begin + size)
                self.made += [False] * size
                axes.append(np.arange(begin, begin + size))
            self.uses[tensor.name] = tuple(axes)
        return self.uses[tensor.name]

    def follows(self, length: Any, atoms: Atoms) -> None:
        """Take note that a *length* which a forward writes down is that of an axis with *atoms*; None where torch works it out.

        A plain number holds for the whole network alone, so the axis stays. The length of another axis ties the two. A number that a module
        holds will be changed with the axis.
        """
        if length is None:
            return
        origin = length.origin if isinstance(length, Number) else None
        if isinstance(origin, AxisOf):
            other = self.axes(origin.tensor)[origin.axis]
            if len(other) == len(atoms):
                self.join(other, atoms)
                return
        if isinstance(origin, Attribute) and origin not in self.fixed:
            known = self.attributes.setdefault(origin, atoms)
            if len(known) == len(atoms):
                self.join(known, atoms)
                return
        self.keep(atoms, "a size that is written down")
        self.fix(length)

    def fix(self, item: Any) -> None:
        """Keep what a number was read off or computed of."""
        if not isinstance(item, Number | PerSample):
            return
        for part in item.parts:
            self.stay(part)

    def stay(self, part: Origin) -> None:
        """Keep the axis or the number of a module that something unknown was computed of."""
        if isinstance(part, Attribute):
            self.fixed.add(part)
            if part in self.attributes:
                self.keep(self.attributes[part], f"a number computed of {part.name}")
        elif not isinstance(part.tensor, Slot) or part.tensor.number in self.of:
            self.keep(self.axes(part.tensor)[part.axis], "a number computed of a size")

    def own_weight(self, tensor: Any) -> str | None:
        """Return the weight that a tensor is or is made of."""
        return tensor.name if isinstance(tensor, Weight) else self.derived.get(tensor.number) if isinstance(tensor, Slot) else None

    def spread(self, tensor: Slot | Weight, axes: Sequence[int]) -> tuple[list[Atoms], int]:
        """Return what a product over *axes* of a tensor multiplies: atoms to be counted, and how often for one image besides."""
        rates = self.rates.get(tensor.number, {}) if isinstance(tensor, Slot) else {}
        factors, constant = [], 1
        for axis in axes:
            atoms = self.axes(tensor)[axis]
            if axis in rates:
                constant *= rates[axis]
            elif atoms.any():
                factors.append(atoms)
            else:
                constant *= len(atoms)
        return factors, constant


def numbers(nested: Any) -> list[Number | PerSample]:
    """Return the numbers among arguments, those in slices too."""
    found: list[Number | PerSample] = []
    for item in leaves(nested):
        parts = (item.start, item.stop, item.step) if isinstance(item, slice) else (item,)
        found += [part for part in parts if isinstance(part, Number | PerSample)]
    return found


def operand(call: TracedCall, place: int) -> Slot | Weight | None:
    """Return the tensor at a place of the arguments; None where there is none."""
    item = call.args[place] if len(call.args) > place else None
    return item if isinstance(item, Slot | Weight) else None


def shape_of(channels: Channels, tensor: Slot | Weight) -> tuple[int, ...]:
    """Return the shape that a tensor was recorded with."""
    return tuple(len(atoms) for atoms in channels.axes(tensor))


def lies(size: int) -> Atoms:
    """Return atoms of an axis of which nothing is ever removed."""
    return np.zeros(size, np.int64)
