"""What a client's step asks of its machine, and how large a message is."""

from __future__ import annotations

from functools import lru_cache

import torch

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.meter import elementwise_work, update_work
from toolkit.methods.task import TaskSpec

HEADER = 4
"""Numbers (float32) before the weights of a message: what it is, how many steps were taken, and in two of them a time as float64."""
HEADER_BYTES = HEADER * FLOAT_BYTES


@lru_cache(maxsize=256)
def step_work(task: TaskSpec, batch: int, mu: float) -> Work:
    """Return the work of a client's step on *batch* samples: loading, gradient with loss, the proximal term where there is one, update."""
    loaded = task.load()
    work = loaded.gradient_work(batch) + update_work(loaded.layout.size)
    if mu:
        work += proximal_work(loaded.layout.size)
    return work.beyond_first()


def proximal_work(size: int) -> Work:
    """Return the work of adding mu (w - w0) to a gradient of *size* numbers, in two passes."""
    return elementwise_work(size, flops=4, reads=4, writes=2, launches=2)


@lru_cache(maxsize=16)
def vector_size(task: TaskSpec) -> int:
    """Return how many numbers (float32) a message holds beside its header."""
    loaded = task.load()
    model = loaded.build(torch.Generator().manual_seed(0))
    return loaded.layout.size + sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
