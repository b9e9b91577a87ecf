"""Images out of a frozen classifier: a generator learns to make what the classifier takes for samples of its classes.

Source: Yin et al., *Dreaming to Distill* (DeepInversion), CVPR 2020, for matching BatchNorm's statistics; Smith et al., *Always Be
Dreaming*, ICCV 2021, for the generator and the weights. Departure: images are smoothed by a kernel of 3x3 pixels, compared where it fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

TEMPERATURE = 1000.0
"""What scores are divided by where an image shall be of one class."""
STATISTICS, SMOOTHNESS = 50.0, 1e-3
"""Weights of the distance to BatchNorm's statistics, and of the roughness of images."""
KERNEL = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))
"""Of the smoothing, over its sum."""


class ImageGenerator(nn.Module):
    """Makes images (n, channels, height, width), each channel of mean 0 and deviation 1 in a batch, of noise (n, latent)."""

    def __init__(self, image_shape: tuple[int, int, int], latent: int, width: int) -> None:
        super().__init__()
        channels, *self.size = image_shape
        self.latent, self.width = latent, width
        self.small = [-(-side // 4) for side in self.size]
        self.first = nn.Linear(latent, width * self.small[0] * self.small[1])
        self.bn0, self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.BatchNorm2d(width // 2)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width // 2, 3, padding=1)
        self.conv3 = nn.Conv2d(width // 2, channels, 3, padding=1)
        self.last = nn.BatchNorm2d(channels, affine=False)

    def forward(self, noise: Tensor) -> Tensor:
        maps = self.bn0(self.first(noise).view(-1, self.width, *self.small))
        maps = functional.interpolate(maps, size=[-(-side // 2) for side in self.size])
        maps = functional.leaky_relu(self.bn1(self.conv1(maps)), 0.2)
        maps = functional.interpolate(maps, size=self.size)
        maps = functional.leaky_relu(self.bn2(self.conv2(maps)), 0.2)
        images: Tensor = self.last(torch.tanh(self.conv3(maps)))
        return images


class Dreaming(nn.Module):
    """A generator before a frozen classifier, which judges what it makes."""

    def __init__(self, generator: ImageGenerator, network: nn.Module) -> None:
        super().__init__()
        self.generator, self.network = generator, network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """The generator is trained; the classifier always answers as it would in use."""
        super().train(mode)
        self.network.eval()
        return self

    def dream(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, their scores, and how far their statistics in every BatchNorm are from those of the samples (a mean over layers
        and channels of KL(N(mean, variance of the batch) || N(running mean, running variance))).
        """
        images = self.generator(noise)
        apart: list[Tensor] = []
        with _noting(self.network, apart):
            scores = self.network(images)
        return images, scores, torch.stack(apart).mean() if apart else images.new_zeros(())


@contextmanager
def _noting(network: nn.Module, apart: list[Tensor]) -> Iterator[None]:
    """Let every BatchNorm of *network* note in *apart* how far the statistics of what it is given are from its own."""

    def note(norm: Any, given: tuple[Tensor]) -> None:
        maps = given[0].transpose(0, 1).flatten(1)
        apart.append(statistics_apart(maps.mean(1), maps.var(1, correction=0), norm.running_mean, norm.running_var))

    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def statistics_apart(mean: Tensor, variance: Tensor, known_mean: Tensor, known_variance: Tensor) -> Tensor:
    """Return the mean over channels of KL(N(mean, variance) || N(known mean, known variance))."""
    variance, known_variance = variance + 1e-8, known_variance + 1e-8
    return 0.5 * ((known_variance / variance).log() + (variance + (mean - known_mean).square()) / known_variance - 1).mean()


def dreaming_loss(images: Tensor, scores: Tensor, apart: Tensor) -> Tensor:
    """Return what the generator descends, of *images*, the *scores* of the classes that they may be of, and `Dreaming.dream`'s distance.

    CE(scores / 1000, the class that they name) + sum_k p_k log p_k + 50 distance + 0.001 |x - smoothed x|^2, p being the mean softmax.
    """
    shares = scores.softmax(1).mean(0)
    loss = functional.cross_entropy(scores / TEMPERATURE, scores.argmax(1)) + (shares * (shares + 1e-12).log()).sum()
    return loss + STATISTICS * apart + SMOOTHNESS * roughness(images)


def roughness(images: Tensor) -> Tensor:
    """Return the mean square of what smoothing takes away from *images*, their edges left out."""
    channels = images.shape[1]
    kernel = torch.tensor(KERNEL, dtype=images.dtype, device=images.device) / sum(map(sum, KERNEL))
    smooth = functional.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return (images[:, :, 1:-1, 1:-1] - smooth).square().mean()
