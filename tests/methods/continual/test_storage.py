"""Maps rounded to 255 levels: as near as a level is wide, for loud and faint channels alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.learning.buffer import Replayed
from toolkit.methods.continual.storage import BufferStorage


class Net:
    """A front end that gives what it is given."""

    @staticmethod
    def encode(maps: Tensor) -> Tensor:
        return maps


def through(dtype: Any, maps: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """*maps* after storage, and what was stored."""
    storage = BufferStorage(dtype)
    net: Any = Net()
    stored, extras = storage.save(maps, net, lambda images: images)
    labels = torch.zeros(len(maps), dtype=torch.int64)
    return storage.load(Replayed(stored, labels, extras, torch.arange(len(maps))), lambda images: images), stored, extras


@pytest.mark.parametrize("loudness", [1e-6, 1e-3, 1.0, 40.0, 1e6])
def test_maps_in_eight_bits_are_off_by_half_a_level_at_most(loudness: float) -> None:
    """A level is 1/127 of the largest value of its own channel; all levels are used, the same on both sides of zero."""
    maps = loudness * torch.randn((5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    maps[:, 1] *= 1e-3
    found, stored, extras = through("int8", maps)
    level = maps.abs().amax(dim=(2, 3), keepdim=True) / 127
    assert ((found - maps).abs() <= 0.5001 * level).all()
    assert stored.dtype == torch.int8
    assert (stored.abs().amax(dim=(2, 3)) == 127).all()
    torch.testing.assert_close(extras["scale"], level[:, :, 0, 0])
    mirrored, opposite, _ = through("int8", -maps)
    assert torch.equal(mirrored, -found)
    assert torch.equal(opposite, -stored)


def test_an_empty_channel_stays_empty() -> None:
    found, _, _ = through("int8", torch.zeros(2, 3, 4, 4))
    assert not found.any()
    assert torch.isfinite(found).all()


def test_other_forms_keep_what_they_say() -> None:
    maps = torch.randn((4, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    assert torch.equal(through("float32", maps)[0], maps)
    half, stored, _ = through("float16", maps)
    assert stored.dtype == torch.float16
    assert ((half - maps).abs() <= 2.0**-11 * maps.abs() + 1e-7).all()
    pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(through("uint8", pixels)[1], pixels)
