"""HCGNet arranged for inference: the same numbers, and the plan that is faster."""

from __future__ import annotations

import time
from itertools import cycle

import pytest
import torch
from torch import nn
from torch.nn import functional

from toolkit.models import ModelError
from toolkit.models.hcgnet import HcgNet, hcgnet, hcgnet_a1, hcgnet_b
from toolkit.models.hcgnet_cells import Smg
from toolkit.models.hcgnet_inference import PLANS, FastHcgNet, Plan


def trained(net: HcgNet) -> HcgNet:
    """The network in evaluation mode, with statistics and scales of norms as training leaves them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.uniform_(-0.5, 0.5, generator=generator)
                layer.running_var.uniform_(0.3, 2.0, generator=generator)
                layer.weight.uniform_(0.5, 2.0, generator=generator)
                layer.bias.uniform_(-0.5, 0.5, generator=generator)
    return net.eval()


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_computes_the_network(plan: Plan) -> None:
    net = trained(hcgnet(in_channels=2, generator=torch.Generator().manual_seed(3)).double())
    given = images(3, 2, 24, 20).double()
    with torch.no_grad():
        torch.testing.assert_close(FastHcgNet(net).run(given, plan), net(given), rtol=1e-10, atol=1e-12)


def test_the_stem_of_large_images_is_kept() -> None:
    net = trained(hcgnet_b(num_classes=5).double())
    given = images(1, 3, 32, 40).double()
    with torch.no_grad():
        torch.testing.assert_close(FastHcgNet(net).run(given, Plan()), net(given), rtol=1e-10, atol=1e-12)


def test_a_dense_squeeze_is_the_grouped_one() -> None:
    """Check 7 of section 9 (HCGNet): within 1e-6 in float32, by layer and by network."""
    net = trained(hcgnet(generator=torch.Generator().manual_seed(3)))
    fast = FastHcgNet(net)
    module = next(part for part in net.modules() if isinstance(part, Smg))
    conv = module.squeeze.conv
    cell = next(stage for stage in fast._stages[Plan(False, True)] if stage.grows).cells[0]
    given = images(2, conv.in_channels, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(functional.conv2d(given, cell.squeeze, padding=1), conv(given), rtol=0, atol=1e-6)
    assert cell.groups == 1
    assert int((cell.squeeze != 0).sum()) == conv.weight.numel()
    given = images(4, 1, 16, 16)
    for channels_last in (True, False):
        grouped, dense = (fast.run(given, Plan(channels_last, dense)) for dense in (False, True))
        torch.testing.assert_close(dense, grouped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", [(8, 1, 8, 8), (1, 1, 7, 9), (3, 1, 32, 17)])
def test_writing_into_slices_gives_the_bits_of_concatenating(plan: Plan, shape: tuple[int, ...]) -> None:
    """Check 8 of section 9 (HCGNet): equality bit for bit."""
    fast = FastHcgNet(trained(hcgnet(generator=torch.Generator().manual_seed(3))))
    given = images(*shape)
    first = fast.run(given, plan)
    assert torch.equal(first, fast.run(given, plan, preallocate=False))
    fast.run(images(2 * shape[0], *shape[1:]), plan)  # larger buffers meanwhile
    assert torch.equal(first, fast.run(given, plan))


def test_the_fastest_plan_is_timed_once_per_shape() -> None:
    """Check 7 of section 9 (HCGNet), with a clock that says what each plan takes."""
    ticks: list[float] = []
    now = [0.0]
    costs = cycle([3.0, 1.0, 2.0, 5.0])  # of the plans in turn

    def clock() -> float:
        if len(ticks) % 2:
            now[0] += next(costs)
        ticks.append(now[0])
        return now[0]

    fast = FastHcgNet(trained(hcgnet()), clock=clock)
    small, large = images(2, 1, 8, 8), images(4, 1, 8, 8)
    fast(small)
    assert fast.chosen == {(2, 1, 8, 8): PLANS[1]}
    count = len(ticks)
    fast(small)
    assert len(ticks) == count
    fast(large)
    assert set(fast.chosen) == {(2, 1, 8, 8), (4, 1, 8, 8)}


def test_other_gates_are_refused() -> None:
    with pytest.raises(ModelError, match="not for 'se'"):
        FastHcgNet(hcgnet(gates="se"))


@pytest.mark.slow
def test_the_choice_is_near_the_best_and_slices_are_no_slower() -> None:
    """Checks 7 and 8 of section 9 (HCGNet), by CPU time: no choice 10 % slower than the best, no slices slower than concatenating.

    Work of others on the machine disturbs single passes, so the shortest of several counts, and slices are given 3 %.
    """
    torch.set_num_threads(1)
    fast = FastHcgNet(trained(hcgnet_a1()), clock=time.process_time)
    given = images(8, 3, 32, 32)
    fast(given)
    chosen = fast.chosen[tuple(given.shape)]
    passes = {str(plan): (plan, True) for plan in PLANS} | {"concatenating": (chosen, False)}
    shortest = dict.fromkeys(passes, float("inf"))
    for _ in range(7):
        for name, (plan, preallocate) in passes.items():
            began = time.process_time()
            fast.run(given, plan, preallocate)
            shortest[name] = min(shortest[name], time.process_time() - began)
    assert shortest[str(chosen)] <= 1.1 * min(shortest[str(plan)] for plan in PLANS)
    assert shortest[str(chosen)] <= 1.03 * shortest["concatenating"]
