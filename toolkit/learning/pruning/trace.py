"""A tape of what a network's forward calls, with tensors as numbered slots: groups are found on it, and it can be run from the middle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from toolkit.learning.pruning.attention import can_be_written_out, written_out
from toolkit.learning.pruning.numbers import AxisOf, Number, Origin, PerSample, Slot, Weight, attributes_named


@dataclass(frozen=True)
class TracedCall:
    """One torch function: what it was given (slots and weights for tensors, `PerSample` for sizes of the batch) and what it returned."""

    func: Callable[..., Any]
    name: str
    """Name without trailing underscores: ``relu`` for ``relu_``."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    shapes: dict[int, tuple[int, ...]]
    """Shape of every slot met, the batch included."""

    def slots(self) -> list[int]:
        """Return the slots that go in."""
        return [item.number for item in leaves((self.args, self.kwargs)) if isinstance(item, Slot)]

    def weights(self) -> list[str]:
        """Return the names of the parameters and buffers that go in."""
        return [item.name for item in leaves((self.args, self.kwargs)) if isinstance(item, Weight)]

    def results(self) -> list[int]:
        """Return the slots that come out."""
        return [item.number for item in leaves(self.out) if isinstance(item, Slot)]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument given by place or by name."""
        also = self.kwargs.get("axis", default) if name == "dim" else default  # numpy's word, which torch takes too
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, also)

    def given(
        self, value: Mapping[int, Tensor], weights: Mapping[str, Tensor], samples: int, lengths: Mapping[Origin, int]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments for a batch of *samples*: *value* and *weights* give tensors, *lengths* the numbers that have changed."""

        def look_up(item: Any) -> Any:
            if isinstance(item, PerSample):
                return item.of(samples)
            if isinstance(item, Number):
                return lengths.get(item.origin, int(item)) if item.origin is not None else int(item)
            return value[item.number] if isinstance(item, Slot) else weights[item.name] if isinstance(item, Weight) else item

        return list(_swap(self.args, look_up)), _swap(self.kwargs, look_up)

    def run(
        self, value: Mapping[int, Tensor], weights: Mapping[str, Tensor], samples: int, lengths: Mapping[Origin, int]
    ) -> Any:
        """Call the function again, see `given`."""
        args, kwargs = self.given(value, weights, samples, lengths)
        return self.func(*args, **kwargs)

    @property
    def in_place(self) -> bool:
        """Whether it may change what it is given."""
        raw = str(getattr(self.func, "__name__", ""))
        return self.name == "setitem" or (raw.endswith("_") and not raw.endswith("__")) or raw.startswith("__i") or "out" in self.kwargs


@dataclass(frozen=True)
class Tape:
    """All calls of one forward pass in eval mode."""

    calls: tuple[TracedCall, ...]
    entry: int
    """Slot of the input."""
    out: Any
    """The output: a slot, or slots in lists, tuples and dicts."""
    shape: tuple[int, ...]
    """Of one sample of the input."""
    dtype: torch.dtype
    """Of the input."""
    constants: Mapping[int, Tensor] = field(default_factory=dict)
    """Tensors that are neither the input nor weights and that no call has made, by slot."""
    rates: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """By slot the axes that grow with the batch, and by how much for each sample."""
    lost: frozenset[Origin] = frozenset()
    """Sizes that the forward made fractions of, which no call shows."""

    @property
    def exits(self) -> tuple[int, ...]:
        """The slots of the output."""
        return tuple(item.number for item in leaves(self.out) if isinstance(item, Slot))

    def begin(self, batch: Tensor) -> dict[int, Tensor]:
        """Return what is there before the first call: the input and the constants, by slot."""
        return {self.entry: batch, **self.constants}

    def answer(self, value: Mapping[int, Tensor]) -> Any:
        """Return the output as the network's forward does."""
        return _swap(self.out, lambda item: value[item.number] if isinstance(item, Slot) else item)


class Untraceable(ValueError):  # noqa: N818 - a property of the model, told by name
    """A network's forward is not a function from one tensor to tensors."""


