"""Gates on the full network: its tape, run with a factor on everything that removable units have a say in.

A gate sits where a unit is read, so that at 0 it removes all of the unit's influence, its bias and normalisation included, which a factor
at its filter would not. Norms that run over channels weigh their statistics by the gates: with gates of 0 and 1 these are those of the
units that stay, which is what the cut network has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.learning.pruning.groups import Gate, Groups, Mask
from toolkit.learning.pruning.numbers import Slot
from toolkit.learning.pruning.rules.norms import STATISTICS
from toolkit.learning.pruning.trace import TracedCall, assign


def gated_answer(model: nn.Module, groups: Groups, gate: Tensor, batch: Tensor) -> Any:
    """Return what *model* answers in eval mode with its units multiplied by *gate*, (units,) or (batch, units) for gates of each sample."""
    tape = groups.tape
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    rows = gate if gate.dim() == 2 else gate[None]
    padded = torch.cat([rows, rows.new_ones((len(rows), 1))], dim=1)  # index -1: never removed
    value = tape.begin(batch.clone())
    for place, call in enumerate(tape.calls):
        args, kwargs = call.given(value, weights, len(batch), {})
        gates = groups.gates.get(place, ())
        if gates and call.name in STATISTICS:
            assign(call.out, _weighted_norm(call, args, kwargs, _factor(groups, call, gates[0], args, padded), gates[0].axis), value)
            continue
        for each in gates:
            args[each.operand] = args[each.operand] * _factor(groups, call, each, args, padded)
        assign(call.out, call.func(*args, **kwargs), value)
    return tape.answer(value)


def gates_apart(groups: Groups) -> bool:
    """Whether each sample can have gates of its own: wherever a gate acts, one row of an axis belongs to each sample."""
    return all(
        isinstance(groups.tape.calls[place].args[gate.operand], Slot) and 1 in _rates(groups, groups.tape.calls[place], gate).values()
        for place, gates in groups.gates.items() for gate in gates
    )


def _rates(groups: Groups, call: TracedCall, gate: Gate) -> dict[int, int]:
    tensor = call.args[gate.operand]
    return dict(groups.tape.rates.get(tensor.number, {})) if isinstance(tensor, Slot) else {}


def _factor(groups: Groups, call: TracedCall, gate: Gate, args: Sequence[Any], padded: Tensor) -> Tensor:
    """The gates in a shape that multiplies the operand."""
    chosen = padded[:, torch.from_numpy(gate.owner % padded.shape[1])]
    shape = [1] * args[gate.operand].dim()
    shape[gate.axis] = len(gate.owner)
    if len(chosen) == 1:
        return chosen.view(shape)
    (batch,) = (axis for axis, rate in _rates(groups, call, gate).items() if rate == 1)
    shape[batch] = len(chosen)
    return (chosen if batch < gate.axis else chosen.t()).reshape(shape)


def _weighted_norm(call: TracedCall, args: Sequence[Any], kwargs: dict[str, Any], factor: Tensor, axis: int) -> Tensor:
    """LayerNorm, RMSNorm or GroupNorm of one group with statistics in which each channel counts as much as its gate is open."""
    tensor = args[0]
    weight, bias = (args[place] if len(args) > place else kwargs.get(name) for place, name in ((2, "weight"), (3, "bias")))
    eps = args[4] if len(args) > 4 else kwargs.get("eps", 1e-5)
    if call.name == "rms_norm":
        bias, eps = None, args[3] if len(args) > 3 else kwargs.get("eps")
        eps = torch.finfo(tensor.dtype).eps if eps is None else eps
    first = 1 if call.name == "group_norm" else tensor.dim() - len(call.argument(1, "normalized_shape"))
    dims = list(range(first, tensor.dim()))
    total = factor.sum(axis, keepdim=True) * _size(tensor, dims, axis)
    mean = (tensor * factor).sum(dims, keepdim=True) / total if call.name != "rms_norm" else tensor.new_zeros(())
    centred = tensor - mean
    scaled = centred * ((centred**2 * factor).sum(dims, keepdim=True) / total + eps).rsqrt()
    if call.name == "group_norm":
        shape = (-1, *(1,) * (tensor.dim() - 2))
        weight, bias = (part.view(shape) if part is not None else None for part in (weight, bias))
    scaled = scaled * weight if weight is not None else scaled
    result: Tensor = scaled + bias if bias is not None else scaled
    return result


def _size(tensor: Tensor, dims: Sequence[int], axis: int) -> int:
    """How many numbers there are along *dims* for each index of *axis*."""
    count = 1
    for dim in dims:
        count *= tensor.shape[dim] if dim != axis else 1
    return count


@torch.no_grad()
def masked_scores(model: nn.Module, groups: Groups, mask: Mask, images: Tensor) -> Any:
    """Return the scores of the full network with the gates that *mask* closes at 0: the slow form, to which all others must be equal."""
    first = next(model.parameters())
    gate = torch.from_numpy(groups.check(mask)).to(first.dtype)
    return gated_answer(model, groups, gate, images)
