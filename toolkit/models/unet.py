"""UNets of diffusion: noisy images and a time index in, an image of the same shape out.

Source: Ho, Jain, Abbeel 2020 (arXiv 2006.11239), in the sizes that progressive distillation and RDD use. Every block is GroupNorm, Swish
and a 3x3 convolution, twice, with the embedded time added between; attention has one head of full width. The last convolution of a block,
of an attention and of the network starts near zero (Xavier, gain 1e-5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.models import ModelError

GROUPS = 32
NEAR_ZERO = 1e-5
ROWS = 1025
"""Time indices 0 to 1024."""


class TimeTable(nn.Module):
    """Sinusoids of a time index, sine and cosine side by side; fixed, kept as a buffer (rows, width)."""

    table: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.rows, self.width = rows, width
        self.register_buffer("table", torch.empty(rows, width))

    def fill(self) -> None:
        """Write the values, in float32."""
        rates = torch.exp(-torch.arange(0, self.width, 2) / self.width * math.log(10_000))
        angles = torch.arange(self.rows, dtype=torch.float32)[:, None] * rates
        self.table.copy_(torch.stack((angles.sin(), angles.cos()), -1).view(self.rows, self.width))

    def forward(self, t: Tensor) -> Tensor:
        return functional.embedding(t, self.table)


class Attention(nn.Module):
    """Self-attention of all places, one head of full width, added to its input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.query, self.key, self.value, self.last = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, maps: Tensor) -> Tensor:
        batch, channels, height, width = maps.shape
        normed = self.norm(maps)
        query = self.query(normed).flatten(2).transpose(1, 2)
        scores = torch.bmm(query, self.key(normed).flatten(2)) * channels**-0.5
        mixed = torch.bmm(scores.softmax(-1), self.value(normed).flatten(2).transpose(1, 2))
        found: Tensor = maps + self.last(mixed.transpose(1, 2).reshape(batch, channels, height, width))
        return found


class Block(nn.Module):
    """Two convolutions with the time between them, a shortcut, and attention where asked for."""

    def __init__(self, inputs: int, outputs: int, *, time: int, groups: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs)
        self.norm2, self.dropout = nn.GroupNorm(groups, outputs), nn.Dropout(dropout)
        self.last = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs, groups) if attention else nn.Identity()

    def forward(self, maps: Tensor, swished_time: Tensor) -> Tensor:
        hidden = self.conv1(functional.silu(self.norm1(maps))) + self.time(swished_time)[:, :, None, None]
        hidden = self.last(self.dropout(functional.silu(self.norm2(hidden))))
        found: Tensor = self.attention(hidden + self.shortcut(maps))
        return found


