"""Training and fine-tuning for pruning: Adam or SGD over a fixed set, with a teacher, with frozen zeros, or with a penalty on BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.learning.train_state import check_finite

BATCH = 64


@dataclass(frozen=True)
class FineTuning:
    """How long and how a network is trained."""

    epochs: int
    lr: float = 1e-3
    batch: int = BATCH
    temperature: float = 4.0
    """T of the teacher's and student's softened scores (Hinton et al. 2015)."""
    distil: float = 0.5
    """Share of the loss that follows the teacher, where there is one."""
    gamma_l1: float = 0.0
    """Penalty on the scale of BatchNorm (network slimming)."""


def train(
    model: nn.Module, images: Tensor, labels: Tensor, recipe: FineTuning, rng: np.random.Generator, *, teacher: nn.Module | None = None,
    alive: Mapping[str, Tensor] | None = None,
) -> None:
    """Train *model* in place with Adam, the learning rate falling linearly to zero.

    Args:
        model: any classifier.
        images: (n, channels, height, width); labels (n,).
        labels: classes of the images.
        recipe: how long and how.
        rng: draws the order of the samples.
        teacher: its softened scores are followed with weight ``distil * T^2`` beside the labels with ``1 - distil``.
        alive: masks of weights that must stay zero where the mask is 0, by name of the parameter.

    Raises:
        DivergenceError: a loss or gradient is not finite.
    """
    model.train()
    softened = _scores(teacher, images) if teacher is not None and recipe.distil else None
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
    per_epoch = -(-len(labels) // recipe.batch)
    steps = recipe.epochs * per_epoch
    gammas = [module.weight for module in model.modules() if isinstance(module, _BatchNorm)] if recipe.gamma_l1 else []
    named = dict(model.named_parameters())
    done = 0
    for _ in range(recipe.epochs):
        order = torch.from_numpy(rng.permutation(len(labels)))
        for begin in range(0, len(labels), recipe.batch):
            chosen = order[begin : begin + recipe.batch]
            if len(chosen) < 2 and done:  # BatchNorm cannot normalise one sample
                continue
            rate = recipe.lr * (1 - done / steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            scores = model(images[chosen])
            loss = functional.cross_entropy(scores, labels[chosen])
            if softened is not None:
                heat = recipe.temperature
                follow = functional.kl_div(
                    functional.log_softmax(scores / heat, 1), functional.softmax(softened[chosen] / heat, 1), reduction="batchmean"
                )
                loss = (1 - recipe.distil) * loss + recipe.distil * heat**2 * follow
            for gamma in gammas:
                loss = loss + recipe.gamma_l1 * gamma.abs().sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            check_finite(loss, *(weight.grad for weight in named.values() if weight.grad is not None), step=done, rate=rate)
            optimiser.step()
            if alive:
                with torch.no_grad():
                    for name, mask in alive.items():
                        named[name].mul_(mask)
            done += 1
    model.eval()


@torch.no_grad()
def _scores(model: nn.Module, images: Tensor, chunk: int = 500) -> Tensor:
    was_training = model.training
    model.eval()
    scores = torch.cat([model(images[begin : begin + chunk]) for begin in range(0, len(images), chunk)])
    model.train(was_training)
    return scores


def wrong(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Return how many of *images* the model classifies wrongly."""
    return int((_scores(model, images).argmax(1) != labels).sum())
