"""The frequency-domain encoder of CLFD: images become maps of half the size and three channels, which trunk and replay memory see.

One level of the Haar transform, then three convolutions of 1x1 without bias: ``low`` looks at LL (C weights), ``whole`` at all four bands
(4 C), ``high`` at the three detail bands (3 C). Transform and convolutions are linear, so the encoder is *one* convolution of 2x2 with
stride 2; that is how it is always calculated, in training too, instead of the transform followed by the convolutions (`by_bands`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from toolkit.errors import ScenarioError
from toolkit.learning.wavelet import folded, haar2d, lengthened
from toolkit.learning.work import without_memory
from toolkit.models import fresh

MAP_CHANNELS = 3


class Mixture(nn.Module):
    """The three convolutions over bands (n, 4 C, h, w): 8 C weights."""

    def __init__(self, channels: int, generator: Generator) -> None:
        super().__init__()
        self.low, self.whole, self.high = (
            fresh(lambda count=count: nn.Conv2d(count * channels, 1, 1, bias=False), generator) for count in (1, 4, 3)  # type: ignore[misc]
        )

    def weights(self) -> Tensor:
        """Return all weights, (8 C, 1)."""
        return torch.cat([layer.weight.view(-1, 1) for layer in (self.low, self.whole, self.high)])

    def forward(self, bands: Tensor) -> Tensor:
        """Return maps (n, 3, h, w)."""
        channels = bands.shape[1] // 4
        return torch.cat([self.low(bands[:, :channels]), self.whole(bands), self.high(bands[:, channels:])], dim=1)


class Encoder(nn.Module):
    """Maps (n, 3, ceil(H / 2), ceil(W / 2)) of normalised images (n, C, H, W)."""

    basis: Tensor

    def __init__(self, channels: int, generator: Generator) -> None:
        super().__init__()
        self.channels = channels
        self.mixture = Mixture(channels, generator)
        self.register_buffer("basis", _basis(channels).to(self.mixture.low.weight), persistent=False)

    def kernel(self) -> Tensor:
        """Return transform and convolutions as one kernel (3, C, 2, 2) for a stride of 2."""
        return (self.basis @ self.mixture.weights()).view(MAP_CHANNELS, self.channels, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        return torch.conv2d(lengthened(images), self.kernel(), stride=2)

    def by_bands(self, images: Tensor) -> Tensor:
        """Return the same, step by step as the definition has it."""
        found: Tensor = self.mixture(haar2d(images))
        return found

    def mirror(self, maps: Tensor) -> Tensor:
        """Return *maps* mirrored left to right, as the authors replay them; only channel ``low`` is then that of the mirrored image."""
        return maps.flip(3)


class Bands(nn.Module):
    """All four bands as maps (n, 4 C, ceil(H / 2), ceil(W / 2)): nothing lost and nothing saved."""

    def forward(self, images: Tensor) -> Tensor:
        return haar2d(images)

    def mirror(self, maps: Tensor) -> Tensor:
        """Return the bands of the mirrored images: high from left to right changes its sign. Exact for an even width."""
        ll, lh, hl, hh = maps.flip(3).chunk(4, dim=1)
        return torch.cat([ll, -lh, hl, -hh], dim=1)


def _basis(channels: int) -> Tensor:
    """Return the kernel of each single weight of a `Mixture`, (12 C, 8 C)."""
    low, whole, high = range(channels), range(4 * channels, 8 * channels), range(9 * channels, 12 * channels)
    matrices = torch.eye(12 * channels)[[*low, *whole, *high]].view(8 * channels, MAP_CHANNELS, 4 * channels)
    return torch.stack([folded(matrix).flatten() for matrix in matrices], dim=1)


def half(image_shape: tuple[int, int, int], channels: int) -> tuple[int, int, int]:
    """Return the shape of a map of *channels* channels."""
    return channels, (image_shape[1] + 1) // 2, (image_shape[2] + 1) // 2


def trunk_for_maps(model: nn.Module, image_shape: tuple[int, int, int], generator: Generator, mixture: Mixture | None = None) -> nn.Module:
    """Return *model*, made for images, ready for maps: its first convolution gets three input channels, drawn anew if it had others.

    With *mixture* it takes bands, which the mixture turns into maps first.

    Raises:
        ScenarioError: the network does not begin with a convolution, or is made for one size of image alone.
    """
    name, first = next((name, layer) for name, layer in model.named_modules() if next(layer.parameters(recurse=False), None) is not None)
    if not isinstance(first, nn.Conv2d) or first.groups != 1 or first.in_channels != image_shape[0]:
        raise ScenarioError(f"program.task.model: clfd needs a network that begins with a plain convolution, not {_name(model)}")
    stem: nn.Module = first
    if first.in_channels != MAP_CHANNELS:
        settings: dict[str, Any] = {
            "stride": first.stride, "padding": first.padding, "dilation": first.dilation, "padding_mode": first.padding_mode,
            "bias": first.bias is not None,
        }
        kernel: Any = first.kernel_size
        stem = fresh(lambda: nn.Conv2d(MAP_CHANNELS, first.out_channels, kernel, **settings), generator)
    if mixture is not None:
        stem = nn.Sequential(mixture, stem)
    if stem is not first:
        model.set_submodule(name, stem)
    shape = half(image_shape, MAP_CHANNELS if mixture is None else 4 * image_shape[0])
    shadow: Any = without_memory(model).eval()
    try:
        features = shadow.features(torch.empty((1, *shape), device="meta"))
        functional.linear(features, shadow.classifier.weight)
    except RuntimeError as error:
        size = " x ".join(map(str, shape))
        raise ScenarioError(f"program.task.model: {_name(model)} is made for one size of image and does not take maps of {size}") from error
    return model


def _name(model: nn.Module) -> str:
    return type(model).__name__
