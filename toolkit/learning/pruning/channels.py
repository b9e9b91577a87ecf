"""Where channels go: every channel of every tensor on a tape as an atom, atoms that must go together joined, the rest kept.

A convolution or linear layer makes new atoms, one per output. Normalisation, pooling, non-linearities and depthwise convolutions pass
them on, flattening repeats each of them once per pixel, adding and multiplying tensors of one shape ties them, concatenation strings them
together. A grouped convolution ties the channels that have the same place in each group, so that all groups lose alike; a layer that is
called again ties what it reads and makes to what it did before. Whatever is not understood (channel shuffles, slices of channels, group
norms, padding of channels) ties its atoms to those that are never removed: a group may be missed, and never wrongly cut.

Trap: a convolution with one input channel has `groups == in_channels` too and is not depthwise; only `groups > 1` makes it that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from toolkit.learning.pruning.trace import PerSample, Slot, Tape, TracedCall, Weight, leaves

Atoms = NDArray[np.int64]

PASSES = frozenset({
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "dropout",
    "dropout2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "contiguous", "clone", "to", "float", "detach",
    "interpolate", "neg", "exp", "sqrt", "clamp",
})
"""Functions that treat every channel alike and apart."""

PAIRS = frozenset({"add", "sub", "mul", "div", "truediv", "iadd", "imul", "isub", "radd", "rmul", "maximum", "minimum"})
MEANS = frozenset({"mean", "sum", "amax", "amin"})
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
RESHAPES = MEANS | {"flatten", "view", "reshape", "cat", "concat", "getitem", "pad"}


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer as it was called: what its multiply-adds are counted from."""

    weight: str
    positions: int
    """Output pixels; 1 for a linear layer."""
    convolution: bool
    call: int
    """Its place on the tape."""
    groups: int = 1
    """Groups of inputs that share the second dimension of the weight."""


@dataclass
class Channels:
    """The atoms of all tensors, and which slices of which weights belong to them."""

    parent: list[int] = field(default_factory=lambda: [0])
    """Union-find; atom 0 stands for all that is never removed."""
    of: dict[int, Atoms] = field(default_factory=dict)
    """Atoms of the second dimension by slot."""
    uses: dict[tuple[str, int], Atoms] = field(default_factory=dict)
    """Atoms of (weight, dimension)."""
    layers: list[Layer] = field(default_factory=list)
    depthwise: set[str] = field(default_factory=set)
    """Weights of depthwise convolutions."""
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
        return np.fromiter((self.find(int(atom)) for atom in atoms), np.int64, len(atoms))

    def join(self, first: Atoms, second: Atoms) -> None:
        """Tie atoms pair by pair; whoever is tied to what is never removed is never removed."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self.parent[high] = low

    def fresh(self, count: int) -> Atoms:
        begin = len(self.parent)
        self.parent += range(begin, begin + count)
        return np.arange(begin, begin + count)

    def keep(self, atoms: Atoms, reason: str = "") -> Atoms:
        """Never remove these."""
        self.join(np.zeros_like(atoms), atoms)
        if reason and len(atoms) and reason not in self.reasons:
            self.reasons.append(reason)
        return atoms

    def use(self, weight: str, dim: int, atoms: Atoms) -> None:
        """Let *atoms* own the indices of a dimension of a weight; one that is used twice ties both uses."""
        known = self.uses.setdefault((weight, dim), atoms)
        if known is not atoms:
            self.join(known, atoms)


def follow(tape: Tape, shapes: dict[str, tuple[int, ...]]) -> Channels:
    """Return the channels of *tape*; *shapes* are those of the parameters and buffers by name."""
    channels = Channels()
    for place, call in enumerate(tape.calls):
        _step(channels, call, place, shapes)
    channels.keep(channels.of[tape.exit])
    return channels


def _step(channels: Channels, call: TracedCall, place: int, shapes: dict[str, tuple[int, ...]]) -> None:
    for slot in call.slots():
        _atoms(channels, call, slot)
    name = call.name
    if (name in CONVOLUTIONS or name == "linear") and isinstance(call.args[0], Slot) and _layer(channels, call, place, shapes):
        return
    if name == "prelu" and all(shapes[weight] == (1,) for weight in call.weights()):  # one slope for all
        channels.of[call.results()[0]] = channels.of[call.slots()[0]]
        return
    if name in {"batch_norm", "prelu"} and isinstance(call.args[0], Slot):
        atoms = channels.of[call.args[0].number]
        for weight in call.weights():
            channels.use(weight, 0, atoms)
        channels.of[call.out.number] = atoms
        return
    if name in PASSES or (name in PAIRS and len(call.slots()) == 1 and not call.weights()):
        channels.of[call.results()[0]] = channels.of[call.slots()[0]]
        return
    if name in PAIRS and _pair(channels, call, shapes):
        return
    if name in RESHAPES and _reshaped(channels, call):
        return
    for slot in call.slots():
        channels.keep(channels.of[slot], f"{name} ({'x'.join(map(str, call.shapes[slot][1:]))})")
    for weight in call.weights():
        for dim, size in enumerate(shapes[weight]):
            channels.use(weight, dim, np.zeros(size, np.int64))
    for slot in call.results():
        channels.of[slot] = np.zeros(_width(call, slot), np.int64)


def _atoms(channels: Channels, call: TracedCall, slot: int) -> Atoms:
    """The atoms of a tensor; of the input and of tensors from nowhere, those that are never removed."""
    return channels.of.setdefault(slot, np.zeros(_width(call, slot), np.int64))


def _width(call: TracedCall, slot: int) -> int:
    shape = call.shapes[slot]
    return shape[1] if len(shape) > 1 else 1


def _layer(channels: Channels, call: TracedCall, place: int, shapes: dict[str, tuple[int, ...]]) -> bool:
    weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
    if not isinstance(weight, Weight) or not (bias is None or isinstance(bias, Weight)):
        return False
    source, result = call.args[0].number, call.out.number
    atoms, shape = channels.of[source], shapes[weight.name]
    convolution = call.name in CONVOLUTIONS
    groups = int(call.argument(6, "groups", 1)) if convolution else 1
    if not convolution and len(call.shapes[source]) != 2:
        return False
    if groups == 1:
        out = channels.uses.get((weight.name, 0))
        out = channels.fresh(shape[0]) if out is None else out
        channels.use(weight.name, 1, atoms)
    elif groups == len(atoms) and shape[0] % groups == 0:
        out = np.repeat(atoms, shape[0] // groups)
        channels.depthwise.add(weight.name)
    else:
        each = atoms[: shape[1]]
        channels.join(np.tile(each, groups), atoms)
        channels.use(weight.name, 1, each)
        known = channels.uses.get((weight.name, 0))
        out = np.tile(channels.fresh(shape[0] // groups), groups) if known is None else known
    channels.use(weight.name, 0, out)
    if bias is not None:
        channels.use(bias.name, 0, out)
    channels.of[result] = out
    pixels = call.shapes[result][2:]
    shared = groups if weight.name not in channels.depthwise else 1
    channels.layers.append(Layer(weight.name, int(np.prod(pixels)) if convolution else 1, convolution, place, shared))
    return True


def _pair(channels: Channels, call: TracedCall, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Two tensors of one shape, or one that is broadcast over the channels of the other, or a weight with one value per channel."""
    result = call.results()[0]
    width, dims = _width(call, result), len(call.shapes[result])
    parts = call.slots()
    if any(len(call.shapes[slot]) != dims for slot in parts) or not parts:
        return False
    whole = [slot for slot in parts if _width(call, slot) == width]
    for slot in parts:
        if slot not in whole:
            channels.keep(channels.of[slot], f"{call.name} broadcast over channels")
    if not whole:
        return False
    for slot in whole[1:]:
        channels.join(channels.of[whole[0]], channels.of[slot])
    for weight in call.weights():
        shape = shapes[weight]
        if len(shape) == dims and shape[1] == width and width > 1:
            channels.use(weight, 1, channels.of[whole[0]])
        elif len(shape) == dims - 1 and shape[0] == width and width > 1:
            channels.use(weight, 0, channels.of[whole[0]])
        elif any(size != 1 for size in shape):
            return False
    channels.of[result] = channels.of[whole[0]]
    return True


