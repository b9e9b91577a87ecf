"""What training, distilling and sampling ask of a machine, counted once per setting without doing any of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from toolkit.core.work import Work
from toolkit.learning.diffusion.drawing import told
from toolkit.learning.diffusion.features import FeatureNet
from toolkit.learning.diffusion.losses import DistillationLoss, Terms, seen_losses
from toolkit.learning.diffusion.parameterisation import weighted_error
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.learning.meter import adam_work, elementwise_work
from toolkit.learning.work import count
from toolkit.models.unet import UNet


class AtOneTime(nn.Module):
    """A network at a time index, as a function of images alone."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network, self.labels = network, network.classes > 0

    def forward(self, images: Tensor) -> Tensor:
        none = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        found: Tensor = told(self.network, none if self.labels else None)(images, none)
        return found


class LossOf(nn.Module):
    """A distillation loss as a function of the student's images, which need a gradient."""

    def __init__(self, loss: DistillationLoss) -> None:
        super().__init__()
        self.terms, self.features, self.head = loss.terms, loss.features, loss.head
        self.schedule = loss.schedule
        self.register_buffer("keys", loss.queue.keys if loss.queue is not None else torch.zeros(0))
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        student = images * self.one
        parts = {"pd": weighted_error(student, images, torch.zeros(0), self.schedule, "none")} if self.terms.pd else {}
        if self.features is not None:
            learnt = self.features.maps(student)
            with torch.no_grad():
                taught = self.features.maps(images)
            keys = self.keys if self.head is not None else None
            assert keys is None or isinstance(keys, Tensor)
            parts |= seen_losses(self.terms, taught, learnt, self.head, keys)
        return torch.stack(list(parts.values())).sum() if parts else (student - images).square().mean()


class Costs:
    """Works of one network on one shape of images; every kernel is a launch beyond the first."""

    def __init__(self, network: UNet, shape: tuple[int, ...], looks: Callable[[], FeatureNet], terms: Terms | None) -> None:
        """*looks* builds the network in the losses."""
        self.network, self.shape, self.looks = network, shape, looks
        self.size = sum(weight.numel() for weight in network.parameters())
        self.terms = terms
        self._forward: dict[int, Work] = {}
        self.loss: LossOf | None = None
        self.head_size = self.queue_bytes = 0
        if terms is not None:
            features = looks().requires_grad_(False).eval() if terms.sees else None
            made = DistillationLoss(terms, Schedule(), features, torch.Generator().manual_seed(0))
            self.loss = LossOf(made)
            if made.head is not None and made.queue is not None:
                self.head_size = sum(weight.numel() for weight in made.head.parameters())
                self.queue_bytes = made.queue.rows.nbytes

    def forward(self, batch: int) -> Work:
        """A pass without gradient."""
        if batch not in self._forward:
            self._forward[batch] = count(AtOneTime(self.network), (batch, *self.shape), training=False).work
        return self._forward[batch]

    def teacher(self, batch: int) -> Work:
        """The target of a batch: two passes, one where consistency is learnt."""
        passes = 1 if self.terms is not None and self.terms.consistency else 2
        pixels = batch * float(torch.Size(self.shape).numel())
        return self.forward(batch).times(passes) + elementwise_work(pixels, flops=4 * passes, reads=2 * passes, writes=passes, launches=4)

    def student(self, batch: int) -> Work:
        """Gradient, loss and update of a batch."""
        work = count(AtOneTime(self.network), (batch, *self.shape), gradients_held=True).work
        work += elementwise_work(self.size, flops=4, reads=3, writes=2, launches=3) + adam_work(self.size)
        if self.loss is not None and self.terms is not None:
            work += count(self.loss, (batch, *self.shape), loss=None).work
            if self.terms.consistency:
                work += self.forward(batch) + elementwise_work(self.size, flops=2, reads=2, writes=1, launches=1)
            if self.head_size:
                channels = self.loss.keys.shape[1]  # type: ignore[index]
                entering = self.terms.per_step * float(channels)
                work += adam_work(self.head_size) + elementwise_work(entering, flops=0, reads=1, writes=1, launches=2)
        return work
