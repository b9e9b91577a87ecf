"""How much a task needs each weight: the diagonal of Fisher's information (EWC) and the path integral of the loss (SI); and gradients of
single samples, which the first needs.

Sources: Kirkpatrick et al., *Overcoming catastrophic forgetting in neural networks*, PNAS 2017; Schwarz et al., *Progress & Compress*, ICML
2018 (online EWC); Zenke et al., *Continual Learning Through Synaptic Intelligence*, ICML 2017, eqs. (3) to (5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.functional import log_softmax

CHUNK_BYTES = 64e6


def chunk_size(parameters: int) -> int:
    """Return for how many samples at a time gradients are held, so that they take at most 64 MB (or one gradient)."""
    return max(1, int(CHUNK_BYTES // (4 * parameters)))


def sample_gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for chunks of samples the gradients of log p(y|x), (n, d), and log p(y|x), (n,).

    *model* turns inputs into scores; d counts its trainable weights in the order of `parameters()`. It should be in eval mode, as the
    gradient of one sample has no meaning where BatchNorm mixes samples.
    """
    trained = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    fixed = {name: weight.detach() for name, weight in model.named_parameters() if not weight.requires_grad}

    def log_likelihood(weights: dict[str, Tensor], sample: Tensor, label: Tensor) -> Tensor:
        scores: Tensor = functional_call(model, {**weights, **fixed}, (sample[None],))
        return log_softmax(scores[0], 0).gather(0, label[None])[0]

    each: Any = vmap(grad_and_value(log_likelihood), in_dims=(None, 0, 0))
    size = chunk_size(sum(weight.numel() for weight in trained.values()))
    for part, right in zip(torch.split(inputs, size), torch.split(labels, size), strict=True):
        gradients, values = each(trained, part, right)
        yield torch.cat([gradients[name].flatten(1) for name in trained], 1), values


def fisher_sum(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over samples of p(y|x) (d log p(y|x) / d theta)^2, flat (d,), y being the true label."""
    return fisher_of(sample_gradients(model, inputs, labels))


def fisher_of(samples: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the same from the gradients and values of *samples*, of which there is at least one."""
    return sum((values.exp() @ gradients.square() for gradients, values in samples), start=torch.zeros(()))


def path_importance(integral: Tensor, moved: Tensor, damping: float) -> Tensor:
    """Return omega / (moved^2 + damping), SI's importance of a task, eq. (5): what each weight took off the loss for its distance."""
    return integral / (moved.square() + damping)
