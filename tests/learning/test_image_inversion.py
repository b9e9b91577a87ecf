"""Images out of a classifier: the distance of statistics and the roughness by hand, shapes, and a classifier that stays in use."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from toolkit.learning.image_inversion import Dreaming, ImageGenerator, dreaming_loss, roughness, statistics_apart


def test_statistics_apart_by_hand() -> None:
    """KL(N(1, 4) || N(0, 1)) = (4 + 1 - 1) / 2 - log 2, and nothing where both are alike."""
    found = statistics_apart(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 2.0]), torch.tensor([0.0, 3.0]), torch.tensor([1.0, 2.0]))
    assert float(found) == pytest.approx((2 - math.log(2)) / 2, rel=1e-6)


def test_a_slope_is_smooth_and_a_point_is_rough() -> None:
    slope = torch.arange(5.0).expand(1, 2, 4, 5)
    assert float(roughness(slope)) == pytest.approx(0.0, abs=1e-9)
    point = torch.zeros(1, 1, 3, 3)
    point[0, 0, 1, 1] = 1.0
    assert float(roughness(point)) == pytest.approx((1 - 4 / 16) ** 2)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (2, 32, 16)])
def test_images_have_the_shape_asked_for_and_unit_deviation(shape: tuple[int, int, int]) -> None:
    images = ImageGenerator(shape, 6, 4)(torch.randn((16, 6), generator=torch.Generator().manual_seed(0)))
    assert images.shape == (16, *shape)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.var((0, 2, 3), correction=0), torch.ones(shape[0]), atol=1e-2, rtol=0)


def test_the_classifier_answers_as_in_use_and_notes_what_comes_by() -> None:
    """A BatchNorm whose running statistics are those of the batch sees no distance; other ones do."""
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 3))
    dreaming = Dreaming(ImageGenerator((1, 8, 8), 4, 4), network).train()
    assert dreaming.generator.training
    assert not network.training
    noise = torch.randn((32, 4), generator=torch.Generator().manual_seed(0))
    kept = network[0].running_mean.clone()
    _, scores, apart = dreaming.dream(noise)
    assert scores.shape == (32, 3)
    assert float(apart.detach()) == pytest.approx(0.0, abs=1e-4)
    assert torch.equal(network[0].running_mean, kept)
    network[0].running_mean += 2.0
    assert float(dreaming.dream(noise)[2].detach()) == pytest.approx(2.0, rel=1e-3)
    assert not network[0]._forward_pre_hooks


def test_the_loss_by_hand() -> None:
    """Two images of two classes with sure scores: no diversity is missing, and the distance counts fifty times."""
    images, scores = torch.zeros(2, 1, 3, 3), torch.tensor([[40.0, 0.0], [0.0, 40.0]])
    content = -math.log(1 / (1 + math.exp(-40 / 1000)))
    assert float(dreaming_loss(images, scores, torch.tensor(0.1))) == pytest.approx(content - math.log(2) + 5, rel=1e-5)
