"""On an accelerator every tensor of a distillation follows the images: shown on a device that is not there (`pretend`)."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.methods.continual.pretend import DEVICE, Elsewhere, OnTheDevice, moved
from toolkit.learning import diffusion
from toolkit.learning.diffusion import losses, metrics
from toolkit.learning.diffusion.distillation import Ladder, Stages
from toolkit.learning.diffusion.features import FeatureNet, small_features
from toolkit.learning.diffusion.losses import preset
from toolkit.learning.diffusion.memory import memory_head
from toolkit.learning.diffusion.samplers import sample
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.models.unet import unet

S = Schedule()


def head_on(channels: int, generator: torch.Generator | None = None) -> nn.Sequential:
    head = memory_head(channels, generator)
    moved(head)
    return head


def distilled(images: Tensor, network: nn.Module, looks: FeatureNet, name: str) -> list[float]:
    """Losses of every step, and distances of samples of the student."""
    ladder = Ladder(
        network, images, preset(name, queue=64, keys=8, per_step=8, relation_images=4), Stages(4, 1, 3, batch=6), schedule=S,
        seeded=lambda *names: diffusion.seeded_by(1, *names), features=looks,
    )
    found = []
    while ladder.step < ladder.total:
        found.append(ladder.gradient())
        ladder.update()
        ladder.step += 1
    draws = torch.Generator().manual_seed(1)
    sampler = "consistency" if name == "cd" else "ddim"
    noise = torch.randn((20, 1, 8, 8), generator=draws).to(images.device)
    made = sample(ladder.student(1), noise, 1, schedule=S, sampler=sampler, generator=draws)
    real = metrics.class_features(looks, images)
    apart = metrics.distance(real, metrics.class_features(looks, made))
    return [*found, apart, *metrics.precision_recall(images.flatten(1), made.flatten(1))]


@pytest.mark.parametrize("name", ["pd", "rdd_pd", "feature_l2", "cd"])
def test_every_tensor_follows_the_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn((30, 1, 8, 8), generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    network, looks = unet(1), small_features(1, (4, 8), 10, torch.Generator().manual_seed(2)).requires_grad_(False)
    expected = distilled(images, copy.deepcopy(network), looks, name)
    monkeypatch.setattr(losses, "memory_head", head_on)
    moved(network)
    moved(looks)
    with OnTheDevice():
        assert looks.device == DEVICE
        found = distilled(Elsewhere(images), network, looks.requires_grad_(False), name)
    assert len(found) == len(expected)
    assert found[0] == pytest.approx(expected[0])  # later ones differ: there weights cannot become views of one vector, and stay


def test_half_precision_is_near_and_weights_stay_whole() -> None:
    network = unet(1)
    noisy, t = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(0)), torch.tensor([1, 300, 700, 1024])
    network.last.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    whole = network(noisy, t)
    network.half_type = torch.bfloat16
    half = network(noisy, t)
    assert half.dtype == torch.float32
    assert not torch.equal(half, whole)
    assert float(((half - whole).norm() / whole.norm()).detach()) < 0.03
    half.sum().backward()
    assert all(weight.dtype == weight.grad.dtype == torch.float32 for weight in network.parameters() if weight.grad is not None)
