"""Parameters and multiply-adds of the published networks, exactly."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from toolkit.learning.work import count
from toolkit.models import ModelError
from toolkit.models.lenet import lenet5
from toolkit.models.mlp import mlp
from toolkit.models.resnet import resnet, resnet18
from toolkit.models.resnet_cifar import Block, resnet20, resnet56, resnet110, resnet_cifar
from toolkit.models.small_cnn import small_cnn
from toolkit.models.vgg import STAGES, vgg16


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, *shape: int) -> int:
    return count(model, (1, *shape), training=False).matrix_flops // 2


@pytest.mark.parametrize(("model", "expected"), [
    (lenet5, 431_080), (mlp, 266_610), (resnet20, 269_722), (resnet56, 853_018), (resnet110, 1_727_962),
    (resnet18, 11_173_962), (vgg16, 14_728_266), (small_cnn, 25_978),
])
def test_parameters_with_ten_classes(model, expected: int) -> None:
    assert parameters(model()) == expected


@pytest.mark.parametrize(("classes", "expected"), [(100, 11_220_132), (200, 11_271_432)])
def test_resnet18_for_more_classes(classes: int, expected: int) -> None:
    assert parameters(resnet18(classes)) == expected


def test_a_small_resnet_is_the_compact_one_of_the_continual_runs() -> None:
    assert parameters(resnet(in_channels=1)) == 19_706


@pytest.mark.parametrize(("depth", "channels", "classes"), [(8, 3, 10), (14, 1, 7), (32, 3, 100)])
def test_closed_form_of_cifar_resnets(depth: int, channels: int, classes: int) -> None:
    n = (depth - 2) // 6
    assert parameters(resnet_cifar(depth, classes, channels)) == 97_216 * n - 23_008 + 144 * channels + 65 * classes


@pytest.mark.parametrize(("width", "channels", "classes"), [(4, 1, 10), (16, 3, 10), (24, 2, 5)])
def test_closed_form_of_the_small_network(width: int, channels: int, classes: int) -> None:
    expected = 90 * width**2 + 9 * channels * width + 14 * width + 16 * width * classes + classes
    assert parameters(small_cnn(classes, channels, width)) == expected


@pytest.mark.parametrize(("a", "b", "h"), [(20, 50, 500), (4, 9, 120), (1, 1, 1)])
def test_closed_forms_of_lenet_with_some_filters_left(a: int, b: int, h: int) -> None:
    model = lenet5(filters=(a, b), hidden=h)
    assert parameters(model) == 26 * a + b * (25 * a + 1) + h * (16 * b + 11) + 10
    assert multiply_adds(model, 1, 28, 28) == 14_400 * a + 1_600 * a * b + 16 * b * h + 10 * h


def test_closed_form_of_vgg16_with_and_without_normalisation() -> None:
    sizes = [3, *(channels for stage in STAGES for channels in stage)]
    convolutions = sum(9 * inputs * outputs + outputs for inputs, outputs in pairwise(sizes))
    assert parameters(vgg16()) == convolutions + 2 * sum(sizes[1:]) + 5_130
    assert parameters(vgg16(batch_norm=False, hidden=512)) == convolutions + 513 * 512 + 5_130 == 14_982_474


@pytest.mark.parametrize(("model", "millions"), [(resnet20, 40.55), (resnet56, 125.49), (resnet110, 252.89), (resnet18, 555.42)])
def test_multiply_adds_at_32_by_32(model, millions: float) -> None:
    assert multiply_adds(model(), 3, 32, 32) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_small_network_takes_small_and_large_images() -> None:
    model = small_cnn()
    for side in (4, 8, 28, 33):
        assert model(torch.zeros(1, 1, side, side)).shape == (1, 10)


def test_an_option_a_shortcut_is_the_subsampled_image_between_zeros() -> None:
    block = Block(2, 4, 2)
    nn.init.zeros_(block.bn2.weight)  # the convolutions say nothing, so only the shortcut is left
    images = torch.rand(1, 2, 4, 4)
    out = block(images)
    assert not out[:, [0, 3]].any()
    assert torch.equal(out[:, 1:3], images[:, :, ::2, ::2])


@pytest.mark.parametrize(("build", "message"), [
    (lambda: resnet_cifar(21), r"depth 21 is not 6n \+ 2"), (lambda: small_cnn(width=6), "width 6 is not a positive multiple of 4"),
    (lambda: lenet5(image_size=8), "images of 8x8 are too small"), (lambda: resnet(blocks=(1, 0)), "at least one block"),
    (lambda: mlp(hidden=(10, 0)), "at least one unit"),
    (lambda: lenet5()(torch.zeros(1, 1, 32, 32)), "built for images of 28x28, got 32x32"),
    (lambda: vgg16()(torch.zeros(1, 3, 28, 28)), "sides of 32 to 63, got 28x28"),
    (lambda: mlp()(torch.zeros(1, 1, 8, 8)), "built for 784 inputs, got images of shape"),
])
def test_what_cannot_be_built_or_fed_is_said(build, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build()
