"""A tape of what a network's forward calls, with tensors as numbered slots: groups are found on it, and it can be run from the middle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Slot(NamedTuple):
    """Stands for a tensor of the tape."""

    number: int


class Weight(NamedTuple):
    """Stands for a parameter or buffer of the model."""

    name: str


class PerSample(NamedTuple):
    """Stands for a whole number that follows the size of the batch: `rate` times as many as there are samples, and `rest`."""

    rate: int
    rest: int

    def of(self, samples: int) -> int:
        """Return the number for a batch of *samples*."""
        return self.rate * samples + self.rest


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
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def run(self, value: Mapping[int, Tensor], weights: Mapping[str, Tensor], samples: int) -> Any:
        """Call the function again for a batch of *samples*, *value* and *weights* giving the tensors."""

        def look_up(item: Any) -> Any:
            if isinstance(item, PerSample):
                return item.of(samples)
            return value[item.number] if isinstance(item, Slot) else weights[item.name] if isinstance(item, Weight) else item

        return self.func(*_swap(self.args, look_up), **_swap(self.kwargs, look_up))


@dataclass(frozen=True)
class Tape:
    """All calls of one forward pass in eval mode."""

    calls: tuple[TracedCall, ...]
    entry: int
    """Slot of the input."""
    exit: int
    """Slot of the output."""
    shape: tuple[int, ...]
    """Of one sample of the input."""
    scores: tuple[int, ...]
    """Shape of the output for one sample."""


class Untraceable(ValueError):  # noqa: N818 - a property of the model, told by name
    """A network's forward is not a function from one tensor to one tensor."""


def record(model: nn.Module, batch: Tensor) -> Tape:
    """Run *model* in eval mode on *batch* and return the tape. The model is left as it was.

    It is run with one sample more as well: numbers that differ then follow the size of the batch (``x.view(x.size(0), -1)``), and the tape
    can be run for any.

    Raises:
        Untraceable: the output is not one tensor per sample, or does not depend on the input through torch functions; or what is done
            depends on how many samples there are.
    """
    tape, longer = _recorded(model, batch), _recorded(model, torch.cat([batch, batch[:1]]))
    if [call.name for call in tape.calls] != [call.name for call in longer.calls]:
        raise Untraceable(f"{type(model).__name__}: what its forward does depends on how many samples there are")
    merge = _Merger(type(model).__name__, len(batch))
    calls = tuple(
        replace(call, args=merge(call.args, other.args, call.name), kwargs=merge(call.kwargs, other.kwargs, call.name))
        for call, other in zip(tape.calls, longer.calls, strict=True)
    )
    return replace(tape, calls=calls)


def _recorded(model: nn.Module, batch: Tensor) -> Tape:
    named = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    recorder = _Recorder(named, batch)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), recorder:
            out = model(batch)
    finally:
        model.train(was_training)
    if not isinstance(out, Tensor) or id(out) not in recorder.slot:
        raise Untraceable(f"{type(model).__name__}: its output is not one tensor that torch functions made of the input")
    if out.dim() < 1 or len(out) != len(batch):
        raise Untraceable(f"{type(model).__name__}: gives {tuple(out.shape)} for {len(batch)} samples, not one row for each")
    return Tape(tuple(recorder.calls), 0, recorder.slot[id(out)], tuple(batch.shape[1:]), tuple(out.shape[1:]))


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
            rate = second - first
            return PerSample(rate, first - rate * self.samples)
        if isinstance(first, float) and isinstance(second, float) and first != second:
            raise Untraceable(f"{self.model}: '{name}' is given a number that depends on how many samples there are")
        return first


def _is_whole(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


class _Recorder(TorchFunctionMode):
    """Writes down every torch function that returns a tensor."""

    def __init__(self, named: dict[int, str], batch: Tensor) -> None:
        super().__init__()
        self.named = named
        self.calls: list[TracedCall] = []
        self.slot = {id(batch): 0}
        self.alive: list[Tensor] = [batch]
        """Kept, so that no identity is used twice."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(item, Tensor) for item in leaves(result)):
            shapes: dict[int, tuple[int, ...]] = {}
            given = self._written(args, shapes), self._written(kwargs or {}, shapes)
            name = str(getattr(func, "__name__", func)).strip("_")
            self.calls.append(TracedCall(func, name, *given, self._written(result, shapes), shapes))
        elif "set" in str(getattr(func, "__name__", "")) and isinstance(args[0], Tensor):
            shapes = {}
            given = self._written(args, shapes), self._written(kwargs or {}, shapes)
            self.calls.append(TracedCall(func, "setitem", *given, given[0][0], shapes))
        return result

    def _written(self, nested: Any, shapes: dict[int, tuple[int, ...]]) -> Any:
        def write(item: Any) -> Any:
            if not isinstance(item, Tensor):
                return item
            if id(item) in self.named:
                return Weight(self.named[id(item)])
            if id(item) not in self.slot:
                self.slot[id(item)] = len(self.alive)
                self.alive.append(item)
            shapes[self.slot[id(item)]] = tuple(item.shape)
            return Slot(self.slot[id(item)])

        return _swap(nested, write)


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
