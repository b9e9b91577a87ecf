"""Adam is torch's."""

from __future__ import annotations

import pytest
import torch

from toolkit.learning.adam import BETAS, Adam


@pytest.mark.parametrize(("weight_decay", "betas"), [(0.0, BETAS), (0.3, BETAS), (0.0, (0.5, 0.9)), (0.0, (0.0, 0.0))])
def test_it_is_torch_adam(weight_decay: float, betas: tuple[float, float]) -> None:
    """Ten steps with other gradients and rates."""
    generator = torch.Generator().manual_seed(1)
    ours = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (5,))]
    theirs = [torch.nn.Parameter(weight.clone()) for weight in ours]
    adam, peer = Adam.of(ours, betas), torch.optim.Adam(theirs, weight_decay=weight_decay, betas=betas)
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


def test_without_memory_it_moves_by_signs() -> None:
    values, gradient = torch.zeros(4), torch.tensor([3.0, -0.2, 1e-3, -5.0])
    Adam.of([values], (0.0, 0.0)).step([values], [gradient], 0.2)
    assert torch.allclose(values, -0.2 * gradient.sign(), atol=1e-5)
