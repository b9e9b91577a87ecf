"""Probes: gradients that are timed to find a machine's constants. Between them they ask for everything that a machine does differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.work import Work
from toolkit.learning.meter import CallCosts, gradient_work
from toolkit.learning.train_state import TrainState
from toolkit.models.condensenet import condensenet
from toolkit.models.densenet import densenet_bc
from toolkit.models.hcgnet import hcgnet_a1
from toolkit.models.lenet import lenet5, lenet_300_100
from toolkit.models.mlp import mlp
from toolkit.models.resnet_cifar import resnet20
from toolkit.models.small_cnn import small_cnn
from toolkit.models.vgg import vgg16
from toolkit.models.wide_resnet import wide_resnet

RATE = 1e-3


class Encoder(nn.Module):
    """A transformer encoder with a classifier on the mean of its outputs, for sequences (n, length, width)."""

    def __init__(self, width: int, heads: int, layers: int, classes: int = 10) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.encoder(tokens).mean(1))
        return scores


@dataclass(frozen=True)
class Probe:
    """A network and the shape of a batch."""

    name: str
    """``resnet20 b8``: network and batch."""
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def work(self) -> Work:
        """Return what one gradient asks of the machine, as a computation."""
        return gradient_work(CallCosts(self.build()), self.shape, loss=labelled).beyond_first()

    def gradient(self, device: str = "cpu") -> Callable[[], None]:
        """Return what takes one gradient: the batch is there, the loss is a cross entropy, the gradient one vector."""
        state = TrainState.create(self.build().to(device).train(), None)
        inputs = torch.randn(self.shape, generator=torch.Generator().manual_seed(0)).to(device)

        def take() -> None:
            state.backward(labelled(state.model(inputs)), rate=RATE)

        return take


def labelled(scores: Tensor) -> Tensor:
    """Return the cross entropy of *scores* (n, classes) with labels."""
    return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))


def encoder(width: int, heads: int, layers: int) -> Encoder:
    """Return an encoder with the weights of seed 0; the global random state of torch stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(width, heads, layers)


def products() -> nn.Module:
    """Return two large matrix products and little else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024))


BETWEEN = Probe("small_cnn b16", small_cnn, (16, 1, 8, 8))
"""What is computed between two messages that are timed."""

FITTED = (
    Probe("small_cnn b1", small_cnn, (1, 1, 8, 8)), BETWEEN,
    Probe("lenet5 b32", lenet5, (32, 1, 28, 28)), Probe("resnet20 b8", resnet20, (8, 3, 32, 32)),
    Probe("mlp b1", lambda: mlp(image_size=8), (1, 1, 8, 8)), Probe("lenet_300_100 b64", lenet_300_100, (64, 1, 28, 28)),
    Probe("products b256", products, (256, 1024)), Probe("small_cnn b64", small_cnn, (64, 1, 8, 8)),
    Probe("lenet5 b1", lenet5, (1, 1, 28, 28)), Probe("condensenet b2", lambda: condensenet(blocks=(4, 4, 4)), (2, 3, 32, 32)),
)
"""Starts are most of `small_cnn` and `mlp`, the rate of convolutions of `lenet5`, `resnet20` and, in groups, `condensenet`, the rate of
products of `products`, bytes of `lenet_300_100`. The last three were chosen among nineteen gradients as those with which the others of
these are foretold best; none of `HELD` took part in that.
"""

HELD = (
    Probe("resnet20 b1", resnet20, (1, 3, 32, 32)), Probe("vgg16 b1", vgg16, (1, 3, 32, 32)),
    Probe("wide_resnet b8", wide_resnet, (8, 3, 32, 32)), Probe("hcgnet_a1 b4", hcgnet_a1, (4, 3, 32, 32)),
    Probe("densenet_bc b8", lambda: densenet_bc(depth=40), (8, 3, 32, 32)),
    Probe("encoder-256 b4", lambda: encoder(256, 8, 3), (4, 64, 256)),
)
"""Gradients that nothing is fitted to, one of them a transformer's, two of a single image."""
