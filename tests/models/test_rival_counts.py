"""Parameters and multiply-adds of HCGNet's rivals, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from toolkit.learning.complexity import multiply_adds, parameters
from toolkit.models import ModelError
from toolkit.models.attention import SelectiveKernel, SqueezeExcitation
from toolkit.models.condensenet import LearnedGroupConv, condensenet
from toolkit.models.densenet import densenet201, densenet_bc
from toolkit.models.preact_resnet import preact_resnet, preact_resnet18
from toolkit.models.wide_resnet import wide_resnet

IMAGE = (3, 32, 32)


@pytest.mark.parametrize(("build", "count", "millions"), [
    (lambda: wide_resnet(depth=16, widen=2), 691_674, 101.1), (lambda: wide_resnet(depth=40, widen=2), 2_243_546, 327.6),
    (lambda: wide_resnet(depth=28, widen=10), 36_479_194, 5243.0),
    (lambda: densenet_bc(depth=100, growth=12), 769_162, 287.9), (lambda: densenet_bc(depth=250, growth=24), 15_324_406, 5419.0),
    (lambda: densenet_bc(depth=190, growth=40), 25_624_430, 9302.0),
    (densenet201, 18_104_458, 1363.888896),
])
def test_counts_of_section_2(build: Callable[[], nn.Module], count: int, millions: float) -> None:
    """The table of section 2 (HCGNet), with heads of ten classes."""
    with torch.device("meta"):
        model = build()
    assert parameters(model) == count
    assert multiply_adds(model, IMAGE) / 1e6 == pytest.approx(millions, rel=5e-4)


def test_preact_resnet18_by_hand() -> None:
    expected = 27 * 64 + 2 * 512 + 5_130
    for inputs, outputs, count in ((64, 64, 2), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        expected += 9 * inputs * outputs + 9 * outputs**2 * (2 * count - 1) + (inputs * outputs if inputs != outputs else 0)
        expected += 2 * inputs + 2 * outputs * (2 * count - 1)
    assert parameters(preact_resnet18()) == expected == 11_172_170


def test_attention_adds_what_its_layers_have() -> None:
    plain = parameters(preact_resnet())
    added = sum(2 * channels * max(channels // 16, 1) + channels + max(channels // 16, 1) for channels in (16, 32, 64))
    assert parameters(preact_resnet(attention="se")) == plain + added
    kernels = sum(parameters(SelectiveKernel(channels, channels)) - 9 * channels**2 for channels in (16, 32, 64))
    assert parameters(preact_resnet(attention="sk")) == plain + kernels
    channels, hidden, groups = 64, 4, 32
    by_hand = 2 * (9 * channels**2 // groups + 2 * channels) + channels * hidden + 2 * hidden + hidden * 2 * channels + 2 * channels
    assert parameters(SelectiveKernel(channels, channels)) == by_hand


def test_a_closed_attention_gate_keeps_half_of_everything() -> None:
    unit = SqueezeExcitation(8, 2)
    for weight in unit.parameters():
        nn.init.zeros_(weight)
    maps = torch.rand(2, 8, 3, 5)
    torch.testing.assert_close(unit(maps), maps / 2)


def test_the_last_map_of_densenet_201() -> None:
    """1920 x 4 x 4 of a 32x32 image, after its ReLU; the features are its mean."""
    with torch.no_grad():
        assert densenet201().eval().maps(torch.zeros(1, *IMAGE)).shape == (1, 1920, 4, 4)
    small = densenet_bc(growth=4, blocks=(1, 1), in_channels=1, generator=torch.Generator().manual_seed(1)).eval()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    found = small.maps(images)
    assert float(found.detach().min()) == 0.0
    torch.testing.assert_close(found.mean((2, 3)), small.features(images))


def test_condensenet_86_after_condensing() -> None:
    """0.52 million parameters are what the network is known for."""
    model = condensenet()
    before = parameters(model)
    learned = sum(layer.weight.numel() for layer in model.learned())
    model.advance(1.0)
    model.condense()
    assert parameters(model) == before - learned * 3 // 4 == 520_202
    assert multiply_adds(model, IMAGE) == 62_381_888


def test_condensed_convolutions_do_what_the_masked_ones_did() -> None:
    model = condensenet(growth=(4, 8), blocks=(2, 2), in_channels=1, generator=torch.Generator().manual_seed(1)).double().eval()
    images = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    with pytest.raises(ModelError, match="stage 0 of 3"):
        model.condense()
    dense = model(images)
    model.advance(1.0)
    masked = model(images)
    assert not torch.allclose(masked, dense)
    model.condense()
    torch.testing.assert_close(model(images), masked, rtol=1e-12, atol=1e-14)


def test_condensing_drops_a_part_per_stage_and_never_takes_it_back() -> None:
    layer = LearnedGroupConv(16, 8, groups=2, condensation=4)
    nn.init.normal_(layer.weight)
    before = layer.mask.clone()
    for progress, kept in ((0.0, 16), (0.1, 16), (1 / 6, 12), (0.34, 8), (0.5, 4), (1.0, 4)):
        layer.advance(progress)
        by_group = layer.mask.view(4, 2, 16)
        assert torch.equal(by_group, by_group[:1].expand_as(by_group))
        assert by_group[0].sum(1).tolist() == [kept, kept]
        assert bool((layer.mask <= before).all())
        before = layer.mask.clone()
    group = layer.weight.detach().abs().view(4, 2, 16).mean(0)[0]  # weights did not change, so the four largest are left
    assert torch.equal(layer.mask.view(4, 2, 16)[0, 0].nonzero().flatten(), group.topk(4).indices.sort().values)


def test_the_lasso_counts_groups_of_weights() -> None:
    layer = LearnedGroupConv(4, 4, groups=2, condensation=2)
    nn.init.constant_(layer.weight, 3.0)
    assert layer.lasso().item() == pytest.approx(3.0 * 2 * 4)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: wide_resnet(depth=17), r"depth 17 is not 6n \+ 4"), (lambda: densenet_bc(depth=9), r"depth 9 is not 6n \+ 4"),
    (lambda: densenet_bc(blocks=(2, 0)), "at least one layer"), (lambda: preact_resnet(blocks=()), "at least one block"),
    (lambda: preact_resnet(attention=cast(Any, "so")), "attention 'so' is unknown"),
    (lambda: condensenet(growth=(8, 16)), "one positive number per block"),
    (lambda: condensenet(growth=(5, 8), blocks=(1, 1)), "cannot be cut into"),
])
def test_what_cannot_be_built_is_said(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build()
