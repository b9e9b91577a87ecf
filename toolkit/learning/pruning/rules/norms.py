"""Norms whose statistics run over channels.

GroupNorm with several groups loses whole groups: the statistics of those that stay do not change, so cutting is the same as closing gates.
LayerNorm, RMSNorm and GroupNorm with one group lose channels, and their statistics are then those of the channels that stay. No gate behind
them could do that; so what is searched with gates weighs the statistics too (`gates`), and a mask's answers are those of the cut network.
"""

from __future__ import annotations

from toolkit.learning.pruning.channels import Channels, Read, lies, operand
from toolkit.learning.pruning.numbers import Slot, Weight, counting
from toolkit.learning.pruning.trace import TracedCall, leaves


def layer_norm(channels: Channels, call: TracedCall, place: int) -> bool:
    """Over the last dimensions, of which one may lose channels."""
    tensor, lengths = operand(call, 0), list(leaves(call.argument(1, "normalized_shape")))
    if tensor is None:
        return False
    axes = channels.axes(tensor)
    last = axes[len(axes) - len(lengths) :]
    for item in (*call.args[2:4], call.kwargs.get("weight"), call.kwargs.get("bias")):
        if isinstance(item, Slot | Weight):
            for mine, others in zip(channels.axes(item), last, strict=True):
                channels.join(others, mine)
    removable = [place for place, atoms in enumerate(last) if channels.removable(atoms)]
    for axis, (length, atoms) in enumerate(zip(lengths, last, strict=True)):
        if axis in removable[1:]:
            channels.keep(atoms, f"{call.name} over two dimensions")
        channels.follows(length, atoms)
    if removable:
        channels.reads.append(Read(place, 0, len(axes) - len(lengths) + removable[0], last[removable[0]]))
    (slot,) = call.results()
    channels.of[slot] = axes
    return True


def group_norm(channels: Channels, call: TracedCall, place: int) -> bool:
    """Whole groups, or the channels of a single one."""
    tensor, count = operand(call, 0), call.argument(1, "num_groups")
    if tensor is None or not isinstance(count, int):
        return False
    axes = channels.axes(tensor)
    for atoms in axes[2:]:
        channels.keep(atoms, "group_norm over channels")
    for item in (*call.args[2:4], call.kwargs.get("weight"), call.kwargs.get("bias")):
        if isinstance(item, Slot | Weight):
            channels.join(axes[1], channels.axes(item)[0])
    if count == 1 and counting(count) != "groups":
        channels.follows(count, lies(1))
        channels.reads.append(Read(place, 0, 1, axes[1]))
    else:
        channels.follows(count, channels.tie_rows(axes[1].reshape(int(count), -1).T))
    (slot,) = call.results()
    channels.of[slot] = axes
    return True


RULES = {"layer_norm": layer_norm, "rms_norm": layer_norm, "group_norm": group_norm}
LENGTHS = frozenset(RULES)
STATISTICS = frozenset(RULES)
"""Functions that read channels for their statistics, and not for a product."""
