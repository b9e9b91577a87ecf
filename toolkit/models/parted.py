"""Any network in two parts: what it does up to its last linear layer, and that layer.

Continual learning and whatever else looks at features needs both apart. Networks of this package have them as `features` and
`classifier`; of any other the layer is found by running it once, or named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.models import ModelError

TOLERANCE = 1e-4
"""Largest difference of a score between the network and its two parts, as a share of the largest score."""


class Parted(nn.Module):
    """A *network* without the linear layer at *path*, and that layer as `classifier`.

    Features are what *body*, a module or method of the network by its path, gives; without one they are what the network gives
    when the layer passes on what it is given.
    """

    def __init__(self, network: nn.Module, path: str, body: str | None = None) -> None:
        super().__init__()
        layer = network.get_submodule(path)
        assert isinstance(layer, nn.Linear)
        network.set_submodule(path, nn.Identity())
        self.network = network
        self.classifier = layer
        self.path = path
        self.body = body

    def features(self, images: Tensor) -> Tensor:
        """Return what the classifier is given (n, d)."""
        found: Tensor = (self.network if self.body is None else _at(self.network, self.body))(images)
        return found

    def whole_state(self) -> dict[str, Tensor]:
        """Return weights and buffers by the names that they have in the network as it was before it was parted."""
        of_layer = {f"{self.path}.{name}": tensor for name, tensor in self.classifier.state_dict().items()}
        return {**self.network.state_dict(), **of_layer}

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (n, classes)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


def has_parts(model: nn.Module) -> bool:
    """Whether *model* has a linear `classifier` and a method or module `features` already."""
    return isinstance(getattr(model, "classifier", None), nn.Linear) and callable(getattr(model, "features", None))


def in_parts(model: nn.Module, shape: Sequence[int], *, features: str | None = None, classifier: str | None = None) -> nn.Module:
    """Return *model*, for images of *shape* (channels, height, width), with `features` and `classifier`; what has both stays as it is.

    The parts are held against the whole on a batch of noise. *model* itself is taken apart.

    Args:
        features: path of the module or method of *model* that gives features; without it whatever comes before the classifier.
        classifier: path of the linear layer; without it the one whose result is the network's.

    Raises:
        ModelError: there is no such layer or module, or the two parts do not give what the whole does; one sentence.
    """
    if features is None and classifier is None and has_parts(model) and _parts_are_enough(model, shape):
        return model
    name = type(model).__name__
    first = next(model.parameters(), None)
    if first is None:
        raise ModelError(f"{name}: has no weights")
    noise = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0)).to(first)
    was_training = model.training
    model.eval()
    try:
        path, whole = _last_linear(model, noise, classifier)
        if features is not None and not callable(_at(model, features)):
            raise ModelError(f"{name}: features '{features}' is no module or method of it")
        parted = Parted(model, path, features).eval()
        _compare(name, parted, noise, whole)
    finally:
        model.train(was_training)
    return parted.train(was_training)


@torch.no_grad()
def _parts_are_enough(model: Any, shape: Sequence[int]) -> bool:
    """Whether `features` and `classifier` one after the other are all that *model* does; others pool or flatten between them."""
    noise = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0)).to(next(model.parameters()))
    training = model.training
    model.eval()
    try:
        found = model.features(noise)
        return found.dim() == 2 and torch.allclose(model.classifier(found), model(noise), rtol=TOLERANCE, atol=TOLERANCE)
    except (RuntimeError, ValueError):  # told better where it is run as a whole
        return False
    finally:
        model.train(training)


def _last_linear(model: nn.Module, noise: Tensor, named: str | None) -> tuple[str, Tensor]:
    """Return the path of the classifier and the scores of the whole network."""
    name = type(model).__name__
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    if named is not None and named not in layers:
        raise ModelError(f"{name}: classifier '{named}' is not one of its linear layers ({', '.join(layers) or 'it has none'})")
    results: list[tuple[str, Tensor]] = []

    def noting(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _given, result: results.append((path, result))

    handles = [layer.register_forward_hook(noting(path)) for path, layer in layers.items()]
    try:
        whole = model(noise)
    except (RuntimeError, ValueError) as error:
        size, why = " x ".join(map(str, noise.shape[1:])), str(error).partition("\n")[0]
        raise ModelError(f"{name}: does not take images of {size} ({why})") from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(whole, Tensor) or whole.dim() != 2 or len(whole) != len(noise):
        raise ModelError(f"{name}: must give one row of scores for each image")
    if named is not None:
        return named, whole.detach()
    found = [path for path, result in results if result is whole]
    if not found:
        last = whole.grad_fn.name().removesuffix("Backward0") if whole.grad_fn is not None else "something else"
        raise ModelError(f"{name}: its scores come from {last}, not from a linear layer; name one with classifier (and features)")
    if sum(path == found[0] for path, _ in results) > 1:
        raise ModelError(f"{name}: its last linear layer {found[0]} is called more than once")
    return found[0], whole.detach()


@torch.no_grad()
def _compare(name: str, parted: Parted, noise: Tensor, whole: Tensor) -> None:
    try:
        features = parted.features(noise)
        scores = parted.classifier(features)
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise ModelError(f"{name}: cannot be parted at {parted.path} ({why}); name features and classifier") from error
    if features.dim() != 2 or scores.shape != whole.shape or not torch.allclose(scores, whole, rtol=TOLERANCE, atol=TOLERANCE):
        raise ModelError(f"{name}: {parted.path} after its features does not give its scores; name features and classifier")


def _at(model: nn.Module, path: str) -> Any:
    """What lies at a dotted *path* of a network: a module or a method; None where nothing does."""
    found: Any = model
    for step in path.split("."):
        found = getattr(found, step, None)
    return found
