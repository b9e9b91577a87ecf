"""Gradients of single samples are those of a loop over samples; Fisher and path importances by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax

from toolkit.learning import importance
from toolkit.learning.flat import gradient_of
from toolkit.learning.importance import fisher_sum, path_importance, sample_gradients
from toolkit.models.resnet import resnet


def case() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = resnet(num_classes=4, nf=2, in_channels=1, generator=generator).eval()
    return model, torch.randn(5, 1, 8, 8, generator=generator), torch.tensor([0, 3, 1, 1, 2])


def loop(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values = [log_softmax(model(image[None])[0], 0)[label] for image, label in zip(inputs, labels, strict=True)]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return torch.stack([gradient_of(value, weights) for value in values]), torch.stack(values).detach()


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_single_samples_are_those_of_a_loop(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, labels = case()
    if frozen:
        next(model.parameters()).requires_grad_(False)
    monkeypatch.setattr(importance, "CHUNK_BYTES", 2 * 4 * sum(weight.numel() for weight in model.parameters()) + 100)
    chunks = list(sample_gradients(model, inputs, labels))
    assert [len(values) for _, values in chunks] == [2, 2, 1]
    gradients, values = loop(model, inputs, labels)
    torch.testing.assert_close(torch.cat([gradient for gradient, _ in chunks]), gradients, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat([value for _, value in chunks]), values, atol=1e-5, rtol=1e-4)


def test_fisher_weights_squares_by_likelihood_and_is_never_negative() -> None:
    model, inputs, labels = case()
    gradients, values = loop(model, inputs, labels)
    found = fisher_sum(model, inputs, labels)
    torch.testing.assert_close(found, (values.exp()[:, None] * gradients.square()).sum(0), atol=1e-5, rtol=1e-4)
    assert (found >= 0).all()
    assert found.max() > 0


def test_fisher_of_a_linear_classifier_by_hand() -> None:
    """One weight per class, scores (w1 x, w2 x) = (0, 0): p = 1/2, d log p_1 / d w = (x/2, -x/2)."""
    model = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(model.weight)
    found = fisher_sum(model, torch.tensor([[2.0], [4.0]]), torch.tensor([0, 1]))
    torch.testing.assert_close(found, torch.tensor([0.5 * (1 + 4), 0.5 * (1 + 4)]))


def test_path_importance_by_hand() -> None:
    found = path_importance(torch.tensor([0.6, 0.2]), torch.tensor([0.5, 0.0]), 0.25)
    torch.testing.assert_close(found, torch.tensor([1.2, 0.8]))
