"""Networks that look at images for a loss or a metric: the last map after its ReLU, and its mean over the places."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.learning.adam import Adam
from toolkit.learning.diffusion.schedule import DiffusionError
from toolkit.learning.train_state import TrainState
from toolkit.models import fresh


class SmallClassifier(nn.Module):
    """Three convolutions and a classifier: what looks at images unless another network is given."""

    def __init__(self, in_channels: int, widths: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(in_channels, widths[0], 3, padding=1), nn.Conv2d(widths[0], widths[1], 3, stride=2, padding=1)
        self.conv3, self.classifier = nn.Conv2d(widths[1], widths[1], 3, padding=1), nn.Linear(widths[1], classes)

    def maps(self, images: Tensor) -> Tensor:
        """Return the last map (n, channels, height / 2, width / 2), at least 0."""
        found: Tensor = functional.relu(self.conv3(functional.relu(self.conv2(functional.relu(self.conv1(images))))))
        return found

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.classifier(pooled(self.maps(images)))
        return scores


class FeatureNet(nn.Module):
    """A classifier, of which only `maps` is used once it is trained."""

    def __init__(self, in_channels: int, channels: int, classifier: nn.Module) -> None:
        """*classifier* takes images of *in_channels* and has a method `maps` that gives (n, *channels*, height, width).

        Raises:
            DiffusionError: it has none.
        """
        super().__init__()
        if not callable(getattr(classifier, "maps", None)):
            raise DiffusionError(
                f"feature network: {type(classifier).__name__} has no method maps(images), its last map (n, channels, height, width)"
            )
        self.in_channels, self.channels, self.classifier = in_channels, channels, classifier

    def _look(self, images: Tensor) -> Tensor:
        look: Callable[[Tensor], Tensor] = getattr(self.classifier, "maps")  # noqa: B009 - which any module may have
        return look(images)

    @property
    def device(self) -> torch.device:
        """Where its weights lie, and images have to."""
        return next(self.classifier.parameters()).device

    def maps(self, images: Tensor) -> Tensor:
        """Return the last map (n, channels, height, width), at least 0.

        Raises:
            DiffusionError: images have other channels than those it was trained on.
        """
        if images.shape[1] != self.in_channels:
            raise DiffusionError(f"feature network: it looks at {self.in_channels} channels, and images have {images.shape[1]}")
        return self._look(images)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.classifier(images)
        return scores


def small_features(in_channels: int, widths: tuple[int, int], classes: int, generator: torch.Generator | None = None) -> FeatureNet:
    """Return the small feature network, untrained."""
    return FeatureNet(in_channels, widths[1], fresh(lambda: SmallClassifier(in_channels, widths, classes), generator, "he"))


def pooled(maps: Tensor) -> Tensor:
    """Return the mean over places (n, channels)."""
    return maps.mean((2, 3))


def trained_features(
    images: Tensor, labels: Tensor, *, widths: tuple[int, int] = (32, 64), steps: int = 400, batch: int = 64, seed: int = 0,
    build: Callable[[torch.Generator], FeatureNet] | None = None,
) -> FeatureNet:
    """Return a frozen classifier of *images* (n, channels, side, side) in [-1, 1] with *labels* (n,).

    It is the small one of *widths*, or what *build* makes; with no *steps* that is taken as it is.

    Raises:
        DiffusionError: a class between others has no image.
    """
    classes = int(labels.max()) + 1
    counts = torch.bincount(labels, minlength=classes)
    if int(counts.min()) == 0:
        raise DiffusionError(f"labels: class {int(counts.argmin())} has no image; every class from 0 to {classes - 1} needs some")
    generator = torch.Generator().manual_seed(seed)
    made = small_features(images.shape[1], widths, classes, generator) if build is None else build(generator)
    net = made.to(images.device).train()
    state = TrainState.create(net, None)
    adam = Adam.of([state.weights])
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        state.backward(functional.cross_entropy(net(images[chosen]), labels[chosen]), rate=2e-3)
        adam.step([state.weights], [state.gradient], 2e-3)
        state.step += 1
    return net.requires_grad_(False).eval()


def fingerprint(net: nn.Module) -> str:
    """Return eight hexadecimal digits that say which network it is."""
    digest = hashlib.blake2b(digest_size=4)
    for tensor in net.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