class UNet(nn.Module):
    """Predicts an image of the shape of its input (batch, channels, side, side) at time indices (batch,)."""

    def __init__(
        self, *, in_channels: int, width: int, multipliers: Sequence[int], blocks: int, attention: Sequence[int], classes: int,
        dropout: float, rows: int, groups: int,
    ) -> None:
        super().__init__()
        if min(in_channels, width, blocks, rows, groups) < 1 or not multipliers or width % groups or width % 2:
            raise ModelError(f"unet: width {width} must be even and a multiple of groups ({groups}), and all sizes at least 1")
        if attention and max(attention) >= len(multipliers):
            raise ModelError(f"unet: attention at level {max(attention)}, and there are levels 0 to {len(multipliers) - 1}")
        self.in_channels, self.classes, self.factor = in_channels, classes, 2 ** (len(multipliers) - 1)
        time = 4 * width
        self.table, self.time1, self.time2 = TimeTable(rows, width), nn.Linear(width, time), nn.Linear(time, time)
        self.label = nn.Linear(classes, time) if classes else None
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)

        def block(inputs: int, outputs: int, attends: bool) -> Block:
            return Block(inputs, outputs, time=time, groups=groups, dropout=dropout, attention=attends)

        self.down, now, kept = nn.ModuleList(), width, [width]
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(block(now, width * multiplier, level in attention))
                now = width * multiplier
                kept.append(now)
            if level < len(multipliers) - 1:
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                kept.append(now)
        self.middle = nn.ModuleList([block(now, now, True), block(now, now, False)])
        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.up.append(block(now + kept.pop(), width * multiplier, level in attention))
                now = width * multiplier
            if level:
                self.up.append(nn.Conv2d(now, now, 3, padding=1))
        self.half_type: torch.dtype | None = None
        """What convolutions and products compute in; weights and the answer stay what they are."""
        self.norm, self.last = nn.GroupNorm(groups, now), nn.Conv2d(now, in_channels, 3, padding=1)

    def forward(self, images: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the prediction of *images* (n, channels, side, side) at indices *t* (n,); computed in `half_type`, where that is set.

        Raises:
            ModelError: images of other channels, of sides that cannot be halved as often as there are levels, or labels missing.
        """
        self._check(images, labels)
        if self.half_type is None:
            return self._predicted(images, t, labels)
        with torch.autocast(images.device.type, self.half_type):
            return self._predicted(images, t, labels).to(images.dtype)

    def _predicted(self, images: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        time = self.time2(functional.silu(self.time1(self.table(t.to(images.device)).to(images.dtype))))
        if self.label is not None and labels is not None:
            time = time + self.label(functional.one_hot(labels, self.classes).to(images.dtype))
        time = functional.silu(time)
        maps = self.head(images)
        kept = [maps]
        for layer in self.down:
            maps = layer(maps, time) if isinstance(layer, Block) else layer(maps)
            kept.append(maps)
        for layer in self.middle:
            maps = layer(maps, time)
        for layer in self.up:
            if isinstance(layer, Block):
                maps = layer(torch.cat((maps, kept.pop()), 1), time)
            else:
                maps = layer(functional.interpolate(maps, scale_factor=2, mode="nearest"))
        found: Tensor = self.last(functional.silu(self.norm(maps)))
        return found

    def _check(self, images: Tensor, labels: Tensor | None) -> None:
        _, channels, height, width = images.shape
        if channels != self.in_channels:
            raise ModelError(f"unet: images have {channels} channels, and it was built for {self.in_channels}")
        if height % self.factor or width % self.factor:
            raise ModelError(f"unet: images of {height}x{width} cannot be halved to its depth; sides must be multiples of {self.factor}")
        if (labels is None) != (self.label is None):
            why = "it was built with classes and needs labels" if labels is None else "it was built without classes and takes no labels"
            raise ModelError(f"unet: {why}")


def unet(
    in_channels: int = 1, width: int = 16, multipliers: Sequence[int] = (1, 2), blocks: int = 1, attention: Sequence[int] = (),
    classes: int = 0, dropout: float = 0.0, rows: int = ROWS, groups: int = 8, generator: torch.Generator | None = None,
) -> UNet:
    """Return a UNet whose first weights are drawn from *generator*; with the defaults one for 8x8 images.

    Args:
        multipliers: channels of each level in *width*; sides are halved between levels.
        blocks: per level on the way down, one more on the way up.
        attention: levels that have it; the middle always has.
        classes: 0 for one without labels.
        rows: time indices that it knows.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    with torch.device("meta"):
        model = UNet(
            in_channels=in_channels, width=width, multipliers=multipliers, blocks=blocks, attention=attention, classes=classes,
            dropout=dropout, rows=rows, groups=groups,
        )
    model = model.to_empty(device=generator.device)
    _draw(model, generator)
    return model


@torch.no_grad()
def _draw(model: UNet, generator: torch.Generator) -> None:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            gain = NEAR_ZERO if name.rpartition(".")[2] == "last" else 1.0
            nn.init.xavier_uniform_(layer.weight, gain, generator=generator)
            assert layer.bias is not None
            layer.bias.zero_()
        elif isinstance(layer, nn.GroupNorm):
            layer.reset_parameters()
        elif isinstance(layer, TimeTable):
            layer.fill()


def unet_cifar10(dropout: float = 0.0, generator: torch.Generator | None = None) -> UNet:
    """Return the network for 32x32 in colour: 35,746,307 trained weights. *dropout* is 0.1 for a base network, 0 for a distilled one."""
    return unet(3, 128, (1, 2, 2, 2), 2, (1,), dropout=dropout, groups=GROUPS, generator=generator)


def unet_imagenet64(dropout: float = 0.0, generator: torch.Generator | None = None) -> UNet:
    """Return the network for 64x64 in colour and 1,000 classes: 116,451,203 trained weights."""
    return unet(3, 128, (1, 2, 3, 4), 3, (2, 3), 1000, dropout=dropout, groups=GROUPS, generator=generator)


def unet_digits(size: int = 8, width: int = 16, generator: torch.Generator | None = None) -> UNet:
    """Return a small network for one channel of 8x8, 16x16 or 28x28, of two levels for 8x8 and three for more.

    Raises:
        ModelError: *size* cannot be halved that often.
    """
    multipliers = (1, 2) if size <= 8 else (1, 2, 2)
    factor = 2 ** (len(multipliers) - 1)
    if size % factor:
        raise ModelError(f"unet: images of {size}x{size} cannot be halved to its depth; sides must be multiples of {factor}")
    return unet(1, width, multipliers, generator=generator)
