"""A conditional variational autoencoder of features: what features a class has, drawn from noise.

Source: Sohn, Lee, Yan 2015 for the conditional form; layers and sizes as eTag has them (arXiv 2304.10103): encoder and decoder of two and
three hidden layers, a one-hot class beside their inputs, ReLU on every layer of the decoder, since pooled features are never negative.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decoder(feature_size: int, num_classes: int, hidden: int, latent: int) -> nn.Sequential:
    """Return what makes features of latents and one-hot classes side by side."""
    return nn.Sequential(
        nn.Linear(latent + num_classes, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, feature_size), nn.ReLU()
    )


class FeatureVae(nn.Module):
    """Turns features and classes into latents, and latents and classes into features; 1,461,136 weights in the published size."""

    def __init__(self, feature_size: int, num_classes: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.latent, self.num_classes = latent, num_classes
        self.encoder = nn.Sequential(
            nn.Linear(feature_size + num_classes, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        )
        self.mean, self.log_variance = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = decoder(feature_size, num_classes, hidden, latent)

    def decode(self, codes: Tensor) -> Tensor:
        """Return features (n, d) of latents and one-hot classes side by side, (n, latent + K)."""
        found: Tensor = self.decoder(codes)
        return found


class Judged(nn.Module):
    """A generator before a frozen classifier, which judges what it makes: the task-oriented part of its loss comes from there."""

    def __init__(self, vae: FeatureVae, classifier: nn.Linear) -> None:
        super().__init__()
        self.vae, self.classifier = vae, classifier

    def reconstruct(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features, their scores, means and log variances of features, one-hot classes and noise side by side."""
        vae = self.vae
        known = given[:, : given.shape[1] - vae.latent]
        hidden = vae.encoder(known)
        mean, log_variance = vae.mean(hidden), vae.log_variance(hidden)
        latent = mean + (0.5 * log_variance).exp() * given[:, known.shape[1] :]
        features = vae.decode(torch.cat([latent, known[:, known.shape[1] - vae.num_classes :]], 1))
        return features, self.classifier(features), mean, log_variance

    def generate(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of latents and one-hot classes side by side, and their scores."""
        features = self.vae.decode(codes)
        return features, self.classifier(features)
