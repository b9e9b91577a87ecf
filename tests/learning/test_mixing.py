"""Cutout, mixup and label smoothing against what they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from toolkit.learning.dropblock import DropBlock, keep_mask, set_drop
from toolkit.learning.mixing import cutout, mixup, smoothed


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_smoothing_spreads_its_mass_over_the_wrong_classes() -> None:
    targets = smoothed(torch.tensor([2, 0]), 5, 0.2)
    torch.testing.assert_close(targets, torch.tensor([[0.05, 0.05, 0.8, 0.05, 0.05], [0.8, 0.05, 0.05, 0.05, 0.05]]))
    scores, labels = torch.randn(6, 5, generator=seeded()), torch.tensor([0, 1, 2, 3, 4, 0])
    torch.testing.assert_close(functional.cross_entropy(scores, smoothed(labels, 5)), functional.cross_entropy(scores, labels))


def test_mixed_targets_have_the_mixed_loss_of_both_labels() -> None:
    images, labels = torch.rand(8, 1, 4, 4, generator=seeded()), torch.arange(8) % 3
    mixed, targets = mixup(images, smoothed(labels, 3), 1.0, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    share, partner = rng.beta(1.0, 1.0), torch.from_numpy(rng.permutation(8))
    torch.testing.assert_close(mixed, share * images + (1 - share) * images[partner])
    scores = torch.randn(8, 3, generator=seeded(1))
    both = share * functional.cross_entropy(scores, labels) + (1 - share) * functional.cross_entropy(scores, labels[partner])
    torch.testing.assert_close(functional.cross_entropy(scores, targets), both.float())


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cutout_is_one_square_that_ends_at_the_border(size: int) -> None:
    images = torch.ones(200, 2, 9, 12)
    cut = cutout(images, size, seeded()) == 0
    assert torch.equal(cut[:, 0], cut[:, 1])
    for mask in cut[:, 0]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert int(mask.sum()) == len(rows) * len(columns)
        assert torch.equal(rows, torch.arange(int(rows[0]), int(rows[-1]) + 1))
        assert len(rows) <= size
        assert len(rows) == size or int(rows[0]) == 0 or int(rows[-1]) == 8
    assert int(cut[:, 0].flatten(1).sum(1).max()) == size**2


def test_dropblock_clears_whole_squares_and_keeps_the_sum() -> None:
    maps = torch.rand(64, 3, 16, 16, generator=seeded(1)) + 0.5
    block = DropBlock(2).train()
    assert block(maps) is maps
    set_drop(block, 0.4, seeded(2))
    dropped = block(maps)
    kept = keep_mask(maps, 2, 0.4, seeded(2))
    seeds = torch.rand(64, 16, 16, generator=seeded(2)) < 0.1
    for image, mask in zip(seeds, kept, strict=True):
        expected = torch.ones(16, 16)
        for row, column in image.nonzero().tolist():
            expected[row : row + 2, column : column + 2] = 0
        assert torch.equal(mask, expected)
    torch.testing.assert_close(dropped, maps * kept.unsqueeze(1) * (kept.numel() / kept.sum()))
    share = 1 - 0.9**4  # but at two borders, where fewer seeds reach
    assert float((1 - kept[:, 1:, 1:]).mean()) == pytest.approx(share, abs=0.02)
    assert torch.equal(block.eval()(maps), maps)


def test_draws_without_a_generator_are_refused() -> None:
    block = DropBlock().train()
    block.probability = 0.1
    with pytest.raises(RuntimeError, match="without a generator"):
        block(torch.ones(1, 1, 4, 4))


def test_nonsense_is_refused() -> None:
    images = torch.ones(2, 1, 4, 4)
    with pytest.raises(ValueError, match="epsilon"):
        smoothed(torch.tensor([0]), 3, 1.0)
    with pytest.raises(ValueError, match="alpha"):
        mixup(images, torch.ones(2, 3), 0.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 1 pixel"):
        cutout(images, 0, seeded())
