"""What master and workers say to each other: a mask with an order in 72 bytes, four whole numbers back in 16."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.learning.genetic.genome import Mask

ROUND, EVALUATE, STOP = 0, 1, 2
"""Orders: a new network follows; evaluate this mask; there is nothing more to do."""
ORDER_BITS = 2


class Evaluated(NamedTuple):
    """A worker's answer: the three objectives as whole numbers, exact whatever the machine."""

    serial: int
    """The how-manieth order of this worker it answers."""
    wrong: int
    conv_macs: int
    params: int


def order_nbytes(bits: int) -> int:
    """Size of an order about a network of so many bits: 72 for LeNet-5's 570."""
    return -(-(bits + ORDER_BITS) // 8)


def pack_order(kind: int, mask: Mask) -> Tensor:
    """Return an order as bytes; *mask* is over the units of the network before any pruning."""
    bits = np.concatenate([mask, [bool(kind & 1), bool(kind & 2)]])
    return torch.from_numpy(np.packbits(bits))


def unpack_order(order: Tensor, bits: int) -> tuple[int, Mask]:
    """Return kind and mask."""
    read = np.unpackbits(order.numpy(), count=bits + ORDER_BITS).astype(bool)
    return int(read[bits]) + 2 * int(read[bits + 1]), read[:bits]


def pack_answer(answer: Evaluated) -> Tensor:
    return torch.tensor(answer, dtype=torch.int32)


def unpack_answer(tensor: Tensor) -> Evaluated:
    return Evaluated(*(int(value) for value in tensor.tolist()))


ANSWER = torch.zeros(4, dtype=torch.int32)


def weights_of(model: nn.Module) -> Tensor:
    """Return all parameters and buffers as one float32 vector: what a worker needs of a network whose shape it knows."""
    state = model.state_dict().values()
    return torch.cat([tensor.detach().reshape(-1).to(torch.float32) for tensor in state])


def load_weights(model: nn.Module, vector: Tensor) -> None:
    """Put a vector of `weights_of` into *model*."""
    begin = 0
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(vector[begin : begin + tensor.numel()].view(tensor.shape))
            begin += tensor.numel()


def weights_like(model: nn.Module) -> Tensor:
    """Return an empty vector of that size."""
    return torch.empty(sum(tensor.numel() for tensor in model.state_dict().values()))
