"""How samples lie in the replay memory: pixels or maps, and with how many bits.

| dtype | what is stored | loses |
|---|---|---|
| ``uint8`` | the camera's pixels; only without a front end | nothing |
| ``float32`` | normalised images, or maps | nothing |
| ``float16`` | the same, rounded to 11 bits | below 0.1 % |
| ``int8`` | maps rounded to 255 levels, one scale (float32) per sample and channel | up to 0.4 % of the largest value |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from toolkit.core.work import FLOAT_BYTES
from toolkit.learning.buffer import Replayed
from toolkit.methods.continual.network import ContinualNet

Clean = Callable[[Tensor], Tensor]
"""Normalises uint8 images (`Learner.clean`)."""
Dtype = Literal["uint8", "float32", "float16", "int8"]
ITEM_BYTES = {"uint8": 1, "float32": FLOAT_BYTES, "float16": 2, "int8": 1}
LABEL_BYTES = 8
LEVELS = 127


@dataclass(frozen=True)
class BufferStorage:
    """The form of stored samples."""

    dtype: Dtype

    def save(self, images: Tensor, net: ContinualNet, clean: Clean) -> tuple[Tensor, dict[str, Tensor]]:
        """Return uint8 *images* in the form in which they are stored, and what else has to be stored to get them back."""
        if self.dtype == "uint8":
            return images, {}
        with torch.no_grad():
            maps = net.encode(clean(images))
        if self.dtype == "int8":
            scale = maps.abs().amax(dim=(2, 3)).clamp_min(1e-12) / LEVELS
            return (maps / scale[:, :, None, None]).round_().to(torch.int8), {"scale": scale}
        return maps.to(torch.float16 if self.dtype == "float16" else torch.float32), {}

    def load(self, samples: Replayed, clean: Clean) -> Tensor:
        """Return the maps of stored *samples* as float32."""
        if self.dtype == "uint8":
            return clean(samples.images)
        if self.dtype == "int8":
            return samples.images.float() * samples.extras["scale"][:, :, None, None]
        return samples.images.float()

    def cropping(self, net: ContinualNet, padding: int, clean: Clean, device: torch.device) -> tuple[int, Tensor | None]:
        """Return the padding of a random crop of maps, where that of images is *padding*, and the map of black, (channels, 1, 1)."""
        if not padding:
            return 0, None
        black = torch.zeros((1, net.image_shape[0], 2, 2), dtype=torch.uint8, device=device)
        shrinks = -(-net.image_shape[1] // net.map_shape[1])  # an odd size is rounded up by the front end
        return padding // shrinks, net.plain_encode(clean(black))[0, :, :1, :1].detach()


def sample_nbytes(net: ContinualNet, dtype: Dtype, *, scores: bool) -> int:
    """Return what one stored sample takes: its map, its label (8 bytes), and the scores of all classes where they are kept."""
    channels, height, width = net.map_shape
    scales = FLOAT_BYTES * channels if dtype == "int8" else 0
    return channels * height * width * ITEM_BYTES[dtype] + scales + LABEL_BYTES + (FLOAT_BYTES * net.num_classes if scores else 0)
