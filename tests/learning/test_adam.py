"""Adam is torch's."""

from __future__ import annotations

import pytest
import torch

from toolkit.learning.adam import Adam


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_it_is_torch_adam(weight_decay: float) -> None:
    """Ten steps with other gradients and rates, among them a weight that has no gradient in some of them."""
    generator = torch.Generator().manual_seed(1)
    ours = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (5,))]
    theirs = [torch.nn.Parameter(weight.clone()) for weight in ours]
    adam, peer = Adam.of(ours), torch.optim.Adam(theirs, weight_decay=weight_decay)
    for step in range(10):
        rate = 0.1 / (step + 1)
        gradients = [torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in ours]
        for weight, gradient in zip(theirs, gradients, strict=True):
            weight.grad = gradient.clone()
        for group in peer.param_groups:
            group["lr"] = rate
        peer.step()
        adam.step(ours, list(gradients), rate, weight_decay=weight_decay)
        for weight, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(weight, other.data, rtol=1e-12, atol=1e-12)


def test_a_weight_without_gradient_stays() -> None:
    weights = [torch.ones(2), torch.ones(2)]
    Adam.of(weights).step(weights, [None, torch.ones(2)], 0.1)
    assert weights[0].tolist() == [1, 1]
    assert weights[1].tolist() == pytest.approx([0.9, 0.9])
