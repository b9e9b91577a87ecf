"""Functions that lay tensors out anew: reshaping, permuting, cutting up and stringing together.

A shape that a forward writes down is looked at number by number: `-1` may be any size, a plain number stays, one that is a module's
attribute or another axis's length goes with it (`Channels.follows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.learning.pruning.channels import Atoms, Axes, Channels, lies, operand, shape_of
from toolkit.learning.pruning.numbers import AxisOf, Number, PerSample, Slot, Weight
from toolkit.learning.pruning.trace import TracedCall, leaves


def reshape(channels: Channels, call: TracedCall, place: int) -> bool:
    """To sizes, one after the other or in a tuple."""
    lengths = leaves([call.args[1:], call.kwargs])
    if not all(isinstance(item, int | PerSample) for item in lengths):
        return False
    return _regrouped(channels, call, [None if isinstance(item, int) and int(item) == -1 else item for item in lengths])


def reshape_as(channels: Channels, call: TracedCall, place: int) -> bool:
    """To the sizes of another tensor."""
    other = call.argument(1, "other")
    if not isinstance(other, Slot | Weight):
        return False
    return _regrouped(channels, call, [Number.of(size, AxisOf(other, axis), set()) for axis, size in enumerate(shape_of(channels, other))])


def flatten(channels: Channels, call: TracedCall, place: int) -> bool:
    return _regrouped(channels, call, [None] * len(call.shapes[call.results()[0]]))


def unflatten(channels: Channels, call: TracedCall, place: int) -> bool:
    tensor, dim, sizes = operand(call, 0), call.argument(1, "dim"), call.argument(2, "sizes")
    if tensor is None or not isinstance(dim, int):
        return False
    count = len(channels.axes(tensor))
    lengths: list[Any] = [None] * count
    lengths[dim % count : dim % count + 1] = [None if isinstance(item, int) and int(item) == -1 else item for item in leaves(sizes)]
    return _regrouped(channels, call, lengths)


def _regrouped(channels: Channels, call: TracedCall, lengths: Sequence[Any]) -> bool:
    tensor, (slot,) = operand(call, 0), call.results()
    after = call.shapes[slot]
    if tensor is None or len(lengths) != len(after) or 0 in after:
        return False
    axes = channels.axes(tensor)
    found: list[Atoms] = [lies(size) for size in after]
    begun = [place for place, size in enumerate(after) if size == 1 and _may_change(lengths[place])]
    for olds, news in _with_ones(channels, axes, _segments(shape_of(channels, tensor), after), begun):
        merged = _merged(channels, [axes[old] for old in olds])
        if not news:
            channels.keep(merged)
            continue
        for new, atoms in zip(news, _divided(channels, merged, [after[new] for new in news], [lengths[new] for new in news]), strict=True):
            found[new] = atoms
    channels.of[slot] = tuple(found)
    return True


def _segments(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield which dimensions become which, as few at a time as hold equally many numbers; one of size 1 that ends goes with the next."""
    old = new = 0
    ended: list[int] = []
    while old < len(before) or new < len(after):
        if old < len(before) and new < len(after) and before[old] == after[new]:
            yield [*ended, old], [new]
            old, new, ended = old + 1, new + 1, []
        elif old < len(before) and before[old] == 1:
            ended.append(old)
            old += 1
        elif new < len(after) and after[new] == 1:
            yield [], [new]
            new += 1
        else:
            olds, news, left, right = [old], [new], before[old], after[new]
            while left != right:
                if left < right:
                    olds.append(olds[-1] + 1)
                    left *= before[olds[-1]]
                else:
                    news.append(news[-1] + 1)
                    right *= after[news[-1]]
            yield [*ended, *olds], news
            old, new, ended = olds[-1] + 1, news[-1] + 1, []
    if ended:
        yield ended, []


