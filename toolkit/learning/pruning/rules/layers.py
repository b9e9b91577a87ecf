"""Layers: what they read is tied to the indices of their weight that meet it, what they make has the indices that are left.

A grouped convolution ties the channels that have the same place in each group, so that all groups lose alike; a depthwise one has the
channels of what it reads. A layer that is called again ties what it reads and makes to what it did before.

Trap: a convolution with one input channel has `groups == in_channels` too and is not depthwise; only `groups > 1` makes it that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.learning.pruning.channels import Atoms, Axes, Channels, Layer, Product, Read, lies, operand
from toolkit.learning.pruning.numbers import Number, Slot, Weight, counting
from toolkit.learning.pruning.trace import TracedCall, leaves


def linear(channels: Channels, call: TracedCall, place: int) -> bool:
    """The last dimension, whatever comes before it."""
    tensor, weight = operand(call, 0), _tensor(call, 1, "weight")
    if tensor is None or weight is None:
        return False
    axes, matrix = channels.axes(tensor), channels.axes(weight)
    if len(matrix) != 2:
        return False
    channels.join(axes[-1], matrix[1])
    _biased(channels, call, matrix[0])
    (slot,) = call.results()
    channels.of[slot] = (*axes[:-1], matrix[0])
    channels.reads.append(Read(place, 0, len(axes) - 1, axes[-1]))
    _made(channels, weight, 0)
    rows, constant = channels.spread(tensor, range(len(axes) - 1))
    channels.products.append(Product((*matrix, *rows), constant))
    return True


def convolution(channels: Channels, call: TracedCall, place: int) -> bool:
    """A convolution of one, two or three dimensions, grouped or not; weights are (out, in / groups, ...)."""
    return _convolved(channels, call, place, transposed=False)


def transposed(channels: Channels, call: TracedCall, place: int) -> bool:
    """A transposed convolution; weights are (in, out / groups, ...)."""
    return _convolved(channels, call, place, transposed=True)


def _convolved(channels: Channels, call: TracedCall, place: int, *, transposed: bool) -> bool:
    tensor, weight = operand(call, 0), _tensor(call, 1, "weight")
    if tensor is None or weight is None:
        return False
    axes, kernel = channels.axes(tensor), channels.axes(weight)
    pixels = len(kernel) - 2
    channel = len(axes) - pixels - 1
    for atoms in kernel[2:]:
        channels.keep(atoms)
    for atoms in axes[channel + 1 :]:
        channels.keep(atoms, f"{call.name} over channels")
    read, whole, divided = axes[channel], kernel[0], kernel[1]
    groups = call.argument(6, "groups", 1)
    known = counting(groups)
    depthwise = (int(groups) > 1 and int(groups) == len(read) and known != "groups") or known == "channels"
    if int(groups) == 1 and not known:
        channels.join(read, whole if transposed else divided)
        out = divided if transposed else whole
    elif depthwise:
        multiple = (len(divided) if transposed else len(whole) // len(read))
        out = np.repeat(read, multiple)
        channels.join(read if transposed else out, whole)
        channels.keep(divided)
        channels.follows(groups, read)
    else:
        channels.follows(groups, lies(int(groups)))
        if not isinstance(groups, Number):  # what is left could not be told from a depthwise one
            channels.keep(whole, f"{call.name} with a number of groups")
            channels.keep(divided)
        ahead = channels.tie_rows(whole.reshape(int(groups), -1))
        channels.join(read, np.tile(ahead if transposed else divided, int(groups)))
        out = np.tile(divided if transposed else ahead, int(groups))
    _biased(channels, call, out)
    (slot,) = call.results()
    channels.of[slot] = (*axes[:channel], out, *(lies(size) for size in call.shapes[slot][channel + 1 :]))
    if not depthwise:
        channels.reads.append(Read(place, 0, channel, read))
    _made(channels, weight, 1 if transposed else 0, depthwise=depthwise)
    _, positions = channels.spread(tensor if transposed else Slot(slot), [axis for axis in range(len(axes)) if axis != channel])
    taps = int(np.prod([len(atoms) for atoms in kernel[2:]]))
    channels.products.append(Product((whole, divided), positions * taps, convolution=True))
    return True


def embedding(channels: Channels, call: TracedCall, place: int) -> bool:
    """Rows looked up: all rows stay, their columns are made here."""
    indices, weight = operand(call, 0), _tensor(call, 1, "weight")
    if indices is None or not isinstance(weight, Weight):
        return False
    rows, columns = channels.axes(weight)
    channels.keep(rows)
    for atoms in channels.axes(indices):
        channels.keep(atoms, "embedding")
    (slot,) = call.results()
    channels.of[slot] = (*channels.axes(indices), columns)
    _made(channels, weight, 1)
    return True


def per_channel(channels: Channels, call: TracedCall, place: int) -> bool:
    """BatchNorm, instance norm and slopes: one number per channel, or one for all."""
    tensor = operand(call, 0)
    if tensor is None or len(channels.axes(tensor)) < 2:
        return False
    axes = channels.axes(tensor)
    for item in leaves([call.args[1:], call.kwargs]):
        if isinstance(item, Slot | Weight):
            (atoms,) = channels.axes(item)
            if len(atoms) == len(axes[1]):
                channels.join(axes[1], atoms)
            else:
                channels.keep(atoms)
    (slot,) = call.results()
    channels.of[slot] = axes
    return True


def _tensor(call: TracedCall, place: int, name: str) -> Slot | Weight | None:
    item = call.argument(place, name)
    return item if isinstance(item, Slot | Weight) else None


def _biased(channels: Channels, call: TracedCall, out: Atoms) -> None:
    bias = _tensor(call, 2, "bias")
    if bias is not None:
        (atoms,) = channels.axes(bias)
        channels.join(out, atoms)


def _made(channels: Channels, weight: Slot | Weight, dim: int, *, depthwise: bool = False) -> None:
    """Note whose units these are; a weight that is made of another one counts by that one's name and dimension."""
    name = channels.own_weight(weight)
    if name is None:
        return
    if isinstance(weight, Slot):
        dim = _dimension(channels, channels.axes(weight)[dim], channels.uses[name])
    layer = Layer(name, dim, depthwise)
    if dim >= 0 and layer not in channels.layers:
        channels.layers.append(layer)
        for root in channels.roots(channels.uses[name][dim]).tolist():
            channels.made[root] = True


def _dimension(channels: Channels, made: Atoms, axes: Axes) -> int:
    """The dimension of a weight in which the atoms that are *made* lie; -1 where in none."""
    wanted: set[Any] = set(channels.roots(made).tolist())
    return next((dim for dim, atoms in enumerate(axes) if wanted & set(channels.roots(atoms).tolist()) - {0}), -1)


RULES = {
    "linear": linear, "embedding": embedding, "batch_norm": per_channel, "instance_norm": per_channel, "prelu": per_channel,
    **{f"conv{number}d": convolution for number in (1, 2, 3)}, **{f"conv_transpose{number}d": transposed for number in (1, 2, 3)},
}
LENGTHS = frozenset(name for name in RULES if name.startswith("conv"))
