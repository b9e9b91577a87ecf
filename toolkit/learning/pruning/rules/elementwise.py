"""Functions that treat every element apart, or every channel: they pass atoms on, and tie those of several tensors."""

from __future__ import annotations

import re

from toolkit.learning.pruning.channels import Atoms, Channels, lies, operand, shape_of
from toolkit.learning.pruning.numbers import Slot, Weight
from toolkit.learning.pruning.trace import TracedCall, leaves

ALONE = (
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "selu", "celu", "sigmoid", "logsigmoid", "tanh", "softplus", "softsign",
    "hardswish", "hardsigmoid", "hardtanh", "hardshrink", "softshrink", "tanhshrink", "threshold", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "alpha_dropout", "feature_alpha_dropout", "contiguous", "clone", "to", "float", "double", "half", "bfloat16", "type",
    "type_as", "detach", "data", "neg", "abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos",
    "erf", "clamp", "clip", "sign", "floor", "ceil", "round", "nan_to_num", "zeros_like", "ones_like", "full_like", "logical_not",
)
"""Functions of one tensor."""
TOGETHER = (
    "add", "sub", "mul", "div", "truediv", "floordiv", "true_divide", "multiply", "divide", "subtract", "iadd", "imul", "isub",
    "itruediv", "radd", "rmul", "rsub", "rdiv", "rtruediv", "maximum", "minimum", "pow", "rpow", "where", "masked_fill", "eq", "ne", "lt",
    "gt", "le", "ge", "logical_and", "logical_or", "and", "or", "lerp", "addcmul", "atan2",
)
"""Functions of several tensors, broadcast."""
ALONG = {"softmax": 1, "log_softmax": 1, "softmin": 1, "cumsum": 1, "normalize": 2, "roll": 2, "flip": 1}
"""Functions that mix along the dimensions given at this place."""
POOLS = re.compile(r"(?:adaptive_)?(?:max|avg|lp)_pool([123])d(?:_with_indices)?")


def broadcast(channels: Channels, call: TracedCall, place: int = -1) -> bool:
    """Tie tensors axis by axis, counted from the last; what is repeated along an axis stays."""
    tensors = [item for item in leaves([call.args, call.kwargs]) if isinstance(item, Slot | Weight)]
    if len(call.results()) != 1:
        return False
    (slot,) = call.results()
    result: list[Atoms] = []
    for back, size in enumerate(reversed(call.shapes[slot]), start=1):
        atoms: Atoms | None = None
        for tensor in tensors:
            axes = channels.axes(tensor)
            if len(axes) < back:
                continue
            if len(axes[-back]) != size:
                channels.keep(axes[-back], f"{call.name} repeats a channel")
            elif atoms is None:
                atoms = axes[-back]
            else:
                channels.join(atoms, axes[-back])
        result.append(lies(size) if atoms is None else atoms)
    channels.of[slot] = tuple(reversed(result))
    return True


def passed(channels: Channels, call: TracedCall, place: int) -> bool:
    """One tensor of the same shape, whatever numbers are given besides; bounds may be tensors as well."""
    tensor, results = operand(call, 0), call.results()
    if call.name in {"clamp", "clip"}:
        return broadcast(channels, call, place)
    if tensor is None or len(results) != 1 or shape_of(channels, tensor) != call.shapes[results[0]]:
        return False
    channels.of[results[0]] = channels.axes(tensor)
    return True


def along(channels: Channels, call: TracedCall, place: int) -> bool:
    """Mixes along some dimensions, which stay, and passes the others."""
    tensor, dims = operand(call, 0), call.argument(ALONG[call.name], "dims" if call.name in {"roll", "flip"} else "dim", None)
    named = [dim for dim in leaves(dims) if isinstance(dim, int)]
    if call.name == "normalize" and not named:
        named = [1]
    if tensor is None or not named:
        return False
    for dim in named:
        channels.keep(channels.axes(tensor)[dim], f"{call.name} along channels")
    return passed(channels, call, place)


def pooled(channels: Channels, call: TracedCall, place: int) -> bool:
    """Pools or enlarges pixels: all axes before them pass."""
    tensor, results = operand(call, 0), call.results()
    if tensor is None:
        return False
    axes, named = channels.axes(tensor), POOLS.fullmatch(call.name)
    pixels = int(named[1]) if named else len(axes) - 2
    for atoms in axes[len(axes) - pixels :]:
        channels.keep(atoms, f"{call.name} over channels")
    for slot in results:
        channels.of[slot] = (*axes[: len(axes) - pixels], *(lies(size) for size in call.shapes[slot][len(axes) - pixels :]))
    return True


RULES = {
    **dict.fromkeys(ALONE, passed), **dict.fromkeys(TOGETHER, broadcast), **dict.fromkeys(ALONG, along),
    **{
        f"{kind}{number}d{ending}": pooled for kind in ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool")
        for number in (1, 2, 3) for ending in ("", "_with_indices")
    },
    **dict.fromkeys(("interpolate", "upsample", "upsample_nearest", "upsample_bilinear"), pooled),
}