def _with_ones(
    channels: Channels, axes: Axes, segments: Iterable[tuple[list[int], list[int]]], begun: Sequence[int]
) -> list[tuple[list[int], list[int]]]:
    """Put dimensions of size 1 that are *begun* with a size that may change to what can lose indices beside them; the last to the last.

    They are what is left of several: the last of the heads, or a head of width 1, which goes with the indices that were its.
    """
    found: list[tuple[list[int], list[int]]] = []
    waiting: list[int] = []
    for olds, news in segments:
        if not olds and news[0] in begun:
            waiting += news
            continue
        if not news and found:  # the last ones that end
            found[-1][0].extend(olds)
            continue
        behind = any(channels.removable(axes[old]) for old in olds)
        if waiting and found and not behind and any(channels.removable(axes[old]) for old in found[-1][0]):
            found[-1][1].extend(waiting)
            waiting = []
        found.append((olds, [*waiting, *news]))
        waiting = []
    if waiting and found:
        found[-1][1].extend(waiting)
    elif waiting:
        found.append(([], waiting))
    return found


def _merged(channels: Channels, axes: Sequence[Atoms]) -> Atoms:
    """The atoms of axes laid out as one: an index goes with that of the one axis that can lose some; of several, the longest."""
    if not axes:
        return lies(1)
    moving = sorted((place for place, atoms in enumerate(axes) if channels.removable(atoms)), key=lambda place: -len(axes[place]))
    for place in moving[1:]:
        channels.keep(axes[place], "two axes laid out as one")
    chosen = moving[0] if moving else 0
    ahead = int(np.prod([len(atoms) for atoms in axes[:chosen]]))
    behind = int(np.prod([len(atoms) for atoms in axes[chosen + 1 :]]))
    return np.tile(np.repeat(axes[chosen], behind), ahead)


def _divided(channels: Channels, merged: Atoms, sizes: Sequence[int], lengths: Sequence[Any]) -> list[Atoms]:
    """The atoms of an axis laid out as several: the first whose length may change goes with the indices that lie in it, and ties them."""
    if len(sizes) == 1:
        channels.follows(lengths[0], merged)
        return [merged]
    free = next((place for place, length in enumerate(lengths) if _may_change(length)), None)
    found: list[Atoms] = [lies(size) for size in sizes]
    if free is None:
        channels.keep(merged, "a size that is written down")
    elif sizes:
        found[free] = channels.tie_rows(np.moveaxis(merged.reshape(sizes), free, -1).reshape(-1, sizes[free]))
    for place, length in enumerate(lengths):
        channels.follows(length, found[place])
    return found


def _may_change(length: Any) -> bool:
    """Whether an axis of this length can lose indices: torch works it out, or it is a module's own or that of another axis."""
    return length is None or (isinstance(length, Number) and length.origin is not None)


def permute(channels: Channels, call: TracedCall, place: int) -> bool:
    tensor = operand(call, 0)
    if tensor is None:
        return False
    axes = channels.axes(tensor)
    order = list(range(len(axes)))
    given = [item for item in leaves([call.args[1:], call.kwargs]) if isinstance(item, int)]
    if call.name in {"t", "T"}:
        order.reverse()
    elif call.name == "permute":
        order = given
    elif call.name == "movedim":
        order = _moved(len(axes), *call.args[1:3])
    else:
        first, second = (-2, -1) if call.name in {"mT", "adjoint"} else given
        order[first], order[second] = order[second], order[first]
    (slot,) = call.results()
    channels.of[slot] = tuple(axes[axis] for axis in order)
    return True


def _moved(count: int, source: Any, target: Any) -> list[int]:
    """The order of axes after `movedim`."""
    sources, targets = ([item % count for item in leaves(part)] for part in (source, target))
    order = [axis for axis in range(count) if axis not in sources]
    for new, old in sorted(zip(targets, sources, strict=True)):
        order.insert(new, old)
    return order


def squeeze(channels: Channels, call: TracedCall, place: int) -> bool:
    tensor, (slot,) = operand(call, 0), call.results()
    if tensor is None:
        return False
    axes = channels.axes(tensor)
    named = [item % len(axes) for item in leaves([call.args[1:], call.kwargs]) if isinstance(item, int)] or list(range(len(axes)))
    gone = [axis for axis in named if len(axes[axis]) == 1]
    for axis in gone:
        channels.keep(axes[axis])
    channels.of[slot] = tuple(atoms for axis, atoms in enumerate(axes) if axis not in gone)
    return True


def unsqueeze(channels: Channels, call: TracedCall, place: int) -> bool:
    tensor, dim = operand(call, 0), call.argument(1, "dim")
    if tensor is None:
        return False
    axes = list(channels.axes(tensor))
    axes.insert(dim % (len(axes) + 1), lies(1))
    channels.of[call.results()[0]] = tuple(axes)
    return True


