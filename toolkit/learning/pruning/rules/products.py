"""Products of two tensors, attention among them: what is summed over is tied, the dimensions before it are tied pair by pair."""

from __future__ import annotations

from toolkit.learning.pruning.channels import Atoms, Channels, Product, Read, operand
from toolkit.learning.pruning.numbers import Slot, Weight
from toolkit.learning.pruning.trace import TracedCall


def matmul(channels: Channels, call: TracedCall, place: int) -> bool:
    """(..., rows, inner) times (..., inner, columns)."""
    return _multiplied(channels, call, place, 0)


def baddbmm(channels: Channels, call: TracedCall, place: int) -> bool:
    """A tensor that is broadcast, and a product added to it."""
    added = operand(call, 0)
    if added is None or not _multiplied(channels, call, place, 1):
        return False
    (slot,) = call.results()
    for back, atoms in enumerate(reversed(channels.of[slot]), start=1):
        mine = channels.axes(added)[-back] if back <= len(channels.axes(added)) else None
        if mine is not None and len(mine) == len(atoms):
            channels.join(atoms, mine)
        elif mine is not None:
            channels.keep(mine)
    return True


def _multiplied(channels: Channels, call: TracedCall, place: int, begin: int) -> bool:
    first, second = operand(call, begin), operand(call, begin + 1)
    if first is None or second is None:
        return False
    a, b = channels.axes(first), channels.axes(second)
    if min(len(a), len(b)) < 2:
        return False
    ahead = _ahead(channels, a[:-2], b[:-2])
    channels.join(a[-1], b[-2])
    (slot,) = call.results()
    channels.of[slot] = (*ahead, a[-2], b[-1])
    one = first if isinstance(first, Slot) and channels.own_weight(first) is None else second
    axis = len(a) - 1 if one is first else len(b) - 2
    channels.reads.append(Read(place, begin if one is first else begin + 1, axis, a[-1]))
    _counted(channels, slot, a[-1], 1)
    return True


def attention(channels: Channels, call: TracedCall, place: int) -> bool:
    """Scaled dot products, heads before the last two dimensions; their width stays unless the scale, which follows it, is given."""
    tensors = [operand(call, index) for index in range(3)]
    q, k, v = (channels.axes(tensor) if tensor is not None else () for tensor in tensors)
    if min(len(q), len(k), len(v)) < 2 or call.argument(7, "enable_gqa", False):
        return False
    ahead = _ahead(channels, _ahead(channels, q[:-2], k[:-2]), v[:-2])
    for atoms in (k[-2], v[-2], *((q[-1], k[-1]) if call.argument(6, "scale") is None else ())):
        channels.keep(atoms, "scaled_dot_product_attention over the width of a head")
    channels.join(q[-1], k[-1])
    (slot,) = call.results()
    channels.of[slot] = (*ahead, q[-2], v[-1])
    mask = call.argument(3, "attn_mask")
    if isinstance(mask, Slot | Weight):
        for back, atoms in enumerate(reversed((*ahead, q[-2], k[-2])), start=1):
            mine = channels.axes(mask)[-back] if back <= len(channels.axes(mask)) else None
            if mine is not None and len(mine) == len(atoms):
                channels.join(atoms, mine)
            elif mine is not None:
                channels.keep(mine)
    channels.reads.append(Read(place, 0, len(q) - 1, q[-1]))
    _counted(channels, slot, k[-2], 1)
    first = tensors[0]
    assert first is not None
    factors, constant = channels.spread(first, range(len(q)))
    channels.products.append(Product(tuple(factors), constant * len(k[-2])))
    return True


def _ahead(channels: Channels, first: tuple[Atoms, ...], second: tuple[Atoms, ...]) -> tuple[Atoms, ...]:
    """Tie the dimensions before a product, counted from the last, and return those of the result."""
    found = list(first if len(first) >= len(second) else second)
    for back in range(1, min(len(first), len(second)) + 1):
        a, b = first[-back], second[-back]
        if len(a) == len(b):
            channels.join(a, b)
        else:
            channels.keep(a if len(a) == 1 else b)
        found[-back] = a if len(a) >= len(b) else b
    return tuple(found)


def _counted(channels: Channels, slot: int, inner: Atoms, times: int) -> None:
    factors, constant = channels.spread(Slot(slot), range(len(channels.of[slot])))
    channels.products.append(Product((*factors, inner), constant * times))


RULES = {
    "matmul": matmul, "bmm": matmul, "mm": matmul, "baddbmm": baddbmm, "addmm": baddbmm, "scaled_dot_product_attention": attention,
}
