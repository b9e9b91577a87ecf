"""Diffusion and its distillation in plain torch: train, sample, distil and look, without the simulator.

>>> from toolkit.datasets import digits
>>> from toolkit.learning import diffusion
>>> images, labels = diffusion.scaled(digits.load())
>>> teacher = diffusion.train(images, steps=1000)
>>> student = diffusion.distil(teacher, images, losses="cfd_pd", features=diffusion.trained_features(images, labels), begin=16, end=1)
>>> diffusion.save_grid(diffusion.make(student, images.shape[1:], count=64, steps=1), "digits.png")
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.datasets import Dataset
from toolkit.learning.diffusion.base import trained_base
from toolkit.learning.diffusion.distillation import Ladder, Stages
from toolkit.learning.diffusion.features import FeatureNet, trained_features
from toolkit.learning.diffusion.grid import save_grid
from toolkit.learning.diffusion.losses import preset
from toolkit.learning.diffusion.samplers import sample
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.learning.random import torch_generator
from toolkit.models.unet import unet

__all__ = ["Stages", "distil", "make", "sample", "save_grid", "scaled", "train", "trained_features"]


def scaled(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return the training images of *data* as float32 in [-1, 1], and their labels."""
    return data.train_images.float().div(127.5).sub(1), data.train_labels


def seeded_by(seed: int, *names: object) -> torch.Generator:
    """Return the generator of a seed and names (texts and numbers), the same whenever it is asked for."""
    words = [seed, *(int.from_bytes(str(name).encode(), "little") for name in names)]
    return torch_generator(np.random.default_rng(words))


def train(
    images: Tensor, network: nn.Module | None = None, *, steps: int = 1000, batch: int = 64, lr: float = 2e-3, seed: int = 0
) -> nn.Module:
    """Return a network that predicts images, trained on *images* (n, channels, side, side) in [-1, 1]; without *network* a small UNet."""
    network = network or unet(images.shape[1], generator=seeded_by(seed, "model"))
    return trained_base(
        network, images, steps=steps, batch=batch, lr=lr, schedule=Schedule(), seeded=lambda *names: seeded_by(seed, *names)
    )


def distil(
    teacher: nn.Module, images: Tensor, *, losses: str = "pd", features: FeatureNet | None = None, begin: int = 64, end: int = 1,
    steps: int = 200, seed: int = 0,
) -> nn.Module:
    """Return a student that samples in *end* steps, distilled from *teacher* of *begin* steps; *losses* names a preset."""
    ladder = Ladder(
        teacher, images, preset(losses), Stages(begin, end, steps), schedule=Schedule(), seeded=lambda *names: seeded_by(seed, *names),
        features=features,
    )
    ladder.run()
    return ladder.student(end)


def make(model: nn.Module, shape: Sequence[int], *, count: int, steps: int, sampler: str = "ddim", seed: int = 0) -> Tensor:
    """Return *count* images of *shape* (channels, side, side) sampled in *steps* steps."""
    draws = seeded_by(seed, "sample")
    noise = torch.randn((count, *shape), generator=draws)
    return sample(model, noise, steps, schedule=Schedule(), sampler=sampler, generator=draws)