def index(channels: Channels, call: TracedCall, place: int) -> bool:
    """Slices, numbers, None and an ellipsis; a part of an axis alone keeps the axis."""
    tensor, (slot,) = operand(call, 0), call.results()
    parts = list(call.args[1]) if isinstance(call.args[1], tuple) and not isinstance(call.args[1], Slot | Weight) else [call.args[1]]
    known = all(part is None or part is Ellipsis or (isinstance(part, slice | int) and not isinstance(part, bool)) for part in parts)
    if tensor is None or not known:
        return False
    axes = channels.axes(tensor)
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    rest = [slice(None)] * (len(axes) - taken)
    parts = [each for part in parts for each in (rest if part is Ellipsis else [part])] + ([] if Ellipsis in parts else rest)
    found: list[Atoms] = []
    left = iter(axes)
    for part in parts:
        atoms = lies(1) if part is None else next(left)
        whole = isinstance(part, slice) and part.indices(len(atoms)) == (0, len(atoms), 1)
        if part is not None and not whole:
            channels.keep(atoms, "a part of the channels")
        if not isinstance(part, int):
            found.append(atoms if whole or part is None else lies(len(range(len(atoms))[part])))
    channels.of[slot] = tuple(found)
    return True


def select(channels: Channels, call: TracedCall, place: int) -> bool:
    """One index, or each, of a dimension, which stays."""
    tensor = operand(call, 0)
    if tensor is None:
        return False
    axes = list(channels.axes(tensor))
    gone = axes.pop(int(call.argument(1, "dim", 0)))
    channels.keep(gone, f"{call.name} of channels")
    for slot in call.results():
        channels.of[slot] = tuple(axes)
    return True


def cut_up(channels: Channels, call: TracedCall, place: int) -> bool:
    """Parts of a dimension: equal ones lose alike, those of other sizes by what they are called in the forward."""
    tensor, results, dim = operand(call, 0), call.results(), int(call.argument(2, "dim", 0))
    if tensor is None:
        return False
    axes = list(channels.axes(tensor))
    sizes = [call.shapes[slot][dim] for slot in results]
    given = call.argument(1, "chunks" if call.name == "chunk" else "split_size_or_sections")
    parts = np.split(axes[dim], np.cumsum(sizes)[:-1])
    if len(set(sizes)) == 1 and isinstance(given, int):
        channels.tie_rows(np.stack(parts))
        channels.follows(None if call.name == "chunk" else given, parts[0])
    elif isinstance(given, list | tuple) and len(given) == len(parts):
        for length, part in zip(given, parts, strict=True):
            channels.follows(length, part)
    else:
        channels.keep(axes[dim], f"{call.name} in unequal parts")
    for slot, part in zip(results, parts, strict=True):
        axes[dim] = part
        channels.of[slot] = tuple(axes)
    return True


def halves(channels: Channels, call: TracedCall, place: int) -> bool:
    """A gated linear unit: one half of the channels by the other."""
    tensor, dim = operand(call, 0), int(call.argument(1, "dim", -1))
    if tensor is None:
        return False
    axes = list(channels.axes(tensor))
    axes[dim] = channels.tie_rows(axes[dim].reshape(2, -1))
    channels.of[call.results()[0]] = tuple(axes)
    return True


def strung(channels: Channels, call: TracedCall, place: int) -> bool:
    """Tensors one after the other along a dimension, old or new; the other dimensions are tied."""
    tensors = [item for item in leaves(call.argument(0, "tensors")) if isinstance(item, Slot | Weight)]
    (slot,) = call.results()
    dim = int(call.argument(1, "dim", 0)) % len(call.shapes[slot])
    if not tensors:
        return False
    first = channels.axes(tensors[0])
    along = lies(len(tensors))
    if call.name != "stack":
        if any(len(channels.axes(tensor)) != len(first) for tensor in tensors):
            return False
        along = np.concatenate([channels.axes(tensor)[dim] for tensor in tensors])
        first = (*first[:dim], *first[dim + 1 :])
    for tensor in tensors[1:]:
        axes = channels.axes(tensor)
        others = axes if call.name == "stack" else (*axes[:dim], *axes[dim + 1 :])
        for mine, other in zip(first, others, strict=True):
            channels.join(mine, other)
    channels.of[slot] = (*first[:dim], along, *first[dim:])
    return True


