"""Geometry of boxes: closed forms, and naive loops beside what works on all at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toolkit.models.detection.geometry import from_distances, giou, iou, pairwise_iou, to_distances
from toolkit.models.detection.nms import nms, suppressed_in_batch
from toolkit.models.detection.roi_align import level_of, roi_align


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(count: int, generator: torch.Generator, span: float = 60.0) -> Tensor:
    corners = torch.rand((count, 2), generator=generator) * span
    return torch.cat([corners, corners + 1 + torch.rand((count, 2), generator=generator) * span / 2], dim=1)


def test_overlaps_by_hand() -> None:
    first, second = torch.tensor([0.0, 0, 4, 4]), torch.tensor([2.0, 2, 6, 6])
    assert float(iou(first, second)) == pytest.approx(4 / 28)
    assert float(giou(first, second)) == pytest.approx(4 / 28 - (36 - 28) / 36)
    assert float(giou(first, torch.tensor([6.0, 0, 8, 4]))) == pytest.approx(0 - (32 - 24) / 32)


def test_1_giou_is_within_its_bounds_and_1_for_identical_boxes() -> None:
    some, others = boxes(500, seeded(1)), boxes(500, seeded(2))
    found = giou(some, others)
    assert float(found.min()) >= -1
    assert float(found.max()) <= 1
    assert torch.allclose(giou(some, some), torch.ones(500))
    assert (found <= iou(some, others) + 1e-6).all()


def test_1_distances_and_back() -> None:
    some = boxes(1000, seeded(3), span=800.0)
    points = torch.rand((1000, 2), generator=seeded(4)) * 800
    assert float((from_distances(points, to_distances(points, some)) - some).abs().max()) < 1e-4


def slow_nms(some: Tensor, scores: Tensor, threshold: float, classes: Tensor) -> list[int]:
    """Box by box."""
    kept: list[int] = []
    for place in sorted(range(len(scores)), key=lambda each: (-float(scores[each]), each)):
        if all(classes[place] != classes[other] or float(iou(some[place], some[other])) <= threshold for other in kept):
            kept.append(place)
    return kept


@pytest.mark.parametrize("seed", range(100))
def test_1_nms_is_that_of_a_loop_over_boxes(seed: int) -> None:
    generator = seeded(seed)
    count = int(torch.randint(0, 25, (), generator=generator))
    some = boxes(count, generator)
    scores = (torch.rand(count, generator=generator) * 10).round() / 10  # with ties
    classes = torch.randint(0, 2, (count,), generator=generator)
    assert nms(some, scores, 0.4, classes).tolist() == slow_nms(some, scores, 0.4, classes)


def test_a_chain_of_suppressions_keeps_every_other_box() -> None:
    some = torch.stack([torch.tensor([3.0 * place, 0, 3.0 * place + 10, 10]) for place in range(40)])  # neighbours overlap by 7 / 13
    assert nms(some, torch.arange(40, 0, -1.0), 0.5).tolist() == list(range(0, 40, 2))


def test_nms_of_a_batch_is_that_of_its_images() -> None:
    some = torch.stack([boxes(20, seeded(seed)) for seed in range(3)])
    scores = torch.rand((3, 20), generator=seeded(9))
    classes = torch.randint(0, 2, (3, 20), generator=seeded(8))
    found = suppressed_in_batch(some, scores, classes, 0.3)
    for place in range(3):
        assert found[place].nonzero().flatten().tolist() == sorted(slow_nms(some[place], scores[place], 0.3, classes[place]))


def slow_roi(maps: Tensor, box: Tensor, stride: float, bins: int, samples: int) -> Tensor:
    """Point by point."""
    channels, height, width = maps.shape
    x1, y1, x2, y2 = (box / stride).tolist()
    found = torch.zeros((channels, bins, bins))
    for row in range(bins):
        for column in range(bins):
            for i in range(samples):
                for j in range(samples):
                    y = y1 + (y2 - y1) * (row * samples + i + 0.5) / (bins * samples) - 0.5
                    x = x1 + (x2 - x1) * (column * samples + j + 0.5) / (bins * samples) - 0.5
                    if not (-1 <= y <= height and -1 <= x <= width):
                        continue
                    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
                    top, left = int(y), int(x)
                    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
                    down, over = y - top, x - left
                    found[:, row, column] += (
                        (1 - down) * (1 - over) * maps[:, top, left] + (1 - down) * over * maps[:, top, right]
                        + down * (1 - over) * maps[:, bottom, left] + down * over * maps[:, bottom, right]
                    )
    return found / samples**2


def test_roi_align_is_that_of_a_loop_over_points() -> None:
    maps = torch.randn((2, 3, 7, 9), generator=seeded(5))
    some = torch.stack([boxes(6, seeded(6), 70.0), boxes(6, seeded(7), 70.0)])
    some[0, 0] = torch.tensor([-20.0, -20, 90, 70])  # beyond the map on all sides
    found = roi_align(maps, some, stride=8.0)
    assert found.shape == (2, 6, 3, 3, 3)
    for image in range(2):
        for place in range(6):
            expected = slow_roi(maps[image], some[image, place], 8.0, 3, 2)
            assert torch.allclose(found[image, place], expected, atol=1e-5)


def test_large_boxes_are_looked_at_on_coarse_levels() -> None:
    sides = torch.tensor([10.0, 56, 111, 113, 500, 5000])
    some = torch.stack([torch.zeros(6), torch.zeros(6), sides, sides], dim=1)
    assert level_of(some, 4, 56.0).tolist() == [0, 0, 0, 1, 3, 3]


def test_pairwise_overlaps_are_symmetric() -> None:
    some = boxes(30, seeded(11))
    found = pairwise_iou(some, some)
    assert torch.equal(found, found.T)
    assert torch.allclose(found.diagonal(), torch.ones(30))
