"""The digits at the size of MNIST's."""

from __future__ import annotations

import torch

from toolkit.datasets import digits, digits28


def test_they_are_the_digits_enlarged_within_a_black_border() -> None:
    small, large = digits.load(), digits28.load()
    assert large.train_images.shape == (1442, 1, 28, 28)
    assert large.train_images.dtype == torch.uint8
    assert torch.equal(large.train_labels, small.train_labels)
    assert torch.equal(large.test_labels, small.test_labels)
    images = large.train_images
    for border in (images[..., :2], images[..., -2:], images[..., :2, :], images[..., -2:, :]):
        assert not border.any()
    # the middle pixel of each block of three is the pixel itself
    middles = large.train_images[..., 3:27:3, 3:27:3]
    assert int((middles.int() - small.train_images.int()).abs().max()) <= 1
    assert digits28.load() is large
