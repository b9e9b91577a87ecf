"""Detectors: sizes, what widening leaves as it is, and what is frozen."""

from __future__ import annotations

import pytest
import torch

from toolkit.learning.work import count
from toolkit.models import ModelError
from toolkit.models.detection.detector import BUILDERS, compact_gfl, gfl_resnet50


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SMALL = {"compact": {}, "hcgnet": {}, "resnet50": {"blocks": (1, 1, 1, 1), "width": 8, "channels": 32}}


def test_9_multiply_adds_of_the_small_detector() -> None:
    detector = compact_gfl(10)
    assert sum(weight.numel() for weight in detector.parameters()) == 319_520
    assert count(detector, (1, 3, 96, 96), training=False).matrix_flops / 2 == pytest.approx(37.3e6, rel=0.02)


def test_the_detector_of_the_papers_has_the_weights_of_its_layers() -> None:
    detector = gfl_resnet50(80)
    resnet = 23_508_032  # ResNet-50 without its classifier
    pyramid = (512 + 1024 + 2048) * 256 + 3 * 256 + 5 * (9 * 256 * 256 + 256)
    head = 8 * (9 * 256 * 256 + 2 * 256) + 9 * 256 * (80 + 68) + 80 + 68 + 5
    assert sum(weight.numel() for weight in detector.parameters()) == resnet + pyramid + head
    assert detector.strides == (8, 16, 32, 64, 128)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_detector_answers_at_every_cell_and_learns_everywhere(name: str) -> None:
    detector = BUILDERS[name](classes=3, generator=seeded(1), **SMALL[name])
    images = torch.rand((2, 3, 64, 96), generator=seeded(2))
    answer = detector(images)
    cells = detector.cells(answer)
    assert answer.logits.shape == (2, sum(cells.counts), 3)
    assert answer.bins.shape == (2, sum(cells.counts), 4, detector.reg_max + 1)
    boxes = detector.boxes(answer, cells)
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    assert (cells.points > 0).all()
    (answer.logits.square().sum() + boxes.square().sum()).backward()
    for weight_name, weight in detector.named_parameters():
        assert weight.grad is not None, weight_name
        assert weight.grad.isfinite().all(), weight_name


@pytest.mark.parametrize("name", BUILDERS)
def test_weights_are_those_of_the_generator(name: str) -> None:
    first, second, other = (BUILDERS[name](classes=3, generator=seeded(seed), **SMALL[name]).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert not torch.equal(first["head.sides.weight"], other["head.sides.weight"])


@pytest.mark.parametrize("more", [1, 2, 5, 6])
def test_2_widening_leaves_old_answers_bit_for_bit(more: int) -> None:
    detector = compact_gfl(5, generator=seeded(1)).eval()
    images = torch.rand((3, 3, 96, 96), generator=seeded(2))
    with torch.no_grad():
        before = detector(images)
        detector.add_classes(more, seeded(3))
        detector.add_classes(1, seeded(4))
        after = detector(images)
    assert detector.classes == 5 + more + 1
    assert after.logits.shape[2] == 5 + more + 1
    assert torch.equal(after.logits[..., :5], before.logits)
    assert torch.equal(after.bins, before.bins)
    with pytest.raises(ModelError, match="0 classes"):
        detector.add_classes(0, seeded())


def test_frozen_norms_stay_as_they_are_while_all_else_trains() -> None:
    detector = compact_gfl(2, generator=seeded(1))
    images = torch.rand((4, 3, 64, 64), generator=seeded(2))
    detector.train()(images)
    detector.freeze_norms()
    kept = [layer.running_mean.clone() for layer in detector.batch_norms()]
    detector.train()
    assert detector.training
    detector(images).logits.sum().backward()
    assert all(torch.equal(layer.running_mean, mean) for layer, mean in zip(detector.batch_norms(), kept, strict=True))
    assert all(layer.weight.grad is None for layer in detector.batch_norms())
    assert detector.head.sides.weight.grad is None  # only classes were asked for
    assert detector.backbone.stem[0].weight.grad is not None


def test_what_cannot_be_built_is_one_sentence() -> None:
    with pytest.raises(ModelError, match="50 channels do not divide into 8 groups"):
        compact_gfl(3, channels=50)
