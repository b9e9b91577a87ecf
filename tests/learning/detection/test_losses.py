"""The losses of a detector: against loops and closed forms, whatever is in the images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.atss import NEAREST, assign
from toolkit.learning.detection.losses import adaptive_scale, detection_loss, distribution_focal_loss, quality_focal_loss
from toolkit.models.detection.detector import Cells, compact_gfl
from toolkit.models.detection.geometry import iou


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def targets(images: int, objects: int, generator: torch.Generator, classes: int = 3, side: float = 64.0) -> Targets:
    corners = torch.rand((images, objects, 2), generator=generator) * side / 2
    sizes = 8 + torch.rand((images, objects, 2), generator=generator) * side / 2
    return Targets(
        torch.cat([corners, corners + sizes], dim=-1), torch.randint(0, classes, (images, objects), generator=generator),
        torch.rand((images, objects), generator=generator) < 0.8,
    )


def slow_assignment(cells: Cells, boxes: Tensor, valid: Tensor, anchor: float) -> list[int]:
    """Object by object, as the algorithm is written; -1 where a cell has none."""
    half = (cells.strides * anchor / 2).unsqueeze(1)
    anchors = torch.cat([cells.points - half, cells.points + half], dim=1)
    best, owner = [-1.0] * len(anchors), [-1] * len(anchors)
    for number, box in enumerate(boxes):
        if not valid[number]:
            continue
        candidates, begin = [], 0
        for count in cells.counts:
            middle = (box[:2] + box[2:]) / 2
            away = (cells.points[begin : begin + count] - middle).square().sum(dim=1)
            candidates += (begin + away.topk(min(NEAREST, count), largest=False).indices).tolist()
            begin += count
        overlaps = torch.stack([iou(anchors[place], box) for place in candidates])
        limit = overlaps.mean() + overlaps.std()
        for place, overlap in zip(candidates, overlaps, strict=True):
            x, y = cells.points[place]
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if overlap >= limit and inside and overlap > best[place]:
                best[place], owner[place] = float(overlap), number
    return owner


def test_assignment_is_that_of_a_loop_over_objects() -> None:
    detector = compact_gfl(3)
    cells = detector.cells(detector(torch.zeros(1, 3, 64, 64)))
    wanted = targets(8, 5, seeded(1))
    found = assign(cells, wanted, detector.anchor)
    assert found.positive.any()
    for image in range(8):
        owner = torch.tensor(slow_assignment(cells, wanted.boxes[image], wanted.valid[image], detector.anchor))
        assert torch.equal(found.positive[image], owner >= 0)
        inside = owner >= 0
        assert torch.equal(found.boxes[image][inside], wanted.boxes[image][owner[inside]])
        assert torch.equal(found.labels[image][inside], wanted.labels[image][owner[inside]])


def test_padding_changes_nothing() -> None:
    detector = compact_gfl(3, generator=seeded(2))
    answer = detector(torch.rand((2, 3, 64, 64), generator=seeded(3)))
    wanted = targets(2, 3, seeded(4))
    padded = Targets(
        torch.cat([wanted.boxes, torch.zeros(2, 4, 4)], dim=1), torch.cat([wanted.labels, torch.zeros(2, 4, dtype=torch.int64)], dim=1),
        torch.cat([wanted.valid, torch.zeros(2, 4, dtype=torch.bool)], dim=1),
    )
    for one, other in zip(detection_loss(detector, answer, wanted), detection_loss(detector, answer, padded), strict=True):
        assert torch.equal(one, other)


def test_quality_focal_loss_by_hand() -> None:
    logits = torch.tensor([0.0, 2.0])
    quality = torch.tensor([0.3, 0.0])
    score = logits.sigmoid()
    expected = -(0.2**2) * torch.log(torch.tensor(0.5)), -(score[1] ** 2) * torch.log(1 - score[1])
    assert torch.allclose(quality_focal_loss(logits, quality), torch.stack(expected))
    assert float(quality_focal_loss(torch.tensor([40.0]), torch.tensor([1.0]))) == 0


def test_distribution_focal_loss_is_least_at_the_two_neighbours() -> None:
    bins = torch.zeros(9)
    assert float(distribution_focal_loss(bins, torch.tensor(3.25))) == pytest.approx(float(torch.log(torch.tensor(9.0))))
    shares = torch.full((9,), -30.0)
    shares[3], shares[4] = torch.log(torch.tensor(0.75)), torch.log(torch.tensor(0.25))
    entropy = -(0.75 * torch.log(torch.tensor(0.75)) + 0.25 * torch.log(torch.tensor(0.25)))
    assert float(distribution_focal_loss(shares, torch.tensor(3.25))) == pytest.approx(float(entropy), abs=1e-5)


def test_images_without_objects_push_scores_down_and_nothing_else() -> None:
    detector = compact_gfl(2, generator=seeded(5))
    answer = detector(torch.rand((2, 3, 64, 64), generator=seeded(6)))
    nothing = Targets(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.bool))
    found = detection_loss(detector, answer, nothing)
    assert float(found.quality.detach()) > 0
    assert float(found.boxes.detach()) == 0
    assert float(found.sides.detach()) == 0
    assert float(found.scale) == 1
    found.total.backward()
    assert not detector.head.sides.weight.grad.any()


def test_columns_before_the_first_class_take_no_part() -> None:
    detector = compact_gfl(5, generator=seeded(7))
    answer = detector(torch.rand((2, 3, 64, 64), generator=seeded(8)))
    wanted = targets(2, 3, seeded(9), classes=2)
    wanted = wanted._replace(labels=wanted.labels + 3)
    answer.logits.retain_grad()
    detection_loss(detector, answer, wanted, first_class=3).total.backward()
    assert not answer.logits.grad[..., :3].any()
    assert answer.logits.grad[..., 3:].any()


def test_2_the_scale_is_between_0_and_1() -> None:
    generator = seeded(10)
    for _ in range(200):
        overlap, score = torch.rand((3, 20), generator=generator), torch.rand((3, 20), generator=generator)
        positive = (torch.rand((3, 20), generator=generator) < torch.rand((), generator=generator)).float()
        assert 0 <= float(adaptive_scale(overlap, score, positive, (14, 6))) <= 1
    overlap, score, positive = torch.tensor([[0.9, 0.5, 0.8]]), torch.tensor([[0.4, 0.5, 0.0]]), torch.tensor([[1.0, 1.0, 1.0]])
    assert float(adaptive_scale(overlap, score, positive, (2, 1))) == pytest.approx(((0.5 + 0.0) / 2 + 0.8) / 2)
    assert float(adaptive_scale(overlap, score, positive * torch.tensor([[1.0, 1.0, 0.0]]), (2, 1))) == pytest.approx(0.25)
