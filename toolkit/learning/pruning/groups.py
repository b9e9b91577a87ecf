"""Prunable groups: the filters and hidden units of a network that can be removed, and what has to go with each.

One bit per *unit*. A unit is a filter or hidden unit together with its bias, its normalisation, the matching input slice of every layer
that reads it (after flattening: `s*s` columns), its depthwise filter, and all filters that a residual sum ties to it. Units that touch
the same tensors form a *group*, in the order of the network; a LeNet-5 has the groups conv1 (20), conv2 (50) and hidden (500).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolkit.learning.pruning.channels import Atoms, Channels, numbers
from toolkit.learning.pruning.numbers import AxisOf, Number, Origin, Slot
from toolkit.learning.pruning.rules import follow
from toolkit.learning.pruning.trace import Tape, record

Key = TypeVar("Key", tuple[str, int], tuple[int, int], Origin)
Mask = NDArray[np.bool_]
Owners = NDArray[np.int64]
"""Unit that each index of a dimension belongs to; -1 where it is never removed."""


class PruningError(ValueError):
    """A mask does not fit the network, or would leave a layer empty."""


@dataclass(frozen=True)
class Group:
    """Units that touch the same tensors: the filters of one layer, or of several that sums tie."""

    name: str
    start: int
    size: int

    @property
    def part(self) -> slice:
        """Its bits within a mask."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class Gate:
    """Where a gate has to act: an operand of a call, along an axis."""

    operand: int
    axis: int
    owner: Owners


@dataclass(frozen=True)
class Multiplied:
    """The multiply-adds of a call: `constant` times how many of each of `factors` are left, for one image."""

    factors: tuple[Owners, ...]
    constant: int
    convolution: bool


@dataclass(frozen=True, eq=False)
class Groups:
    """All that can be removed from one network."""

    groups: tuple[Group, ...]
    owners: dict[tuple[str, int], Owners]
    """For every (weight, dimension) that a unit touches, its owner by index."""
    sources: tuple[tuple[str, ...], ...]
    """For every group, the weights whose filters it is made of (depthwise ones apart)."""
    made_along: dict[str, int]
    """The dimension of these weights along which the filters lie."""
    products: tuple[Multiplied, ...]
    shapes: dict[str, tuple[int, ...]]
    """Of all parameters and buffers."""
    parameters: frozenset[str]
    """Which of them are parameters."""
    depthwise: frozenset[str]
    tape: Tape
    slots: dict[tuple[int, int], Owners]
    """Owners by axis of every tensor on the tape that has removable indices."""
    gates: dict[int, tuple[Gate, ...]]
    """By place on the tape, what is gated there: all that removable indices have a say in."""
    lengths: dict[Origin, Owners]
    """Numbers on the tape that follow the units: how many of these owners are left."""
    kept_for: tuple[str, ...]
    """What was not understood on the way, and so keeps its channels."""

    @property
    def units(self) -> int:
        """Number of bits of a mask."""
        return sum(group.size for group in self.groups)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(group.size for group in self.groups)

    def check(self, mask: Mask) -> Mask:
        """Return *mask* as booleans.

        Raises:
            PruningError: it has another length, or leaves a group with no unit.
        """
        mask = np.asarray(mask, bool)
        if mask.shape != (self.units,):
            raise PruningError(f"a mask of this network has {self.units} bits, and this one has shape {mask.shape}")
        for group in self.groups:
            if not mask[group.part].any():
                raise PruningError(f"{group.name}: the mask removes all of its {group.size} units; at least one must stay")
        return mask

    def kept(self, mask: Mask) -> tuple[int, ...]:
        """Return how many units of each group stay."""
        return tuple(int(mask[group.part].sum()) for group in self.groups)

    def dense(self) -> Mask:
        """Return the mask that removes nothing."""
        return np.ones(self.units, bool)

    def slot_owners(self, slot: int) -> dict[int, Owners]:
        """Return the owners along those axes of a tensor on the tape that have removable indices."""
        return {axis: owner for (found, axis), owner in self.slots.items() if found == slot}

    def lengths_under(self, mask: Mask) -> dict[Origin, int]:
        """Return the numbers that a cut network's forward holds where the whole one's held others."""
        return {origin: int(left(owner, mask).sum()) for origin, owner in self.lengths.items()}


def left(owner: Owners, mask: Mask) -> NDArray[np.bool_]:
    """Say which indices of a dimension stay under *mask*."""
    return np.asarray((owner < 0) | mask[np.maximum(owner, 0)])