def _reshaped(channels: Channels, call: TracedCall) -> bool:
    """Flattening, concatenation, averages over pixels, subsampling, padding of pixels."""
    out = call.results()
    if len(out) != 1 or not call.slots():
        return False
    source, target = call.slots()[0], out[0]
    before, after = call.shapes[source], call.shapes[target]
    atoms = channels.of[source]
    if call.name == "flatten" and len(after) > 2 and after[:2] == before[:2]:  # pixels alone
        channels.of[target] = atoms
        return True
    if call.name in {"flatten", "view", "reshape"}:
        if len(after) != 2 or before[0] != after[0] or len(before) < 2 or not _free(call):
            return False
        channels.of[target] = np.repeat(atoms, int(np.prod(before[2:])))
        return True
    if call.name in {"cat", "concat"}:
        if call.argument(1, "dim", 0) not in {1, 1 - len(after)}:
            return False
        channels.of[target] = np.concatenate([channels.of[slot] for slot in call.slots()])
        return True
    if call.name in MEANS:
        dims = call.argument(1, "dim")
        named = [dims] if isinstance(dims, int) else list(dims or [])
        if not named or any(dim % len(before) < 2 for dim in named):
            return False
    elif call.name == "getitem":
        index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
        whole = all(part == slice(None) for part in index[:2] if isinstance(part, slice))
        if not whole or not all(isinstance(part, slice) for part in index):
            return False
    elif call.name == "pad":
        amounts = [item for item in leaves(call.argument(1, "pad")) if isinstance(item, int)]
        if any(amounts[2 * (len(before) - 2):]):
            return False
    channels.of[target] = atoms
    return True


def _free(call: TracedCall) -> bool:
    """Whether a flattening takes as many features as there are; a number of them that is written down holds for the whole network alone."""
    if call.name == "flatten":
        return True
    sizes = [item for item in leaves([call.args[1:], call.kwargs]) if isinstance(item, PerSample | int)]
    return sizes[-1] == -1


def producers(channels: Channels) -> dict[int, str]:
    """Return the layer that makes each atom by the atom's representative; the first where atoms are tied."""
    made: dict[int, str] = {}
    for layer in channels.layers:
        if layer.weight not in channels.depthwise:
            for root in channels.roots(channels.uses[layer.weight, 0]).tolist():
                made.setdefault(root, layer.weight)
    return made


