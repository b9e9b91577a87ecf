"""The size of a network in the numbers that papers print: parameters, multiply-adds, and the memory of its results.

Conventions: **parameters** are those that are trained, buffers apart. **Multiply-adds** are the products of activations with weights, in
convolutions (grouped ones by their groups) and linear layers, biases and everything elementwise apart; products of activations with each
other, as in attention, are not among them (`toolkit.learning.work.count` has both). **Peak activation bytes** are the largest sum of
results alive at one time while an image is classified, operation by operation, the input and the weights apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.learning.work import count, without_memory


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def multiply_adds(model: nn.Module, image_shape: Sequence[int]) -> int:
    """Return the multiply-adds of one image of *image_shape* (channels, height, width)."""
    return count(model, (1, *image_shape), training=False).weight_flops // 2


def peak_activation_bytes(model: nn.Module, image_shape: Sequence[int], batch: int = 1) -> int:
    """Return the bytes of results alive at the worst moment of classifying *batch* images."""
    return count(model, (batch, *image_shape), training=False).live_bytes


def reference_multiply_adds(model: nn.Module, image_shape: Sequence[int], head_is_seen: bool = True) -> int:
    """Return what the counter of HCGNet's reference implementation calls multiply-adds, the published "FLOPs" of that paper.

    That counter adds 2 for every element of a two-dimensional BatchNorm, 1 for every element of a ReLU and of an adaptive pooling, and the
    bias of the classifier (`model.classifier`), and takes dilated convolutions for undilated ones, so that their maps come out larger than
    they are. It looks at modules: the ReLU and the pooling before the classifier are modules in B and C, and calls that it does not see
    in A1 to A3 (*head_is_seen* False).
    """
    shadow = without_memory(model).eval()
    meter = _ReferenceMeter()
    with meter, torch.no_grad():
        shadow(torch.empty((1, *image_shape), device="meta"))
    head = 0 if head_is_seen else meter.last["relu"] + meter.last["mean"]
    return meter.total - head + int(shadow.classifier.bias.numel())  # type: ignore[union-attr, operator]


class _ReferenceMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.last: dict[str, int] = {}
        """What the last operation of each name added."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        self.last[name] = _reference_cost(name, args, result)
        self.total += self.last[name]
        return result


def _reference_cost(name: str, args: tuple[Any, ...], result: Any) -> int:
    if name == "convolution":
        weight, stride, padding = args[1], args[3], args[4]
        positions = 1
        for side, kernel, step, pad in zip(args[0].shape[2:], weight.shape[2:], stride, padding, strict=True):
            positions *= (side + 2 * pad - kernel) // step + 1
        return int(positions * weight.numel())
    if name in ("addmm", "mm"):
        matrix: Tensor = args[1] if name == "addmm" else args[0]
        return matrix.numel() * int(result.shape[1])
    if name == "baddbmm":  # scores of positions, a 1x1 convolution there
        return int(args[2].numel())
    if name == "native_batch_norm":
        return 2 * int(args[0].numel()) if args[0].dim() == 4 else 0
    if name in ("relu", "bmm", "mean"):  # mean: what adaptive pooling to one pixel comes to; bmm: the weighted one of contexts
        return int(args[0].numel())
    return 0