def find_groups(model: nn.Module, shape: Sequence[int], only: Sequence[str] = (), *, dtype: torch.dtype | None = None) -> Groups:
    """Return the groups of *model* for images of *shape* (channels, height, width), or whatever else one sample of its input is.

    *only* names groups that may lose units; the others then have no bits (a layer-by-layer schedule asks for one at a time). *dtype* is
    that of the input where it is not that of the weights: `torch.long` for a network that reads tokens.

    Raises:
        PruningError: there is nothing that can be removed, or no group of that name.
    """
    first = next(model.parameters())
    tape = record(model, torch.zeros((2, *shape), dtype=dtype or first.dtype, device=first.device))
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tuple(tensor.shape) for name, tensor in named.items()}
    channels = follow(tape, shapes)
    unit_of, groups, sources = _units(channels)
    if only:
        known = [group.name for group in groups]
        for name in only:
            if name not in known:
                raise PruningError(f"'{name}' is not a group of this network (groups: {', '.join(known)})")
        unit_of, groups, sources = _restricted(unit_of, groups, sources, only)
    if not groups:
        why = "; ".join(channels.reasons) or "no layer reads another one's channels"
        raise PruningError(f"{type(model).__name__}: has nothing that can be removed ({why})")
    resolve = _Owning(channels, unit_of)
    gates: dict[int, tuple[Gate, ...]] = {}
    for read in channels.reads:
        owner = resolve(read.atoms)
        if (owner >= 0).any():
            gates[read.call] = (*gates.get(read.call, ()), Gate(read.operand, read.axis, owner))
    return Groups(
        groups, owners=resolve.some({(name, dim): atoms for name, axes in channels.uses.items() for dim, atoms in enumerate(axes)}),
        sources=sources, made_along={layer.weight: layer.dim for layer in channels.layers if not layer.depthwise},
        products=tuple(
            Multiplied(tuple(map(resolve, product.factors)), product.constant, product.convolution) for product in channels.products
        ),
        shapes=shapes, parameters=frozenset(name for name, _ in model.named_parameters()),
        depthwise=frozenset(layer.weight for layer in channels.layers if layer.depthwise), tape=tape,
        slots=resolve.some({(slot, axis): atoms for slot, axes in channels.of.items() for axis, atoms in enumerate(axes)}),
        gates=gates, lengths=resolve.some(_lengths(channels, tape)), kept_for=tuple(channels.reasons),
    )


@dataclass(frozen=True)
class _Owning:
    """Turns atoms into the units that own them."""

    channels: Channels
    unit_of: dict[int, int]

    def __call__(self, atoms: Atoms) -> Owners:
        return np.array([self.unit_of.get(int(root), -1) for root in self.channels.roots(atoms)], np.int64)

    def some(self, atoms_of: Mapping[Key, Atoms]) -> dict[Key, Owners]:
        """Return the owners of whatever has a removable index."""
        found = {}
        for key, atoms in atoms_of.items():
            if atoms.any():
                owner = self(atoms)
                if (owner >= 0).any():
                    found[key] = owner
        return found


def _lengths(channels: Channels, tape: Tape) -> dict[Origin, Atoms]:
    """What the numbers on the tape count, and those of modules that go with an axis."""
    found: dict[Origin, Atoms] = dict(channels.attributes.items())
    for call in tape.calls:
        for number in numbers([call.args, call.kwargs]):
            origin = number.origin if isinstance(number, Number) else None
            if isinstance(origin, AxisOf) and (not isinstance(origin.tensor, Slot) or origin.tensor.number in channels.of):
                found[origin] = channels.axes(origin.tensor)[origin.axis]
    return found


def _units(channels: Channels) -> tuple[dict[int, int], tuple[Group, ...], tuple[tuple[str, ...], ...]]:
    """Number the removable atoms: those that some layer makes and another one reads, group by group in the order of the network."""
    made: dict[int, str] = {}
    for layer in channels.layers:
        if not layer.depthwise:
            for root in channels.roots(channels.uses[layer.weight][layer.dim]).tolist():
                made.setdefault(root, layer.weight)
    read = {root for place in channels.reads for root in channels.roots(place.atoms).tolist()}
    touched: dict[int, set[tuple[str, int]]] = {root: set() for root in made if root}
    for name, axes in channels.uses.items():
        for dim, atoms in enumerate(axes):
            for root in set(channels.roots(atoms).tolist()) & touched.keys():
                touched[root].add((name, dim))
    by_touch: dict[frozenset[tuple[str, int]], list[int]] = {}
    for root, keys in touched.items():
        if root in read:
            by_touch.setdefault(frozenset(keys), []).append(root)
    unit_of: dict[int, int] = {}
    groups: list[Group] = []
    sources: list[tuple[str, ...]] = []
    names: dict[str, int] = {}
    for touches, roots in by_touch.items():
        name = made[roots[0]].rpartition(".")[0] or made[roots[0]]
        names[name] = names.get(name, 0) + 1
        label = name if names[name] == 1 else f"{name}#{names[name]}"
        groups.append(Group(label, len(unit_of), len(roots)))
        sources.append(tuple(dict.fromkeys(
            layer.weight for layer in channels.layers if (layer.weight, layer.dim) in touches and not layer.depthwise
        )))
        for root in roots:
            unit_of[root] = len(unit_of)
    return unit_of, tuple(groups), tuple(sources)


def _restricted(
    unit_of: dict[int, int], groups: tuple[Group, ...], sources: tuple[tuple[str, ...], ...], only: Sequence[str]
) -> tuple[dict[int, int], tuple[Group, ...], tuple[tuple[str, ...], ...]]:
    place: dict[int, int] = {}
    kept: list[Group] = []
    chosen: list[tuple[str, ...]] = []
    for group, source in zip(groups, sources, strict=True):
        if group.name in only:
            kept.append(Group(group.name, len(place), group.size))
            chosen.append(source)
            for unit in range(group.start, group.start + group.size):
                place[unit] = len(place)
    return {root: place[unit] for root, unit in unit_of.items() if unit in place}, tuple(kept), tuple(chosen)
