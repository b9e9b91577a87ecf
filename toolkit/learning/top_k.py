"""The k largest magnitudes, exactly and with stated ties: what every rank must agree on."""

from __future__ import annotations

from typing import cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAGNITUDE = 0x7FFFFFFF
INFINITY_BITS = 0x7F800000


@overload
def top_k(values: Tensor, k: int) -> Tensor: ...
@overload
def top_k(values: NDArray[np.float32], k: int) -> NDArray[np.int64]: ...
def top_k(values: Tensor | NDArray[np.float32], k: int) -> Tensor | NDArray[np.int64]:
    """Return the indices (int64, rising) of the *k* entries of *values* (float32, 1-D) with the largest magnitudes.

    Among equal magnitudes the lower index is taken, so that the answer depends on the bits of *values* alone: not on the library,
    the device or the number of threads. Zeros count (there is always a k-th), infinity is the largest, NaN is refused.

    The answer lies where *values* does, as the same kind of array.

    *Source*: radix selection. *Departures*: indices in rising order, as memory likes them, instead of by magnitude.
    """
    if values.ndim != 1 or values.dtype not in (torch.float32, np.float32):
        raise ValueError(f"top_k: values are {values.dtype} of shape {tuple(values.shape)}; it takes a vector (1-D) of float32")
    if not 1 <= k <= len(values):
        raise ValueError(f"top_k: k is {k}; of {len(values)} values it can be 1 to {len(values)}")
    if isinstance(values, Tensor):
        values = values.detach()
        if values.device.type != "cpu":
            return select_by_threshold(values, k)
        return torch.from_numpy(select(values.contiguous().numpy(), k))
    return select(np.ascontiguousarray(values), k)


def select(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """`top_k` on the CPU."""
    from toolkit.learning import top_k_cpu  # numba takes a while to import

    chosen, has_nan = cast(tuple[NDArray[np.int64], bool], top_k_cpu.select(values.view(np.uint32), k))
    if has_nan:
        raise_for_nan(int(np.isnan(values).argmax()))
    return chosen


def select_by_threshold(values: Tensor, k: int) -> Tensor:
    """`top_k` in plain torch, for any device: the k-th magnitude is unique even where `torch.topk` may choose among equals."""
    magnitudes = values.view(torch.int32) & MAGNITUDE
    kth = torch.topk(magnitudes, k, sorted=False).values.min()
    if int(magnitudes.max()) > INFINITY_BITS:
        raise_for_nan(int((magnitudes > INFINITY_BITS).nonzero()[0, 0]))
    above = (magnitudes > kth).nonzero()[:, 0]
    equal = (magnitudes == kth).nonzero()[: k - len(above), 0]
    return torch.cat([above, equal]).sort().values


def raise_for_nan(place: int) -> None:
    raise ValueError(f"top_k: value {place} is NaN, which has no magnitude; check the gradients before selecting from them")


def top_k_work(size: int, k: int) -> tuple[float, float, float, float]:
    """Return (operations, bytes read, bytes written, kernels) of `top_k`: two passes over *size* values, some three operations each."""
    return 6.0 * size, 8.0 * size + 12.0 * k, 16.0 * k, 1.0


