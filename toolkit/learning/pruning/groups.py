"""Prunable groups: the filters and hidden units of a network that can be removed, and what has to go with each.

One bit per *unit*. A unit is a filter or hidden unit together with its bias, its normalisation, the matching input slice of every layer
that reads it (after flattening: `s*s` columns), its depthwise filter, and all filters that a residual sum ties to it. Units that touch
the same tensors form a *group*, in the order of the network; a LeNet-5 has the groups conv1 (20), conv2 (50) and hidden (500).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolkit.learning.pruning.channels import Atoms, Channels, Layer, follow, producers
from toolkit.learning.pruning.trace import Tape, record

Key = TypeVar("Key", int, tuple[str, int])
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


@dataclass(frozen=True, eq=False)
class Groups:
    """All that can be removed from one network."""

    groups: tuple[Group, ...]
    owners: dict[tuple[str, int], Owners]
    """For every (weight, dimension) that a unit touches, its owner by index."""
    sources: tuple[tuple[str, ...], ...]
    """For every group, the weights whose filters it is made of (depthwise ones apart)."""
    layers: tuple[Layer, ...]
    shapes: dict[str, tuple[int, ...]]
    """Of all parameters and buffers."""
    parameters: frozenset[str]
    """Which of them are parameters."""
    depthwise: frozenset[str]
    tape: Tape
    slots: dict[int, Owners]
    """Owners of the channels of every tensor on the tape that has removable ones."""
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

    def slot_owner(self, slot: int) -> Owners | None:
        """Return the owners of the channels of a tensor on the tape; None where it has no removable ones."""
        return self.slots.get(slot)

    def input_owners(self) -> dict[str, Owners]:
        """Return for every layer that reads removable channels the owner of each of its inputs, by the name of its module."""
        groups = {layer.weight: layer.groups for layer in self.layers}
        return {
            weight.rpartition(".")[0]: np.tile(owner, groups[weight]) for (weight, dim), owner in self.owners.items()
            if dim == 1 and weight in groups
        }


def find_groups(model: nn.Module, shape: Sequence[int], only: Sequence[str] = ()) -> Groups:
    """Return the groups of *model* for images of *shape* (channels, height, width).

    *only* names groups that may lose units; the others then have no bits (a layer-by-layer schedule asks for one at a time).

    Raises:
        PruningError: there is nothing that can be removed, or no group of that name.
    """
    first = next(model.parameters())
    tape = record(model, torch.zeros((2, *shape), dtype=first.dtype, device=first.device))
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
    owners = _owners(channels, channels.uses, unit_of)
    parameters = frozenset(name for name, _ in model.named_parameters())
    return Groups(
        groups, owners=owners, sources=sources, layers=tuple(channels.layers), shapes=shapes, parameters=parameters,
        depthwise=frozenset(channels.depthwise), tape=tape,
        slots=_owners(channels, channels.of, unit_of), kept_for=tuple(channels.reasons),
    )


def _owners(channels: Channels, atoms_of: dict[Key, Atoms], unit_of: dict[int, int]) -> dict[Key, Owners]:
    """Turn atoms into units, for whatever has a removable one."""
    found = {}
    for key, atoms in atoms_of.items():
        owner = np.array([unit_of.get(int(root), -1) for root in channels.roots(atoms)], np.int64)
        if (owner >= 0).any():
            found[key] = owner
    return found


def _units(channels: Channels) -> tuple[dict[int, int], tuple[Group, ...], tuple[tuple[str, ...], ...]]:
    """Number the removable atoms: those that some layer makes and another one reads, group by group in the order of the network."""
    made = producers(channels)
    touched: dict[int, set[tuple[str, int]]] = {root: set() for root in made if root}
    for key, atoms in channels.uses.items():
        for root in set(channels.roots(atoms).tolist()) & touched.keys():
            touched[root].add(key)
    reading = {layer.weight for layer in channels.layers}
    by_touch: dict[frozenset[tuple[str, int]], list[int]] = {}
    for root, keys in touched.items():
        if any(dim == 1 and weight in reading for weight, dim in keys):
            by_touch.setdefault(frozenset(keys), []).append(root)
    unit_of: dict[int, int] = {}
    groups: list[Group] = []
    sources: list[tuple[str, ...]] = []
    names: dict[str, int] = {}
    for touches, roots in by_touch.items():
        name = made[roots[0]].rpartition(".")[0]
        names[name] = names.get(name, 0) + 1
        label = name if names[name] == 1 else f"{name}#{names[name]}"
        groups.append(Group(label, len(unit_of), len(roots)))
        sources.append(tuple(
            layer.weight for layer in channels.layers if (layer.weight, 0) in touches and layer.weight not in channels.depthwise
        ))
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
