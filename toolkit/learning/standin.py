"""Stand-ins: code that learns runs on tensors that have shapes and no values, to find out what it would ask of a machine.

Inside `StandIn` whatever meets a tensor on torch's meta device becomes one, results of operations and arguments of other devices alike, so
that code need not know: weights and images are stand-ins, labels, indices and random draws stay what they are. What is written into a
real tensor from a stand-in changes nothing.

A branch on a value that is not there is taken one way: a condition holds (True), a number is 1, a whole number 0. Each such place is noted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from toolkit.learning.known_shapes import META, result_on_meta, tensors_in
from toolkit.learning.work import LiveBytes, Watching


class StandIn(Watching):
    """Lets code run on stand-ins, and keeps account of the memory that they would take; that of those *given* is left out."""

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = LiveBytes(given)
        """Bytes of stand-ins that were made inside and are still in use."""
        self.assumed: Counter[str] = Counter()
        """How often a value was taken for granted, by place: ``toolkit.learning.projection:25 True``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors_in(args))
        if kwargs:
            given += tensors_in(kwargs)
        are_meta = [tensor.is_meta for tensor in given]
        if True in are_meta:
            if func is torch.ops.aten._local_scalar_dense.default:
                return self._assume(args[0])
            if _only_writes(func):  # nobody could tell the difference
                return None if not func._schema.returns else args[0]
            if False in are_meta:
                args, kwargs = _as_meta(args), _as_meta(kwargs)
            if kwargs.get("device") is not None:
                kwargs = {**kwargs, "device": META}
            result = result_on_meta(func, args, kwargs)
        else:
            result = func(*args, **kwargs)
        self.live.watch(tensor for tensor in tensors_in(result) if tensor.is_meta)
        return result

    def _assume(self, value: Tensor) -> bool | int | float:
        """Return what a value that is not there is taken for, and note who asked."""
        found: bool | int | float = True if value.dtype == torch.bool else 1.0 if value.is_floating_point() else 0
        frame: Any = sys._getframe(1)
        while frame is not None and not _is_ours(frame.f_globals.get("__name__", "")):
            frame = frame.f_back
        if frame is not None:
            self.assumed[f"{frame.f_globals['__name__']}:{frame.f_lineno} {found}"] += 1
        return found


def _is_ours(module: str) -> bool:
    return module.startswith("toolkit.") and module != __name__


@cache
def _only_writes(func: Any) -> bool:
    """Whether an operation writes values into its first argument and leaves its shape as it is."""
    name = func.overloadpacket.__name__
    alias = func._schema.arguments[0].alias_info if func._schema.arguments else None
    writes = alias is not None and alias.is_write
    return writes and (name in WRITES or name.startswith("_foreach_") or torch.Tag.pointwise in func.tags)


WRITES = frozenset({"copy_", "fill_", "zero_", "index_put_", "index_add_", "masked_fill_", "scatter_", "clamp_min_", "round_"})


def _as_meta(nested: Any) -> Any:
    """Return *nested* arguments with stand-ins for all tensors."""
    if isinstance(nested, Tensor):
        return nested if nested.is_meta else torch.empty_strided(nested.shape, nested.stride(), dtype=nested.dtype, device=META)
    if isinstance(nested, dict):
        return {key: _as_meta(value) for key, value in nested.items()}
    if isinstance(nested, tuple | list):
        return type(nested)(_as_meta(value) for value in nested)
    return nested


class Shapes(Function):
    """A network that only has shapes: results of the right size, gradients for its weights, and the memory that the real one takes."""

    @staticmethod
    def forward(ctx: Any, kept_bytes: int, more_bytes: int, size: int, maps: Tensor, *weights: Tensor) -> Tensor:
        """Return (n, *size*) for *maps* (n, ...).

        *kept_bytes* stay in use until the way back is done, or for the moment where there is none; the way back needs *more_bytes* at its
        worst, finished gradients among them.
        """
        ctx.kept = torch.empty(kept_bytes, dtype=torch.uint8, device=maps.device)
        ctx.more_bytes = more_bytes
        ctx.shapes = [tensor.shape for tensor in (maps, *weights)]
        return maps.new_empty((len(maps), size))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        more = torch.empty(ctx.more_bytes, dtype=torch.uint8, device=META)
        del more
        ctx.kept = None
        wanted = zip(ctx.shapes, ctx.needs_input_grad[3:], strict=True)
        return None, None, None, *(torch.empty(shape, device=META) if needs else None for shape, needs in wanted)
