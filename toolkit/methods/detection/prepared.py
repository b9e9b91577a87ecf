"""What the arms of a seed have in common, made once per process: the first detector; and networks as settings say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.datasets.detection.images import DetectionSet
from toolkit.errors import DataError
from toolkit.learning.detection import fit
from toolkit.learning.detection.inversion import Generated, InversionRecipe, generate
from toolkit.learning.detection.ratios import RatioHistogram
from toolkit.learning.random import torch_generator
from toolkit.methods.detection.course import course
from toolkit.methods.detection.settings import BaseSettings, DataSettings, NetSettings, SplitSettings
from toolkit.models.detection.detector import BUILDERS, Detector


def network(net: NetSettings, classes: int, generator: torch.Generator) -> Detector:
    """Return the detector of *net* for so many classes.

    Raises:
        ModelError: it cannot be built so.
        DataError: the weights of its backbone are not in the file that is named.
    """
    options: dict[str, Any] = {"widths": tuple(net.widths)} if net.backbone == "compact" else {}
    if net.channels is not None:
        options["channels"] = net.channels
    found = BUILDERS[net.backbone](classes=classes, generator=generator, **options)
    if net.weights is not None:
        load_backbone(found, net.weights)
    if net.freeze_norms:
        found.freeze_norms()
    if net.freeze_first:
        found.backbone.first_stages().requires_grad_(False)
    return found


def load_backbone(detector: Detector, path: str) -> None:
    """Put the weights of a file, safetensors or torch, into the backbone; a classifier's among them are left out.

    Raises:
        DataError: it is no such file, or a weight is missing or of another shape.
    """
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            weights: dict[str, Tensor] = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        own = {name: value for name, value in weights.items() if not name.startswith("fc.")}
        detector.backbone.load_state_dict(own)
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        raise DataError(f"program.net.weights: {path} does not hold the weights of this backbone ({str(error)[:200]})") from error


@lru_cache(maxsize=3)
def first_detector(
    data: DataSettings, split: SplitSettings, net: NetSettings, base: BaseSettings, seed: int, place: str = "cpu"
) -> Detector:
    """Return the detector of the first step's classes; a pure function of its arguments. Callers copy it."""
    found = course(data, split)
    detector = network(net, found.sizes[0], _seeded(seed)).to(place)
    return _fitted(detector, of_first_classes(found.steps[0], found.sizes[0]), base.training.epochs, base, seed)


def joint_detector(
    data: DataSettings, split: SplitSettings, net: NetSettings, base: BaseSettings, seed: int, place: str = "cpu"
) -> Detector:
    """Return a detector of all classes, trained on all images at once."""
    found = course(data, split)
    detector = network(net, sum(found.sizes), _seeded(seed)).to(place)
    return _fitted(detector, found.everything(), base.joint_epochs, base, seed)


def of_first_classes(data: DetectionSet, classes: int) -> DetectionSet:
    """Return *data* with the first *classes* classes alone, for a detector that knows no others."""
    return DetectionSet(data.name, data.pixels, data.side, data.annotations, data.ids[:classes], data.originals)


def _seeded(seed: int) -> torch.Generator:
    return torch_generator(np.random.default_rng([seed, 5]))


def _fitted(detector: Detector, data: DetectionSet, epochs: int, base: BaseSettings, seed: int) -> Detector:
    training = base.training
    return fit(
        detector, data, epochs=epochs, batch=training.batch, rate=training.lr, rule=training.rule, flip=training.flip, seed=seed
    )


_INVERTED: dict[tuple[object, ...], Generated] = {}
MOST_INVERTED = 3


def inverted(
    detector: Detector, shapes: list[RatioHistogram], recipe: InversionRecipe, seed: int, at_once: int | None, *,
    make: Callable[..., Generated] = generate,
) -> Generated:
    """Return the images that *detector* is made to show; arms that begin with the same detector share them within a process."""
    weights = hashlib.blake2b()
    for value in detector.state_dict().values():
        weights.update(value.detach().cpu().contiguous().numpy().tobytes())
    key = (weights.digest(), tuple(each.counts.tobytes() + each.limits.tobytes() for each in shapes), recipe, seed, at_once)
    if key not in _INVERTED:
        while len(_INVERTED) >= MOST_INVERTED:
            _INVERTED.pop(next(iter(_INVERTED)))
        _INVERTED[key] = make(detector, shapes, recipe, np.random.default_rng([seed, 9]), batch=at_once)
    return _INVERTED[key]
