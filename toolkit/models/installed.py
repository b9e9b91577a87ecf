"""Networks of torchvision and timm by name, where these packages are installed: built anew, without anybody's weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from toolkit.models import ModelError

LIBRARIES = ("torchvision", "timm")
Builder = Callable[..., nn.Module]


def library_builder(library: str, name: str) -> Builder:
    """Return what builds the network *name* of a *library*, for so many classes and, of timm, channels."""
    return _of_timm(name) if library == "timm" else _of_torchvision(name)


def _of_torchvision(name: str) -> Builder:
    def build(num_classes: int = 1000, **options: Any) -> nn.Module:
        models = importlib.import_module("torchvision").models
        make = getattr(models, name, None)
        if not callable(make) or name.startswith("_"):
            raise ModelError(f"torchvision.models has no network '{name}'")
        built: nn.Module = make(num_classes=num_classes, **options)
        return built

    return build


def _of_timm(name: str) -> Builder:
    def build(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> nn.Module:
        built: nn.Module = importlib.import_module("timm").create_model(name, num_classes=num_classes, in_chans=in_channels, **options)
        return built

    return build
