"""Answers by the nearest mean of features, as a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from toolkit.methods.continual.network import ContinualNet


class NearestMean(nn.Module):
    """A continual network whose answer is the class whose mean of features is nearest to an image's."""

    means: Tensor

    def __init__(self, net: ContinualNet, means: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("means", means)

    def forward(self, images: Tensor) -> Tensor:
        """Return minus the distances (n, K); minus infinity for classes without a mean."""
        features = normalize(self.net.plain_features(self.net.plain_encode(images)))
        distance = torch.linalg.vector_norm(features[:, None] - self.means, dim=2)  # ONNX has no cdist
        scores: Tensor = -distance.masked_fill((self.means == 0).all(1), float("inf"))
        return scores
