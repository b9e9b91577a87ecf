"""HCGNet against the published counts and the fingerprints of its reference implementation."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, cast, get_args

import pytest
import torch
from torch import Tensor, nn

from toolkit.learning.complexity import multiply_adds, parameters, reference_multiply_adds
from toolkit.models import ModelError, hcgnet
from toolkit.models.hcgnet import HcgNet, hcgnet_a1, hcgnet_a2, hcgnet_a3, hcgnet_b, hcgnet_c
from toolkit.models.hcgnet_cells import ContextPooling, Gates, Smg, Transition, UpdateGate


def slow(*values: object) -> Any:
    """A case of a parametrised test that runs with the slow ones."""
    return pytest.param(*values, marks=pytest.mark.slow)


COUNTS = [
    (hcgnet_a1, 10, 1_065_301, 19_341, 154_231_776, 162_259_282), slow(hcgnet_a1, 100, 1_102_651, 19_341, 154_269_036, 162_296_632),
    (hcgnet_a2, 10, 3_069_149, 33_415, 488_603_776, 503_415_834), slow(hcgnet_a2, 100, 3_133_679, 33_415, 488_668_216, 503_480_364),
    slow(hcgnet_a3, 10, 11_239_897, 80_181, 1_956_302_016, 1_992_937_330),
    slow(hcgnet_a3, 100, 11_363_647, 80_181, 1_956_425_676, 1_993_061_080),
    (hcgnet_b, 1000, 12_845_501, 69_822, 2_002_776_044, 2_040_802_808),
    slow(hcgnet_c, 1000, 42_153_208, 176_628, 6_971_626_636, 7_068_707_520),
]
PARTS = [
    (hcgnet_a1, [648, 46_440, 70_638, 185_208, 306_213, 451_176, 828, 4_150]),
    (hcgnet_a2, [1_296, 175_800, 278_073, 444_168, 798_306, 1_362_904, 1_432, 7_170]),
    (hcgnet_a3, [1_944, 708_300, 1_215_966, 1_611_684, 3_271_533, 4_413_972, 2_748, 13_750]),
    (hcgnet_b, [28_768, 84_345, 124_583, 438_018, 650_121, 2_378_724, 4_322_678, 3_570_776, 2_488, 1_245_000]),
    (hcgnet_c, [28_768, 419_394, 595_103, 1_866_708, 3_431_541, 6_766_830, 14_084_438, 12_526_570, 4_856, 2_429_000]),
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# counts


@pytest.mark.parametrize(("build", "classes", "weights", "buffers", "products", "reference"), COUNTS)
def test_counts(build: Callable[..., HcgNet], classes: int, weights: int, buffers: int, products: int, reference: int) -> None:
    """Check 1 of section 9 (HCGNet): parameters, buffers, multiply-adds, and those of the official counter."""
    model = build(classes)
    shape = (3, 32, 32) if classes < 1000 else (3, 224, 224)
    assert parameters(model) == weights
    assert sum(buffer.numel() for buffer in model.buffers()) == buffers
    assert multiply_adds(model, shape) == products
    assert reference_multiply_adds(model, shape, head_is_seen=classes == 1000) == reference


@pytest.mark.parametrize(("build", "expected"), PARTS)
def test_parameters_of_each_part(build: Callable[..., HcgNet], expected: list[int]) -> None:
    """Check 1 of section 9 (HCGNet), per part."""
    model = build()
    layers = [count for count in map(parameters, model.layers) if count]
    assert [parameters(model.stem), *layers, parameters(model.norm), parameters(model.classifier)] == expected


def test_closed_forms_of_a_module() -> None:
    """Check 3 of section 9 (HCGNet): parameters and multiply-adds of 20 random modules."""
    draw = random.Random(1)
    for _ in range(20):
        inputs, growth, height, width = draw.randint(1, 90), 4 * draw.randint(1, 12), draw.randint(2, 12), draw.randint(2, 12)
        module = Smg(inputs, growth)
        assert parameters(module) == inputs * (4 * growth + 2) + 14 * growth**2 + 81 * growth // 2 + 3
        per_position = 4 * growth * inputs + 9 * growth**2 + 21 * growth
        assert multiply_adds(module, (inputs, height, width)) == height * width * per_position + 5 * growth**2
    for inputs, growth, expected in ((24, 12, 3_705), (48, 24, 13_743), (72, 36, 30_117), (64, 32, 23_955), (64, 48, 46_619)):
        assert parameters(Smg(inputs, growth)) == expected


# fingerprints


@torch.no_grad()
def fingerprinted(model: nn.Module) -> nn.Module:
    """The model in float64 with the weights of the fill rule, which knows neither the order of parameters nor any generator."""

    def put(tensor: Tensor, values: Callable[[Tensor], Tensor]) -> None:
        tensor.copy_(values(torch.arange(tensor.numel(), dtype=torch.float64)).view_as(tensor))

    def convolve(tensor: Tensor) -> None:
        put(tensor, lambda j: torch.sin(1 + j) * math.sqrt(2 / tensor[0].numel()))

    model = model.double().eval()
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            put(layer.weight, lambda j: 1 + 0.1 * torch.sin(j))
            put(layer.bias, lambda j: 0.1 * torch.cos(j))
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            convolve(layer.weight)
            if layer.bias is not None:
                put(layer.bias, lambda j: 0.1 * torch.cos(j))
    for gate in model.modules():
        if isinstance(gate, UpdateGate):  # two layers of the reference, stacked
            for half, bias in zip(gate.select.weight.chunk(2), gate.select.bias.chunk(2), strict=True):
                convolve(half)
                put(bias, lambda j: 0.1 * torch.cos(j))
    return model


@torch.no_grad()
def response(model: nn.Module, *shape: int) -> Tensor:
    images = torch.sin(0.01 * torch.arange(math.prod(shape), dtype=torch.float64)).view(shape)
    result: Tensor = fingerprinted(model)(images)
    return result


def close(values: Tensor, expected: float | list[float]) -> None:
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-8)


def test_fingerprint_of_a_module() -> None:
    """Check 2 of section 9 (HCGNet): within 1e-8 in float64."""
    new = response(Smg(24, 12), 2, 24, 8, 8)[:, 24:]
    assert new.shape == (2, 12, 8, 8)
    close(new.sum(), 4.8640141153)
    close(new[0, 0, 0, :3], [0.061899547997, 0.062009901458, 0.062160867460])


def test_fingerprint_of_a_transition() -> None:
    """Check 2 of section 9 (HCGNet)."""
    halved = response(Transition(120), 2, 120, 8, 8)
    assert halved.shape == (2, 60, 4, 4)
    close(halved.sum(), 0.335292700402)
    close(halved.flatten()[:3], [0.021727724603, 0.021911715055, 0.021996892364])


@pytest.mark.parametrize(("build", "shape", "first", "total"), [
    (hcgnet_a1, (2, 3, 32, 32), [0.7117804149, 0.2809902779, -0.3033775784, -0.7296497279], 1.210053146),
    slow(hcgnet_a2, (2, 3, 32, 32), [0.8617352999, 0.6459430959, 0.3333442476, 0.02914936568], -3.484188572),
    slow(hcgnet_a3, (2, 3, 32, 32), [1.251945638, -0.9753780733, -0.3040090641, 1.157154118], 1.951873165),
    slow(hcgnet_b, (1, 3, 64, 64), [1.151835734, 1.05672967, 0.9069398658, 0.7906722739], 6.470943617),
])
def test_fingerprint_of_a_network(build: Callable[..., HcgNet], shape: tuple[int, ...], first: list[float], total: float) -> None:
    """Check 2 of section 9 (HCGNet)."""
    scores = response(build(), *shape)
    close(scores[0, :4], first)
    close(scores.sum(), total)


# laws


def dead_biases(model: nn.Module, training: bool) -> set[str]:
    """The names of the biases that the softmax (always) and a norm (in training) take away again."""
    found = set()
    for name, module in model.named_modules():
        if isinstance(module, ContextPooling):
            found.add(f"{name}.score.bias")
        elif training and isinstance(getattr(module, "norm", None), nn.BatchNorm1d):
            found.add(f"{name}.squeeze.bias")
    return found


@pytest.mark.parametrize("training", [True, False])
def test_the_dead_biases_and_no_others_get_no_gradient(training: bool) -> None:
    """Check 4 of section 9 (HCGNet): five per module in training, the three of the contexts in evaluation."""
    model = hcgnet.hcgnet(growth=(4, 8), blocks=(2, 2), generator=seeded(1)).double()
    dead = dead_biases(model, training)
    gated = sum(isinstance(module, (Smg, Transition)) for module in model.modules())
    assert len(dead) == gated * (5 if training else 3)
    images, labels = torch.randn(16, 1, 8, 8, generator=seeded(2), dtype=torch.float64), torch.arange(16) % 10
    with torch.no_grad():  # norms without statistics let the signal shrink, until gradients that nobody cut are as small
        for _ in range(30):
            model.train()(images)
    model.train(training)
    nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        largest = float(parameter.grad.abs().max())
        assert (largest < 1e-10) == (name in dead), (name, largest)


def test_the_context_is_the_convolution_and_softmax_that_it_stands_for() -> None:
    maps = torch.randn(3, 6, 5, 7, generator=seeded(1), dtype=torch.float64)
    pooling = ContextPooling(6).double()
    scores = nn.functional.conv2d(maps, pooling.score.weight[:, :, None, None], pooling.score.bias)
    share = scores.flatten(2).softmax(2).view(3, 1, 5, 7)
    by_hand = nn.functional.adaptive_avg_pool2d(maps * share, 1).flatten(1) * 35
    torch.testing.assert_close(pooling(maps), by_hand)
    torch.testing.assert_close(pooling(maps.contiguous(memory_format=torch.channels_last)), by_hand)


def test_images_need_not_be_square() -> None:
    """Check 6 of section 9 (HCGNet): 24x32; turning the image and the kernels turns nothing else."""
    model = hcgnet.hcgnet(generator=seeded(1)).double().eval()
    images = torch.randn(2, 1, 24, 32, generator=seeded(2), dtype=torch.float64)
    scores = model(images)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.transpose(2, 3).clone())
        torch.testing.assert_close(model(images.transpose(2, 3)), scores)


def test_one_image_is_enough_to_evaluate_and_not_to_train() -> None:
    """Check 6 of section 9 (HCGNet)."""
    model = hcgnet.hcgnet()
    image = torch.zeros(1, 1, 8, 8)
    assert model.eval()(image).shape == (1, 10)
    with pytest.raises(ModelError, match=r"BatchNorm .* at least 2 images"):
        model.train()(image)
    assert hcgnet.hcgnet(gates="none").train()(image).shape == (1, 10)  # which has no norm of vectors


@pytest.mark.parametrize("gates", get_args(Gates))
def test_every_gate_trains_in_the_same_trunk(gates: Gates) -> None:
    model = hcgnet.hcgnet(growth=(4, 8), blocks=(2, 2), gates=gates, generator=seeded(1))
    trunk = [name for name, _ in hcgnet.hcgnet(growth=(4, 8), blocks=(2, 2), gates="none").named_parameters()]
    assert set(trunk) <= {name for name, _ in model.named_parameters()}
    scores = model(torch.randn(4, 1, 8, 8, generator=seeded(2)))
    scores.sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


def test_ablated_modules_are_what_is_left_of_the_sum() -> None:
    """One set of weights: y = s f + n, s + n, s f and n alone agree where they share parts."""
    whole = Smg(6, 4).double().eval()
    nn.init.normal_(whole.fusion.forget.excite.bias, generator=seeded(3))
    maps = torch.randn(2, 6, 5, 5, generator=seeded(1), dtype=torch.float64)
    s = whole.squeeze(whole.reduce(maps))
    parts = {}
    chosen: tuple[Gates, ...] = ("smg", "no_forget", "no_update", "no_residual")
    for gates in chosen:
        module = Smg(6, 4, gates).double().eval()
        module.load_state_dict(whole.state_dict(), strict=False)
        parts[gates] = module.new_maps(maps)
    torch.testing.assert_close(parts["smg"], parts["no_update"] + parts["no_residual"])
    torch.testing.assert_close(parts["no_forget"], s + parts["no_residual"])
    assert bool((parts["no_residual"].flatten(2).std(2) == 0).all())


@pytest.mark.parametrize(("build", "message"), [
    (lambda: hcgnet.hcgnet(growth=(4, 6)), "one positive number per block"), (lambda: hcgnet.hcgnet(growth=(4, 6, 8)), "growth 6"),
    (lambda: hcgnet.hcgnet(gates=cast(Gates, "some")), "gates 'some' are unknown"),
])
def test_what_cannot_be_built_is_said(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build()
