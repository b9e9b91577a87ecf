"""Objects laid into images: the rules of overlap, borders and pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.pasting import COVERED, COVERS, MOST, Pool, paste, pasted_batch, shares_of_first


def crop(height: int, width: int, value: int = 200) -> torch.Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


def test_4_no_pair_of_a_thousand_scenes_violates_the_rules() -> None:
    rng = np.random.default_rng(1)
    laid = 0
    for _ in range(1000):
        side = int(rng.integers(60, 120))
        corners = rng.uniform(0, side * 0.6, (rng.integers(0, 4), 2))
        boxes = np.concatenate([corners, np.minimum(corners + rng.uniform(5, side * 0.4, corners.shape), side)], axis=1)
        crops = [crop(*rng.integers(8, 50, 2)) for _ in range(4)]
        found = paste(torch.zeros((3, side, side)), boxes, crops, list(range(4)), float(rng.beta(2, 2)), rng)
        there = boxes
        for box in found.boxes:
            assert (box[:2] >= 0).all()
            assert (box[2:] <= side).all()
            assert (box[2:] > box[:2]).all()
            if len(there):
                assert shares_of_first(there, box[None]).max() <= COVERS
                assert shares_of_first(box[None], there).max() <= COVERED
            there = np.concatenate([there, box[None]])
        laid += len(found.boxes)
    assert laid > 1000


def test_4_without_mixing_the_crop_is_reproduced_and_with_it_blended() -> None:
    rng = np.random.default_rng(2)
    content = torch.from_numpy(rng.integers(0, 256, (3, 10, 12), dtype=np.uint8))
    image = torch.rand((3, 60, 60), generator=torch.Generator().manual_seed(1))
    for mix in (0.0, 0.3):
        found = paste(image, np.zeros((0, 4)), [content], [4], mix, np.random.default_rng(3))
        (x1, y1, x2, y2), = found.boxes.astype(int)
        assert found.labels == [4]
        whole = torch.zeros((3, 60, 60), dtype=torch.bool)
        whole[:, y1:y2, x1:x2] = True
        assert torch.equal(found.image[~whole], image[~whole])
        expected = content.float() / 255 if mix == 0 else mix * image[:, y1:y2, x1:x2] + (1 - mix) * content.float() / 255
        assert (x2 - x1, y2 - y1) == (12, 10)
        assert torch.equal(found.image[:, y1:y2, x1:x2], expected) if mix == 0 else torch.allclose(found.image[:, y1:y2, x1:x2], expected)


def test_an_image_full_of_one_object_gets_none() -> None:
    boxes = np.array([[2.0, 2, 58, 58]])
    found = paste(torch.zeros((3, 60, 60)), boxes, [crop(5, 5)], [0], 0.5, np.random.default_rng(0))
    assert not len(found.boxes)


def test_the_pool_is_dealt_evenly_and_a_batch_is_a_function_of_its_draws() -> None:
    pool = Pool(tuple(crop(6, 6, value) for value in range(10)), torch.arange(10))
    images = torch.zeros((5, 3, 80, 80))
    nothing = Targets(torch.zeros(5, 1, 4), torch.zeros(5, 1, dtype=torch.int64), torch.zeros(5, 1, dtype=torch.bool))
    made, laid = pasted_batch(images, nothing, pool, np.random.default_rng(4))
    again, _ = pasted_batch(images, nothing, pool, np.random.default_rng(4))
    assert torch.equal(made, again)
    assert not images.any()
    counts = laid.labels[laid.valid].bincount(minlength=10)
    assert int(laid.valid.sum()) > 5 * MOST * 0.7
    assert int(counts.max()) <= 3


def test_crops_are_what_is_in_the_boxes_and_noise_has_their_sizes() -> None:
    images = torch.arange(2 * 3 * 20 * 20).reshape(2, 3, 20, 20).to(torch.uint8)
    boxes = torch.tensor([[2.0, 3, 9, 12], [0.4, 0.0, 20, 19.6]])
    pool = Pool.cut(images, boxes, torch.tensor([1, 0]))
    assert torch.equal(pool.crops[0], images[0, :, 3:12, 2:9])
    assert pool.crops[1].shape == (3, 20, 20)
    assert pool.nbytes == 3 * (9 * 7 + 400)
    noise = Pool.noise(pool, np.random.default_rng(0))
    assert [each.shape for each in noise.crops] == [each.shape for each in pool.crops]
    assert float(noise.crops[1].float().mean()) == pytest.approx(127.5, abs=10)
