"""What a step of fine-tuning asks of a machine: as `toolkit.learning.pruning.finetune` takes it."""

from __future__ import annotations

import math

from torch import nn

from toolkit.core.work import Work
from toolkit.learning.meter import adam_work, checking_work, elementwise_work
from toolkit.learning.work import count
from toolkit.methods.classification import cross_entropy_of


def tuning_work(model: nn.Module, shape: tuple[int, ...]) -> Work:
    """Return the work of one step on a batch of *shape*, every kernel a launch: the samples picked out, the gradient, Adam.

    Departure: the loss is a cross entropy; what following a teacher adds to it is not counted.
    """
    picked = elementwise_work(math.prod(shape) + 2 * shape[0], flops=0, reads=1, writes=1, launches=2)
    size = sum(weight.numel() for weight in model.parameters())
    gradient = count(model, shape, loss=cross_entropy_of).work
    return picked + gradient + checking_work(size) + adam_work(size)
