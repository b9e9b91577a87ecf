"""Networks that others wrote: a transformer, channels last, windows, and a dense head."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.learning.pruning.networks import lived_in, seeded
from tests.learning.pruning.test_cover import apart, tensors
from toolkit.learning.pruning.gates import masked_scores
from toolkit.learning.pruning.groups import find_groups
from toolkit.learning.pruning.rebuild import rebuild

models: Any = pytest.importorskip("torchvision.models")
pytestmark = pytest.mark.slow


def transformer() -> Any:
    return models.VisionTransformer(image_size=32, patch_size=8, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10)


def windows() -> Any:
    return models.SwinTransformer([4, 4], 32, [2, 2], [2, 4], [4, 4], num_classes=10)


CASES = {
    "transformer": (transformer, 32, 0.29), "windows": (windows, 64, 0.71),
    "next": (lambda: models.convnext_tiny(num_classes=10), 64, 0.26),
    "dense head": (lambda: models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5), 64, 0.30),
}


@pytest.mark.parametrize("name", CASES)
def test_half_of_all_units_can_go(name: str) -> None:
    """What is left answers as the whole does under gates; how much that is, is told in docs/pruning.md."""
    make, side, left = CASES[name]
    torch.manual_seed(0)
    model = lived_in(make()).double()
    shape = (3, side, side)
    groups = find_groups(model, shape)
    mask = groups.dense()
    for group in groups.groups:
        mask[group.start + (group.size + 1) // 2 : group.start + group.size] = False
    small = rebuild(model, groups, mask)
    images = torch.randn((2, *shape), generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        answer, masked = small(images), masked_scores(model, groups, mask, images)
    assert apart(answer, masked) < 1e-9 * (1 + max(float(part.abs().max()) for part in tensors(masked)))
    size = [sum(weight.numel() for weight in network.parameters()) for network in (small, model)]
    assert size[0] <= left * size[1]
    again = find_groups(small, shape)
    assert again.sizes == groups.kept(mask)
