"""A conditional WGAN-GP of features: a generator, and a critic whose slope is held near 1.

Source: Gulrajani et al., *Improved Training of Wasserstein GANs*, 2017; conditions and features as GFR has them (Liu et al. 2020). The
slope of the critic, whose layers are few, is written out, so that its way back is of the first order like any other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from toolkit.learning.feature_vae import decoder

SLOPE = 0.2
"""Of the critic's LeakyReLU below 0."""


class Critic(nn.Module):
    """Says how real features (n, d) beside their one-hot classes look: linear, LeakyReLU, linear, LeakyReLU, linear."""

    def __init__(self, feature_size: int, num_classes: int, hidden: int) -> None:
        super().__init__()
        self.feature_size = feature_size
        self.first, self.second = nn.Linear(feature_size + num_classes, hidden), nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 1)

    def forward(self, given: Tensor) -> Tensor:
        """Return what is thought of features and one-hot classes side by side, (n, 1)."""
        found: Tensor = self.last(leaky_relu(self.second(leaky_relu(self.first(given), SLOPE)), SLOPE))
        return found

    def steepness(self, given: Tensor) -> Tensor:
        """Return the length of the slope along the features, (n,)."""
        below = self.first(given)
        above = self.second(leaky_relu(below, SLOPE))
        slope = (self.last.weight * _factor(above)) @ self.second.weight
        slope = (slope * _factor(below)) @ self.first.weight[:, : self.feature_size]
        found: Tensor = torch.linalg.vector_norm(slope, dim=1)
        return found


def _factor(values: Tensor) -> Tensor:
    """Return the slope of LeakyReLU at *values*; it does not change with them."""
    return torch.where(values.detach() > 0, 1.0, SLOPE)


class FeatureGan(nn.Module):
    """A generator of features from noise and classes, shaped as the decoder of `toolkit.learning.feature_vae`, and its critic."""

    def __init__(self, feature_size: int, num_classes: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.latent, self.num_classes = latent, num_classes
        self.decoder = decoder(feature_size, num_classes, hidden, latent)
        self.critic = Critic(feature_size, num_classes, hidden)

    def decode(self, codes: Tensor) -> Tensor:
        """Return features (n, d) of latents and one-hot classes side by side, (n, latent + K)."""
        found: Tensor = self.decoder(codes)
        return found

    def judged(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of latents and one-hot classes side by side, and what the critic thinks of them."""
        features = self.decode(codes)
        return features, self.critic(torch.cat([features, codes[:, self.latent :]], 1))
