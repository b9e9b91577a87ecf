"""A device that is not there: tensors that say they lie on it, compute on the CPU, and refuse to meet tensors that lie elsewhere.

A GPU is not needed to see that a tensor was left on the CPU: whatever would raise there raises here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
"""By what name it goes: autograd takes it for one without values, and asks for no driver."""
INDEXING = {"index.Tensor", "index_put_.default", "index_put.default", "_index_put_impl_.default", "_unsafe_index.Tensor"}
"""Operations that take their indices from the CPU too."""
MOVING = {"_to_copy.default", "copy_.default"}


class Elsewhere(Tensor):
    """A tensor on the device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, device=DEVICE,
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Written(TorchFunctionMode):
    """Numbers that are written out do not come by the dispatcher."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE:
            return Elsewhere(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


class OnTheDevice(TorchDispatchMode):
    """While it is on, what is made on the device comes as `Elsewhere`."""

    def __enter__(self) -> Any:
        self._written = _Written()
        self._written.__enter__()
        return super().__enter__()

    def __exit__(self, *exit: Any) -> Any:
        super().__exit__(*exit)
        return self._written.__exit__(*exit)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    name = func.__name__
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [leaf for leaf in given if isinstance(leaf, Elsewhere)]
    asked = kwargs.get("device")
    if there and name not in MOVING:
        judged = tree_leaves((args[0], *args[2:])) if name in INDEXING else given
        for leaf in judged:
            if isinstance(leaf, Tensor) and not isinstance(leaf, Elsewhere) and leaf.dim():
                raise AssertionError(f"{name}: a tensor of shape {tuple(leaf.shape)} lies on the CPU and meets one on the device")
    plain_args, plain_kwargs = (tree_map(lambda leaf: leaf.inner if isinstance(leaf, Elsewhere) else leaf, tree) for tree in (args, kwargs))
    if asked is not None:
        plain_kwargs = {**plain_kwargs, "device": torch.device("cpu")}
    found = func(*plain_args, **plain_kwargs)
    if func is torch.ops.aten.copy_.default or (func._schema.arguments and _writes(func)):
        return args[0] if isinstance(found, Tensor) else found
    goes = bool(there) if asked is None else torch.device(asked) == DEVICE
    return tree_map(lambda leaf: Elsewhere(leaf) if isinstance(leaf, Tensor) else leaf, found) if goes else found


def _writes(func: Any) -> bool:
    alias = func._schema.arguments[0].alias_info
    return alias is not None and alias.is_write


def moved(module: nn.Module) -> None:
    """Move all weights and buffers of *module* to the device."""
    for part in module.modules():
        for name, weight in list(part._parameters.items()):
            if weight is not None:
                part._parameters[name] = nn.Parameter(Elsewhere(weight.detach()), requires_grad=weight.requires_grad)
        for name, values in list(part._buffers.items()):
            if values is not None:
                part._buffers[name] = Elsewhere(values)
