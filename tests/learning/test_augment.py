"""Crops and flips of whole batches against what they mean, image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.learning.augment import random_crop, random_flip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Images in which every pixel differs from every other, and none is zero."""
    return 1 + torch.arange(batch * channels * height * width).view(batch, channels, height, width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.int64])
@pytest.mark.parametrize("even", [False, True])
def test_crop_is_pad_and_slice_of_every_image(dtype: torch.dtype, even: bool) -> None:
    images = numbered(16, 2, 6, 9).to(dtype)
    cropped = random_crop(images, 4, seeded(), even=even)
    offsets = (2 * torch.randint(5, (16, 2), generator=seeded())) if even else torch.randint(9, (16, 2), generator=seeded())
    padded = functional.pad(images, (4, 4, 4, 4))
    for image, (top, left), result in zip(padded, offsets.tolist(), cropped, strict=True):
        assert torch.equal(result, image[:, top : top + 6, left : left + 9])
    assert cropped.dtype == dtype
    assert cropped.shape == images.shape


def test_offsets_are_all_drawn_equally_often() -> None:
    images = numbered(1, 1, 8, 8).expand(9000, 1, 8, 8)
    centres = random_crop(images, 1, seeded())[:, 0, 4, 4] - 1
    block = torch.bincount(centres, minlength=64).view(8, 8)[3:6, 3:6]
    assert int(block.sum()) == 9000
    assert bool(((block - 1000).abs() < 5 * 30).all())  # five standard deviations of a share of 1/9


def test_even_offsets_keep_the_places_in_blocks_of_two() -> None:
    parity = (torch.arange(8).view(-1, 1) % 2 * 2 + torch.arange(8) % 2 + 1).expand(64, 1, 8, 8)
    cropped = random_crop(parity, 4, seeded(), even=True)
    assert bool(((cropped == parity) | (cropped == 0)).all())


def test_fill_goes_to_padding_and_not_to_zeros_of_the_image() -> None:
    images = torch.zeros(32, 3, 5, 5)
    fill = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    offsets = torch.randint(5, (32, 2), generator=seeded()) - 2
    cropped = random_crop(images, 2, seeded(), fill=fill)
    filled = 25 - (5 - offsets[:, 0].abs()) * (5 - offsets[:, 1].abs())
    assert torch.equal((cropped == fill).flatten(2).sum(2), filled.view(-1, 1).expand(-1, 3))
    place_wise = torch.rand(3, 5, 5, generator=seeded(1)) + 1
    cropped = random_crop(images, 2, seeded(), fill=place_wise)
    assert bool(((cropped == 0) | (cropped == place_wise)).all())


def test_draws_know_nothing_of_size_and_content() -> None:
    small, large = numbered(40, 1, 8, 8), torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    ends = []
    for images in (small, large):
        generator = seeded(3)
        random_flip(random_crop(images, 2, generator), generator)
        ends.append(generator.get_state())
    assert torch.equal(*ends)


def test_flip_mirrors_the_images_that_were_drawn() -> None:
    images = numbered(20, 2, 3, 4)
    mirrored = torch.rand(20, generator=seeded(5)) < 0.3
    flipped = random_flip(images, seeded(5), 0.3)
    for image, result, mirror in zip(images, flipped, mirrored.tolist(), strict=True):
        assert torch.equal(result, image.flip(2) if mirror else image)
    assert torch.equal(random_flip(images, seeded(), 0.0), images)
    assert torch.equal(random_flip(images, seeded(), 1.0), images.flip(3))


def test_padding_zero_and_the_global_generator() -> None:
    images = numbered(4, 1, 5, 5)
    before = torch.get_rng_state()
    assert torch.equal(random_crop(images, 0, seeded()), images)
    random_flip(images, seeded())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: random_crop(numbered(1, 1, 4, 4), -1, seeded()), "padding must be at least 0"),
    (lambda: random_crop(numbered(1, 2, 4, 4), 1, seeded(), fill=torch.zeros(3, 1, 1)), r"fill must be \(2, 1, 1\)"),
    (lambda: random_crop(torch.zeros(3, 4, 4), 1, seeded()), "images must be"),
    (lambda: random_flip(numbered(1, 1, 4, 4), seeded(), 1.5), "probability must lie"),
])
def test_nonsense_is_refused(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=words):
        call()
