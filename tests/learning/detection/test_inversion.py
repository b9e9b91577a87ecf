"""Generation: what is kept of old classes, what is drawn of it, and a detector that is the same afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.learning.detection.inversion import (
    InversionRecipe,
    drawn_boxes,
    drawn_moves,
    generate,
    moved_boxes,
    total_variation,
    watched_norms,
)
from toolkit.learning.detection.ratios import drawn_sides, ratio_histogram, signed_ratios
from toolkit.models.detection.detector import compact_gfl


def test_signed_ratios_leave_out_what_lies_between() -> None:
    assert signed_ratios(np.array([4.0, 2, 3]), np.array([2.0, 4, 3])).tolist() == [2.0, -2.0, 1.0]


def test_6_a_histogram_is_small_and_draws_what_it_saw() -> None:
    rng = np.random.default_rng(1)
    width, height = rng.uniform(10, 20, 4000), rng.uniform(20, 40, 4000)
    histogram = ratio_histogram(width, height)
    assert histogram.nbytes <= 400
    assert int(histogram.counts.sum()) == 3600  # less 5 % at either end
    sides = drawn_sides(histogram, np.full(4000, 30.0), rng)
    assert (sides.max(axis=1) == 30.0).all()
    assert np.median(signed_ratios(sides[:, 0], sides[:, 1])) == pytest.approx(np.median(signed_ratios(width, height)), rel=0.05)
    assert ratio_histogram(np.zeros(0), np.zeros(0)).counts.sum() == 1


def test_mixed_shapes_are_drawn_outward() -> None:
    histogram = ratio_histogram(np.array([10.0, 20] * 50), np.array([11.0, 18] * 50))
    sides = drawn_sides(histogram, np.full(500, 30.0), np.random.default_rng(2))
    assert (sides <= 30).all()
    assert (sides > 0).all()


def test_boxes_lie_wholly_inside_and_are_as_long_as_asked() -> None:
    recipe = InversionRecipe(side=64)
    histogram = ratio_histogram(np.array([10.0] * 20), np.array([25.0] * 20))
    boxes = drawn_boxes([0] * 300, [histogram], recipe, np.random.default_rng(3))
    assert float(boxes.min()) >= 0
    assert float(boxes.max()) <= 64
    longer = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) / 64
    assert float(longer.min()) >= 0.45 - 1e-5
    assert float(longer.max()) <= 0.7 + 1e-5


def test_boxes_move_with_their_images() -> None:
    """A bright rectangle, moved and mirrored with the image, fills its moved box."""
    recipe = InversionRecipe(side=32, jitter=5, flip=0.5)
    image = torch.zeros((1, 3, 32, 32))
    box = torch.tensor([[10.0, 12, 18, 22]])
    image[:, :, 12:22, 10:18] = 1
    for seed in range(20):
        moves = drawn_moves(1, recipe, np.random.default_rng(seed))
        seen = torch.roll(image, moves.roll, dims=(2, 3))
        seen = seen.flip(3) if moves.flip else seen
        x1, y1, x2, y2 = moved_boxes(box, moves, 32)[0].int().tolist()
        assert float(seen[:, :, y1:y2, x1:x2].min()) == 1
        assert float(seen.sum()) == float(seen[:, :, y1:y2, x1:x2].sum())


def test_a_box_that_would_leave_stays() -> None:
    moves = drawn_moves(1, InversionRecipe(side=32), np.random.default_rng(0))._replace(roll=(0, 6), flip=False)
    box = torch.tensor([[27.0, 0, 32, 9]])
    assert torch.equal(moved_boxes(box, moves, 32), box)


def test_variation_of_a_step_by_hand() -> None:
    image = torch.zeros((1, 1, 2, 2))
    image[..., 1] = 1
    assert float(total_variation(image)) == pytest.approx(1 + 0 + 1 + 1)


def test_statistics_are_those_of_what_enters_each_norm() -> None:
    detector = compact_gfl(2).eval()
    images = torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    with watched_norms(detector) as found:
        detector(images)
    assert len(found) == len(detector.batch_norms())
    maps = detector.backbone.stem[0]((images - detector.mean) / detector.std)
    expected = maps.mean(dim=(0, 2, 3)).norm() + (maps.var(dim=(0, 2, 3), unbiased=False) - 1).norm()
    assert torch.allclose(found[0], expected, rtol=1e-4)
    assert not any(layer._forward_pre_hooks for layer in detector.modules())


def test_7_a_detector_is_the_same_afterwards_and_the_images_are_nearer_to_its_statistics() -> None:
    detector = compact_gfl(2, widths=(8, 8, 16, 16), channels=16, generator=torch.Generator().manual_seed(1)).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    histogram = ratio_histogram(np.array([10.0] * 20), np.array([20.0] * 20))
    recipe = InversionRecipe(per_class=2, side=32, iterations=20, brightness=0.1, erase=0.5, flip=0.5, jitter=2)
    made = generate(detector, [histogram, histogram], recipe, np.random.default_rng(4))
    again = generate(detector, [histogram, histogram], recipe, np.random.default_rng(4))
    assert torch.equal(made.images, again.images)
    assert made.labels.tolist() == [0, 1, 0, 1]
    assert 0 <= float(made.images.min()) <= float(made.images.max()) <= 1
    assert made.history[-1][1] < made.history[0][1]
    assert detector.training
    assert all(weight.requires_grad for weight in detector.parameters())
    assert not any(layer._forward_pre_hooks for layer in detector.modules())
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert len(made.pool()) == 4
