"""How torch's functions pass channels on: one rule for each, by the function's name.

A rule is given the channels, a call and its place on the tape. It ties atoms, says which the results have, and returns whether it
understood the call; what is not understood keeps all channels that it touches. `LENGTHS` names the functions whose rules look at the
numbers they are given; elsewhere such numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit.learning.pruning.channels import Channels, lies, numbers
from toolkit.learning.pruning.numbers import Slot, Weight
from toolkit.learning.pruning.rules import elementwise, layers, layout, norms, products
from toolkit.learning.pruning.trace import Tape, TracedCall, leaves

Rule = Callable[[Channels, TracedCall, int], bool]
RULES: dict[str, Rule] = {**elementwise.RULES, **layout.RULES, **layers.RULES, **norms.RULES, **products.RULES}
LENGTHS = layout.LENGTHS | layers.LENGTHS | norms.LENGTHS


def follow(tape: Tape, shapes: dict[str, tuple[int, ...]]) -> Channels:
    """Return the channels of *tape*; *shapes* are those of the parameters and buffers by name."""
    channels = Channels(shapes, tape.rates)
    for place, call in enumerate(tape.calls):
        _step(channels, call, place)
    for part in tape.lost:
        channels.stay(part)
    for slot in tape.exits:
        for atoms in channels.of[slot]:
            channels.keep(atoms)
    return channels


def _step(channels: Channels, call: TracedCall, place: int) -> None:
    for slot in call.slots():
        channels.of.setdefault(slot, tuple(lies(size) for size in call.shapes[slot]))
    rule = RULES.get(call.name)
    understood = rule is not None and rule(channels, call, place)
    understood = understood and all(tuple(map(len, channels.of[slot])) == call.shapes[slot] for slot in call.results())
    tensors = [item for item in leaves([call.args, call.kwargs]) if isinstance(item, Slot | Weight)]
    if not understood:
        for tensor in tensors:
            for atoms in channels.axes(tensor):
                channels.keep(atoms, call.name)
        for slot in call.results():
            channels.of[slot] = tuple(lies(size) for size in call.shapes[slot])
    if not understood or call.name not in LENGTHS:
        for number in numbers([call.args, call.kwargs]):
            channels.fix(number)
    sources = [channels.own_weight(tensor) for tensor in tensors]
    for slot in call.results():
        for axis in channels.rates[slot]:
            channels.keep(channels.of[slot][axis])
        if sources and sources[0] is not None and None not in sources:
            channels.derived.setdefault(slot, sources[0])
