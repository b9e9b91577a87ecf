"""UNets: exact sizes, a fingerprint of the function, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.learning.complexity import parameters
from toolkit.learning.work import count
from toolkit.models import ModelError
from toolkit.models.unet import UNet, unet, unet_cifar10, unet_digits, unet_imagenet64


class AtTime(nn.Module):
    def __init__(self, net: UNet, labels: bool = False) -> None:
        super().__init__()
        self.net, self.labels = net, labels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        t = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return self.net(images, t, *([t] if self.labels else []))


def filled(net: UNet) -> UNet:
    """Weights by the fill rule of the fingerprints."""
    net = net.double().eval()
    with torch.no_grad():
        for module in net.modules():
            for name, weight in module.named_parameters(recurse=False):
                j = torch.arange(weight.numel(), dtype=torch.float64)
                if weight.dim() > 1:
                    value = torch.sin(1 + j) * (2 / weight[0].numel()) ** 0.5
                elif name == "weight":
                    value = 1 + 0.1 * torch.sin(j)
                else:
                    value = 0.1 * torch.cos(j)
                weight.copy_(value.view_as(weight))
    return net


def test_the_cifar_network_has_its_exact_size_and_function() -> None:
    net = unet_cifar10()
    assert parameters(net) == 35_746_307
    assert sum(buffer.numel() for buffer in net.buffers()) == 131_200
    torch.testing.assert_close(net.table.table[512, :4], torch.tensor([0.0795185, -0.9968334, -0.3978334, -0.9174577]))
    assert count(AtTime(net), (1, 3, 32, 32), training=False).matrix_flops // 2 == 6_221_856_768
    images = torch.sin(0.01 * torch.arange(3 * 32 * 32, dtype=torch.float64)).view(1, 3, 32, 32)
    with torch.no_grad():
        found = filled(net)(images, torch.tensor([512]))
    assert float(found.sum()) == pytest.approx(124.9652138, abs=1e-6)
    torch.testing.assert_close(found.flatten()[:3], torch.tensor([0.0757250721, -0.0251760776, -0.0253066699]).double(), atol=1e-8, rtol=0)


def test_the_imagenet_network_has_its_exact_size() -> None:
    with torch.device("meta"):
        net = UNet(
            in_channels=3, width=128, multipliers=(1, 2, 3, 4), blocks=3, attention=(2, 3), classes=1000, dropout=0, rows=1025, groups=32
        )
    assert parameters(net) == 116_451_203
    assert count(AtTime(net, True), (1, 3, 64, 64), training=False).matrix_flops // 2 == 39_717_621_760
    assert parameters(unet_imagenet64()) == 116_451_203


@pytest.mark.parametrize("size", [8, 16, 28])
def test_small_ones_give_images_of_their_input(size: int) -> None:
    net = unet_digits(size)
    assert net(torch.zeros(2, 1, size, size), torch.tensor([0, 1024])).shape == (2, 1, size, size)


def test_weights_are_those_of_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one, other = (unet(generator=torch.Generator().manual_seed(seed)) for seed in (1, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("make", "says"), [
    (lambda: unet()(torch.zeros(1, 1, 9, 9), torch.zeros(1, dtype=torch.int64)), "images of 9x9 cannot be halved to its depth"),
    (lambda: unet()(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64)), "images have 3 channels, and it was built for 1"),
    (lambda: unet(classes=3)(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64)), "needs labels"),
    (lambda: unet_digits(14), "images of 14x14 cannot be halved"),
    (lambda: unet(width=12), "width 12 must be even and a multiple of groups"),
    (lambda: unet(attention=(2,)), "attention at level 2, and there are levels 0 to 1"),
])
def test_what_it_refuses_it_says_in_one_sentence(make, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        make()