def expand(channels: Channels, call: TracedCall, place: int) -> bool:
    """Repeats along dimensions of size one, which stay."""
    tensor, (slot,) = operand(call, 0), call.results()
    if tensor is None:
        return False
    other = call.argument(1, "other")
    named: Sequence[Any] = [item for item in leaves([call.args[1:], call.kwargs]) if isinstance(item, int | PerSample)]
    if isinstance(other, Slot | Weight):
        named = [Number.of(size, AxisOf(other, axis), set()) for axis, size in enumerate(shape_of(channels, other))]
    after, axes = call.shapes[slot], channels.axes(tensor)
    if len(named) != len(after):
        return False
    found: list[Atoms] = []
    for back in range(1, len(after) + 1):
        atoms, length = axes[-back] if back <= len(axes) else lies(1), named[-back]
        if len(atoms) != after[-back]:
            channels.keep(atoms, "expand of a channel")
            atoms = lies(after[-back])
        channels.follows(None if isinstance(length, int) and int(length) == -1 else length, atoms)
        found.append(atoms)
    channels.of[slot] = tuple(reversed(found))
    return True


def reduce(channels: Channels, call: TracedCall, place: int) -> bool:
    """Means and sums over dimensions, which stay."""
    tensor, (slot,) = operand(call, 0), call.results()
    if tensor is None:
        return False
    axes = channels.axes(tensor)
    named = [item % len(axes) for item in leaves(call.argument(1, "dim")) if isinstance(item, int)] or list(range(len(axes)))
    for axis in named:
        channels.keep(axes[axis], f"{call.name} over channels")
    whole = len(call.shapes[slot]) == len(axes)
    channels.of[slot] = tuple(lies(1) if axis in named else atoms for axis, atoms in enumerate(axes) if whole or axis not in named)
    return True


def pad(channels: Channels, call: TracedCall, place: int) -> bool:
    """What is put before and behind an axis stays; so does the axis, unless what is put there is one value."""
    tensor, (slot,) = operand(call, 0), call.results()
    amounts = [item for item in leaves(call.argument(1, "pad")) if isinstance(item, int)]
    if tensor is None:
        return False
    axes: Axes = channels.axes(tensor)
    found = list(axes)
    for place_, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True), start=1):
        if not before and not after:
            continue
        if call.argument(2, "mode", "constant") == "constant" and min(before, after) >= 0:
            found[-place_] = np.concatenate([lies(before), axes[-place_], lies(after)])
        else:
            channels.keep(axes[-place_], "pad over channels")
            found[-place_] = lies(call.shapes[slot][-place_])
    channels.of[slot] = tuple(found)
    return True


def pixels(channels: Channels, call: TracedCall, place: int) -> bool:
    """Channels that become pixels lose whole squares of them, and pixels that become channels repeat theirs."""
    tensor, (slot,) = operand(call, 0), call.results()
    if tensor is None:
        return False
    axes, after = channels.axes(tensor), call.shapes[slot]
    for atoms in axes[-2:]:
        channels.keep(atoms)
    if call.name == "pixel_shuffle":
        made = channels.tie_rows(axes[-3].reshape(after[-3], -1).T)
    else:
        made = np.repeat(axes[-3], after[-3] // len(axes[-3]))
    channels.of[slot] = (*axes[:-3], made, lies(after[-2]), lies(after[-1]))
    return True


RULES = {
    **dict.fromkeys(("view", "reshape"), reshape), **dict.fromkeys(("view_as", "reshape_as"), reshape_as), "flatten": flatten,
    "unflatten": unflatten,
    **dict.fromkeys(("permute", "transpose", "swapaxes", "swapdims", "t", "T", "mT", "movedim"), permute),
    "squeeze": squeeze, "unsqueeze": unsqueeze, "getitem": index, **dict.fromkeys(("select", "unbind"), select),
    **dict.fromkeys(("chunk", "split"), cut_up), "glu": halves, **dict.fromkeys(("cat", "concat", "stack"), strung),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "prod", "logsumexp"), reduce), "pad": pad,
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), pixels),
}
LENGTHS = frozenset(("view", "reshape", "view_as", "reshape_as", "unflatten", "split", "expand", "expand_as", "broadcast_to"))
"""Functions whose rules look at the numbers they are given."""