def record(model: nn.Module, batch: Tensor) -> Tape:
    """Run *model* in eval mode on *batch* and return the tape. The model is left as it was.

    It is run with one sample more as well: numbers that differ then follow the size of the batch (``x.view(x.size(0), -1)``), and the tape
    can be run for any.

    Raises:
        Untraceable: the output is not made of tensors with a row per sample, or does not depend on the input through torch functions; or
            what is done depends on how many samples there are.
    """
    lost: set[Origin] = set()
    with attributes_named(model, lost):
        tape, longer = _recorded(model, batch, lost), _recorded(model, torch.cat([batch, batch[:1]]), lost)
    if [call.name for call in tape.calls] != [call.name for call in longer.calls]:
        raise Untraceable(f"{type(model).__name__}: what its forward does depends on how many samples there are")
    if any(not _same(tensor, longer.constants[slot]) for slot, tensor in tape.constants.items()):
        raise Untraceable(f"{type(model).__name__}: its forward computes something beside torch's functions, which cannot be followed")
    merge = _Merger(type(model).__name__, len(batch))
    calls = [
        replace(call, args=merge(call.args, other.args, call.name), kwargs=merge(call.kwargs, other.kwargs, call.name))
        for call, other in zip(tape.calls, longer.calls, strict=True)
    ]
    rates: dict[int, dict[int, int]] = {tape.entry: {0: 1}}
    for call, other in zip(tape.calls, longer.calls, strict=True):
        for slot, shape in call.shapes.items():
            more = zip(shape, other.shapes.get(slot, shape), strict=False)
            rates[slot] = {axis: after - before for axis, (before, after) in enumerate(more) if after != before}
    return replace(tape, calls=_alive(calls, tape.exits), rates=rates, lost=frozenset(lost))


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether a tensor from nowhere is a constant: the same in both recordings."""
    return first is second or (first.shape == second.shape and torch.equal(first, second))


def _alive(calls: list[TracedCall], exits: tuple[int, ...]) -> tuple[TracedCall, ...]:
    """Return the calls without those whose results nobody reads."""
    wanted, alive = set(exits), []
    for call in reversed(calls):
        if call.in_place or wanted.intersection(call.results()):
            wanted.update(call.slots())
            alive.append(call)
    return tuple(reversed(alive))


def _recorded(model: nn.Module, batch: Tensor, lost: set[Origin]) -> Tape:
    named = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    recorder = _Recorder(named, batch, lost)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), recorder:
            out = model(batch)
    finally:
        model.train(was_training)
    tensors = [item for item in leaves(out) if isinstance(item, Tensor)]
    if not tensors or any(id(tensor) not in recorder.slot for tensor in tensors):
        raise Untraceable(
            f"{type(model).__name__}: its output is not a tensor, or tensors in lists and dicts, that torch functions made of the input"
        )
    for tensor in tensors:
        if tensor.dim() < 1 or len(tensor) != len(batch):
            raise Untraceable(f"{type(model).__name__}: gives {tuple(tensor.shape)} for {len(batch)} samples, not one row for each")
    written = _swap(out, lambda item: Slot(recorder.slot[id(item)]) if isinstance(item, Tensor) else item)
    return Tape(tuple(recorder.calls), 0, written, tuple(batch.shape[1:]), batch.dtype, recorder.constants)


@dataclass(frozen=True)
class _Merger:
    """Puts the arguments of one call for `samples` samples and for one more into one, in which sizes of the batch are `PerSample`."""

    model: str
    samples: int

    def __call__(self, first: Any, second: Any, name: str) -> Any:
        if isinstance(first, (Slot, Weight)) and first == second:
            return first
        if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
            return {key: self(item, second[key], name) for key, item in first.items()}
        if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
            items = [self(one, other, name) for one, other in zip(first, second, strict=True)]
            return items if isinstance(first, list) else type(first)(*items) if hasattr(first, "_fields") else tuple(items)
        if isinstance(first, slice) and isinstance(second, slice) and first != second:
            raise Untraceable(f"{self.model}: '{name}' takes a part that depends on how many samples there are")
        if _is_whole(first) and _is_whole(second) and first != second:
            rate = int(second) - int(first)
            return PerSample(rate, int(first) - rate * self.samples, getattr(first, "parts", frozenset()))
        if isinstance(first, float) and isinstance(second, float) and first != second:
            raise Untraceable(f"{self.model}: '{name}' is given a number that depends on how many samples there are")
        return first


def _is_whole(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


class _Recorder(TorchFunctionMode):
    """Writes down every torch function that returns a tensor."""

    def __init__(self, named: dict[int, str], batch: Tensor, lost: set[Origin]) -> None:
        super().__init__()
        self.named, self.lost = named, lost
        self.calls: list[TracedCall] = []
        self.slot = {id(batch): 0}
        self.alive: list[Tensor] = [batch]
        """Kept, so that no identity is used twice."""
        self.constants: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward and can_be_written_out(args, kwargs):
            with self:
                return written_out(*args, **kwargs)
        result = func(*args, **kwargs)
        name = _name(func)
        if any(isinstance(item, Tensor) for item in leaves(result)):
            shapes: dict[int, tuple[int, ...]] = {}
            given = self._written(args, shapes), self._written(kwargs, shapes)
            self.calls.append(TracedCall(func, name, *given, self._written(result, shapes, made=True), shapes))
        elif "set" in name and args and isinstance(args[0], Tensor):
            shapes = {}
            given = self._written(args, shapes), self._written(kwargs, shapes)
            self.calls.append(TracedCall(func, "setitem", *given, given[0][0], shapes))
        elif args and isinstance(args[0], Tensor) and name in {"shape", "size", "len"}:
            return self._lengths(args[0], result, 0 if name == "len" else (*args[1:], kwargs.get("dim"))[0])
        return result

    def _lengths(self, tensor: Tensor, result: Any, axis: Any) -> Any:
        """Lengths of *tensor* that say so: all of them, or that of one *axis*."""
        key = self._key(tensor)
        if isinstance(result, torch.Size):
            return torch.Size([Number.of(size, AxisOf(key, place), self.lost) for place, size in enumerate(result)])
        return Number.of(result, AxisOf(key, int(axis) % tensor.dim()), self.lost)

    def _key(self, tensor: Tensor, made: bool = False) -> Slot | Weight:
        if id(tensor) in self.named:
            return Weight(self.named[id(tensor)])
        if id(tensor) not in self.slot:
            self.slot[id(tensor)] = len(self.alive)
            self.alive.append(tensor)
            if not made:
                self.constants[self.slot[id(tensor)]] = tensor
        return Slot(self.slot[id(tensor)])

    def _written(self, nested: Any, shapes: dict[int, tuple[int, ...]], made: bool = False) -> Any:
        def write(item: Any) -> Any:
            if not isinstance(item, Tensor):
                return item
            key = self._key(item, made)
            if isinstance(key, Slot):
                shapes[key.number] = tuple(map(int, item.shape))
            return key

        return _swap(nested, write)


def _name(func: Any) -> str:
    """The name of a function, or of the property that it gets or sets."""
    name = str(getattr(func, "__name__", func))
    if name in {"__get__", "__set__"}:
        owner = str(getattr(getattr(func, "__self__", None), "__name__", ""))
        return owner if name == "__get__" else f"set {owner}"
    return name.strip("_")


def assign(out: Any, result: Any, value: dict[int, Tensor]) -> None:
    """Put the tensors of *result* where *out* says."""
    if isinstance(out, Slot):
        if isinstance(result, Tensor):
            value[out.number] = result
    elif isinstance(out, (list, tuple)):
        for place, item in zip(out, result, strict=True):
            assign(place, item, value)


def leaves(nested: Any) -> list[Any]:
    """Return what is in nested lists, tuples and dicts; slots and weights count as one."""
    if isinstance(nested, (Slot, Weight, PerSample)):
        return [nested]
    if isinstance(nested, dict):
        return [leaf for item in nested.values() for leaf in leaves(item)]
    if isinstance(nested, (list, tuple)):
        return [leaf for item in nested for leaf in leaves(item)]
    return [nested]


def _swap(nested: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(nested, (Slot, Weight, PerSample)):
        return change(nested)
    if isinstance(nested, dict):
        return {key: _swap(item, change) for key, item in nested.items()}
    if isinstance(nested, (list, tuple)) and not isinstance(nested, torch.Size):
        items = [_swap(item, change) for item in nested]
        if isinstance(nested, tuple):
            return type(nested)(*items) if hasattr(nested, "_fields") else tuple(items)
        return items
    return change(nested)
