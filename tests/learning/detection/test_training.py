"""Detectors learn, find, are drawn and leave: without the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit import export
from toolkit.datasets.detection.annotations import Annotations, Box, ImageEntry
from toolkit.datasets.detection.images import DetectionSet, InMemory
from toolkit.datasets.detection.targets import Targets
from toolkit.errors import DataError
from toolkit.learning import detection
from toolkit.learning.detection.prediction import Exportable, Found, drawn, save_picture
from toolkit.learning.detection.training import flipped, order_of, rate_at


def squares(count: int = 24, side: int = 48, seed: int = 0) -> DetectionSet:
    """Bright squares of two colours on dark noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, 3, side, side), dtype=np.uint8)
    boxes = []
    for number in range(count):
        size, colour = int(rng.integers(14, 24)), int(rng.integers(0, 2))
        x, y = (int(each) for each in rng.integers(0, side - size, 2))
        images[number, colour, y : y + size, x : x + size] = 230
        boxes.append(Box(number + 1, number + 1, colour + 1, (x, y, size, size), size * size))
    entries = tuple(ImageEntry(number + 1, f"{number}.png", side, side) for number in range(count))
    return DetectionSet("squares", InMemory(torch.from_numpy(images)), side, Annotations(entries, ((1, "red"), (2, "green")), tuple(boxes)))


def small() -> torch.nn.Module:
    return detection.compact_gfl(2, widths=(8, 16, 16, 16), channels=16, generator=torch.Generator().manual_seed(1))


def test_squares_are_learnt_found_and_drawn(tmp_path: Path) -> None:
    data, losses = squares(), []
    detector = detection.fit(small(), data, epochs=45, batch=12, rate=6e-3, told=lambda epoch, loss: losses.append(loss))
    assert losses[-1] < losses[0] / 2
    assert not detector.training
    held_out = squares(seed=5)
    found = detection.predict(detector, held_out.images)
    assert detection.evaluate(held_out.annotations, held_out.results(found))["AP50"] > 0.7
    image = held_out.images[0]
    picture = drawn(image, found[0].boxes, found[0].labels, held_out.names, found[0].scores, enlarged=2)
    assert picture.shape == (3, 96, 96)
    assert not torch.equal(picture, image.repeat_interleave(2, 1).repeat_interleave(2, 2))
    save_picture(picture, tmp_path / "found.png")
    assert (tmp_path / "found.png").stat().st_size > 0


def test_the_same_seed_gives_the_same_detector() -> None:
    first, second, other = (
        detection.fit(small(), squares(), epochs=1, batch=8, flip=True, seed=seed).head.sides.weight.detach() for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_other_classes_and_empty_sets_are_told() -> None:
    with pytest.raises(DataError, match="has 2 classes, and the detector knows 3"):
        detection.fit(detection.compact_gfl(3), squares())
    with pytest.raises(DataError, match="has no images"):
        detection.fit(small(), squares().part([], (1, 2), "none"))


@pytest.mark.parametrize("rule", ["adamw", "sgd"])
def test_rates_rise_and_fall_to_the_stated_ones(rule) -> None:
    rates = [rate_at(rule, step, 1200, 0.1) for step in range(1200)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] < 0.01
    if rule == "sgd":
        assert rates[700] == pytest.approx(0.1)
        assert rates[850] == pytest.approx(0.01)
        assert rates[1150] == pytest.approx(0.001)
    else:
        assert rates[-1] < 1e-4


def test_every_image_is_taken_once_an_epoch_and_small_sets_more_than_once() -> None:
    taken = order_of(10, 3, np.random.default_rng)
    first = torch.cat([taken(step) for step in range(3)])
    assert len(first.unique()) == 9
    assert not torch.equal(first, torch.cat([taken(step) for step in range(3, 6)]))
    assert sorted(order_of(2, 5, np.random.default_rng)(0).unique().tolist()) == [0, 1]


def test_boxes_are_mirrored_with_their_images() -> None:
    images = torch.zeros((2, 3, 10, 10))
    images[:, :, 2:5, 1:4] = 1
    targets = Targets(torch.tensor([[[1.0, 2, 4, 5]]] * 2), torch.zeros((2, 1), dtype=torch.int64), torch.ones((2, 1)) > 0)
    seen, moved = flipped(images, targets, torch.tensor([True, False]))
    assert moved.boxes[:, 0].tolist() == [[6, 2, 9, 5], [1, 2, 4, 5]]
    assert float(seen[0, :, 2:5, 6:9].min()) == 1
    assert torch.equal(seen[1], images[1])


def test_what_is_found_has_no_two_boxes_of_one_object() -> None:
    detector = small().eval()
    found = detection.predict(detector, squares(4).images, least_score=0.0)
    assert all(isinstance(each, Found) and len(each.boxes) <= 100 for each in found)
    for each in found:
        assert (each.scores.diff() <= 0).all()
        assert float(each.boxes.min()) >= 0
        assert float(each.boxes.max()) <= 48


@pytest.mark.slow
def test_a_detector_goes_through_torch_export(tmp_path: Path) -> None:
    model = Exportable(small().eval())
    path = export.to_torch_export(model, (3, 48, 48), tmp_path / "detector.pt2")
    images = torch.rand((3, 3, 48, 48), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        answer = torch.export.load(path).module()(images)
        assert answer.shape == (3, 36 + 9, 4 + 2)
        assert torch.allclose(answer, model(images), atol=1e-4)


@pytest.mark.slow
def test_a_detector_goes_through_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    export.to_onnx(Exportable(small().eval()), (3, 48, 48), tmp_path / "detector.onnx")
    assert (tmp_path / "detector.onnx").stat().st_size > 0
