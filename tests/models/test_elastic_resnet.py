"""Acceptance checks of the elastic ResNet, by their numbers in E2Net's specification."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolkit.learning.meter import Call
from toolkit.learning.work import count
from toolkit.models import ModelError
from toolkit.models.elastic_resnet import TWENTIETHS, Configuration, ElasticResNet, Space
from toolkit.models.resnet import resnet

SMALL = Space((1, 1), (16, 32), 1, 10, unit=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6, channels: int = 3, side: int = 12, seed: int = 1) -> Tensor:
    return torch.randn((count, channels, side, side), generator=seeded(seed))


def trained(blocks: tuple[int, ...] = (2, 2, 2, 2), nf: int = 8, **settings: object) -> ElasticResNet:
    """An elastic net whose BatchNorm vectors are not those of the beginning."""
    plain = resnet(nf=nf, blocks=blocks, generator=seeded(4))
    generator = seeded(5)
    with torch.no_grad():
        for layer in plain.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(generator=generator)
                layer.running_mean.normal_(generator=generator)
                layer.running_var.uniform_(0.5, 2.0, generator=generator)
    return ElasticResNet(plain, unit=1, **settings)  # type: ignore[arg-type]


def parameters(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize(("classes", "expected"), [(10, 11_173_962), (100, 11_220_132), (200, 11_271_432)])
def test_the_whole_is_resnet18(classes: int, expected: int) -> None:
    """Check 1 of section 9 (E2Net), first part."""
    space = Space((2, 2, 2, 2), (64, 128, 256, 512), 3, classes)
    assert space.parameters(space.full) == expected
    assert space.multiply_adds(space.full, 32, 32) == 555_417_600 + 512 * classes


def test_closed_forms_count_every_subnet_exactly() -> None:
    """Check 1 of section 9 (E2Net), second part: 200 random configurations, and their work."""
    net = trained()
    for config in net.space.sample(20, 10, None, seeded()):
        assert net.space.parameters(config) == parameters(net.export(config))
    small = ElasticResNet(resnet(in_channels=1, generator=seeded()), unit=2)
    assert small.space == SMALL
    assert SMALL.parameters(SMALL.full) == 19_706
    for config in SMALL.sample(180, 10, None, seeded()):
        assert SMALL.parameters(config) == parameters(small.export(config))
    for config in [*SMALL.sample(3, 10, None, seeded(1)), SMALL.full]:
        counted = count(Call(small, "forward", (config,)), (5, 1, 9, 8), training=False)
        assert SMALL.inference_work(config, 5, 9, 8) == counted.work
        assert 2 * 5 * SMALL.multiply_adds(config, 9, 8) == counted.matrix_flops


def test_caps_have_the_published_sizes() -> None:
    """Check 2 of section 9 (E2Net)."""
    space = Space((2, 2, 2, 2), (64, 128, 256, 512), 3, 10)
    assert [space.parameters(space.at_most(cap)) for cap in (4, 7, 9, 10, 99)] == [737_330, 3_888_010, 8_210_866, 11_173_962, 11_173_962]
    macs = [space.multiply_adds(space.at_most(cap), 32, 32) / space.multiply_adds(space.full, 32, 32) for cap in (4, 7, 9)]
    assert macs == pytest.approx([0.075, 0.353, 0.709], abs=6e-4)
    assert [space.share(space.at_most(cap)) for cap in (4, 7, 9)] == pytest.approx([0.066, 0.348, 0.735], abs=6e-4)


def test_widths_are_multiples_of_the_unit_and_lose_no_more_than_a_tenth() -> None:
    space = Space((2, 2, 2, 2), (64, 128, 256, 512), 3, 10, TWENTIETHS)
    assert [space.rounded(width) for width in (3.2, 8, 11.9, 12, 19.2, 28.8, 44.8)] == [8, 8, 16, 16, 24, 32, 48]
    assert space.rounded(252.0) == space.rounded(360 * 0.7) == 256
    for width in range(1, 600):
        assert space.rounded(width) % 8 == 0
        assert space.rounded(width) >= 0.9 * width
        assert space.rounded(width + 1) >= space.rounded(width)


def test_samples_grow_and_stay_below_the_cap() -> None:
    """Check 6 of section 9 (E2Net), sampling."""
    before = None
    for cap in (4, 7, 9, 10):
        configs = SMALL.sample(300, cap, before, seeded(cap))
        places = torch.tensor([[*config.widths, *config.expands] for config in configs])
        lowest = torch.zeros(4) if before is None else torch.tensor([*before.widths, *before.expands])
        assert (places >= lowest).all()
        assert (places.amax(0) == cap - 1).all()
        assert (places.amin(0) == lowest).all()
        assert all(before is None or before.within(config) for config in configs)
        assert max(SMALL.parameters(config) for config in configs) <= SMALL.parameters(SMALL.at_most(cap))
        before = configs[0]
    beyond = SMALL.sample(50, 12, None, seeded())  # only widths vary
    assert {config.expands for config in beyond} == {(9, 9)}
    assert len({config.widths for config in beyond}) > 10
    counts = torch.bincount(torch.tensor([config.widths[0] for config in SMALL.sample(4000, 4, None, seeded())]))
    assert ((counts - 1000).abs() < 4 * 27.4).all()  # uniform, four deviations


@pytest.mark.parametrize("training", [False, True])
def test_sorting_channels_leaves_the_function_as_it_is(training: bool) -> None:
    """Check 4 of section 9 (E2Net)."""
    net, given = trained().train(training), images()
    with torch.no_grad():
        before = net(given)
        orders = net.sort_channels()
        after = net(given)
    assert any(order.tolist() != sorted(order.tolist()) for order in orders)
    assert float((after - before).abs().max()) < 1e-4
    for block in net.blocks:
        norms = block.conv2.weight.detach().abs().sum(dim=(0, 2, 3))
        assert (norms[1:] <= norms[:-1]).all()
    assert all(order.tolist() == sorted(order.tolist()) for order in net.sort_channels())


def test_a_subnet_is_the_network_that_is_exported() -> None:
    """Check 5 of section 9 (E2Net)."""
    net, given = trained(), images()
    for config in net.space.sample(20, 10, None, seeded(2)):
        plain = net.export(config)
        with torch.no_grad():
            assert float((net.eval()(given, config) - plain.eval()(given)).abs().max()) < 1e-5
            assert float((net.train()(given, config) - plain.train()(given)).abs().max()) < 1e-5
    with torch.no_grad():
        assert torch.equal(net.eval()(given, net.space.full), net.plain(given))
        assert torch.equal(net(given), net.plain(given))
    exported = net.export(net.space.at_most(3))
    weight = exported.conv.weight.clone()
    with torch.no_grad():
        net.plain.conv.weight.zero_()
    assert torch.equal(exported.conv.weight, weight)


def test_a_subnet_in_training_leaves_the_running_statistics_alone() -> None:
    """Section 1.7 (E2Net), and the official rule."""
    net, given, config = trained().train(), images(), Configuration((4, 4, 4, 4), (4,) * 8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net(given, config)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.subnet_bn = "official"
    net(given, config)
    for norm, width in ((net.plain.bn, net.space.widths(config)[0][0]), (net.blocks[0].bn1, net.space.widths(config)[1][0])):
        name = next(name for name, layer in net.named_modules() if layer is norm) + ".running_mean"
        assert not torch.equal(norm.running_mean[:width], before[name][:width])
        assert torch.equal(norm.running_mean[width:], before[name][width:])


def test_gradients_stay_inside_the_subnet() -> None:
    """Check 7 of section 9 (E2Net), the sliced region."""
    net, config = trained().train(), Configuration((5, 3, 4, 6), (3,) * 8)
    net(images(), config).square().mean().backward()
    inside = net.export(config)
    for (name, weight), small in zip(net.plain.named_parameters(), inside.parameters(), strict=True):
        region = tuple(slice(0, size) for size in small.shape)
        assert weight.grad is not None, name
        outside = weight.grad.clone()
        outside[region] = 0
        assert not outside.any(), name
        assert weight.grad[region].any(), name


def test_own_statistics_make_a_subnet_answer_as_in_training() -> None:
    net, config, given = trained(), Configuration((3, 3, 3, 3), (3,) * 8), images(64)
    calibrated = net.recalibrate_bn(config, [given])
    with torch.no_grad():
        shared, own, wanted = net.eval()(given, config), calibrated(given), net.train()(given, config)
    assert float((own - wanted).abs().max()) < 0.1 * float((shared - wanted).abs().max())
    assert calibrated.bn.momentum == net.plain.bn.momentum
    two = net.recalibrate_bn(config, [given[:32], given[32:]])
    halves = [net.export(config).train() for _ in range(2)]
    means = []
    for half, part in zip(halves, (given[:32], given[32:]), strict=True):
        half.bn.momentum = 1.0
        half(part)
        means.append(half.bn.running_mean)
    torch.testing.assert_close(two.bn.running_mean, (means[0] + means[1]) / 2)


def test_mistakes_are_named() -> None:
    with pytest.raises(ModelError, match=r"widths \[16, 32\] are not multiples of the unit 5"):
        Space((1, 1), (16, 32), 1, 10, unit=5)
    for ratios in ((0.5, 0.9), (0.5, 0.2, 1.0), (), (0.0, 1.0)):
        with pytest.raises(ModelError, match="ratios rise from above 0 to 1"):
            Space((1, 1), (16, 32), 1, 10, ratios)
