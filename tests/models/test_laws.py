"""Laws of every builder: it draws from its generator alone, trains, and gives one score per class."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import pytest
import torch
from torch import nn

from toolkit import models
from toolkit.models import fresh, initialise


def builders() -> dict[str, Callable[..., nn.Module]]:
    found: dict[str, Callable[..., nn.Module]] = {}
    for module in pkgutil.iter_modules(models.__path__, models.__name__ + "."):
        found |= {
            name: item for name, item in vars(importlib.import_module(module.name)).items()
            if inspect.isfunction(item) and item.__module__ == module.name and "num_classes" in inspect.signature(item).parameters
        }
    return found


BUILDERS = builders()
SIZES = {
    **dict.fromkeys(("lenet5", "lenet5_classic", "lenet_300_100", "mlp"), 28),
    **dict.fromkeys(("hcgnet_a1", "hcgnet_a2", "hcgnet_a3", "preact_resnet18", "densenet_bc"), 8),
}
"""Sides of the images of models for other than 32x32, or too slow for them here."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state(model: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.float().reshape(-1) for tensor in model.state_dict().values()])


def images_for(name: str, in_channels: int = 2) -> torch.Tensor:
    return torch.randn(2, in_channels, SIZES.get(name, 32), SIZES.get(name, 32), generator=seeded(1))


@pytest.mark.parametrize("name", BUILDERS)
def test_weights_are_those_of_the_generator_and_of_nothing_else(name: str) -> None:
    before = torch.get_rng_state()
    first = state(BUILDERS[name](generator=seeded(7)))
    torch.rand(3, generator=seeded(0))
    assert torch.equal(state(BUILDERS[name](generator=seeded(7))), first)
    assert not torch.equal(state(BUILDERS[name](generator=seeded(8))), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", BUILDERS)
def test_one_score_per_class_and_a_gradient_for_every_weight(name: str) -> None:
    model = BUILDERS[name](num_classes=7, in_channels=2, generator=seeded(3))
    scores = model(images_for(name))
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()
    nn.functional.cross_entropy(scores, torch.tensor([0, 6])).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", BUILDERS)
def test_evaluation_treats_every_image_by_itself(name: str) -> None:
    model = BUILDERS[name](in_channels=2, generator=seeded(3)).double().eval()
    images = images_for(name).double()
    with torch.no_grad():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]))


def test_without_a_generator_the_weights_are_those_of_seed_0() -> None:
    assert torch.equal(state(BUILDERS["small_cnn"]()), state(BUILDERS["small_cnn"](generator=seeded(0))))


def test_the_schemes_have_the_stated_spread() -> None:
    for scheme, deviation in (("torch", 1 / 3**0.5), ("he", 2**0.5), ("xavier", 1.0)):
        layer = fresh(lambda: nn.Conv2d(30, 400, 3), seeded(5), scheme).requires_grad_(False)
        assert float(layer.weight.std() * 270**0.5) == pytest.approx(deviation, rel=0.01)  # 108,000 draws
        assert float(layer.weight.mean().abs() * 270**0.5) < 5 * deviation / 108_000**0.5
        assert bool(layer.bias.any()) == (scheme == "torch")


def test_the_torch_scheme_draws_what_a_constructor_would_draw() -> None:
    """Same distribution: two samples of 40,000 agree in the Kolmogorov-Smirnov distance at one in a million."""
    ours = fresh(lambda: nn.Linear(200, 200), seeded(5)).weight.detach().flatten().sort().values
    with torch.random.fork_rng():
        torch.random.manual_seed(6)
        theirs = nn.Linear(200, 200).weight.detach().flatten().sort().values
    ranks = torch.arange(1, 40_001) / 40_000
    distance = (torch.searchsorted(theirs, ours, right=True) / 40_000 - ranks).abs().max()
    assert distance < (0.5 * torch.log(torch.tensor(2e6)) * 2 / 40_000).sqrt()


def test_all_layers_are_drawn_anew() -> None:
    layers = nn.Embedding(5, 4, padding_idx=0), nn.LSTM(4, 3), nn.BatchNorm1d(3), nn.GroupNorm(1, 3), nn.ConvTranspose2d(3, 2, 2)
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(77)
    initialise(model, seeded(1))
    assert not (state(model) == 77).any()
    assert not model[0].weight[0].any()
    assert model[2].running_var.tolist() == [1.0, 1.0, 1.0]
    assert int(model[2].num_batches_tracked) == 0


def test_a_layer_of_unknown_kind_is_refused_and_named() -> None:
    with pytest.raises(TypeError, match=r"^1: PReLU holds weights"):
        fresh(lambda: nn.Sequential(nn.Linear(2, 2), nn.PReLU()), seeded(0))
