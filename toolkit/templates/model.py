"""Mine: a network to begin with. Two convolutions and a linear layer.

    toolkit simulate SCENARIO.yaml --set program.task.model=mine:Mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


@final
class Mine(nn.Module):
    """A small network: `num_classes` and `in_channels` are given by the data set, other arguments by the scenario (``options``)."""

    def __init__(self, num_classes: int, in_channels: int, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.classifier = nn.Linear(2 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (batch, classes) of images (batch, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores
