"""What a network says about a noisy image: the image (x), the noise (eps) or v, and how one follows from the other."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion.schedule import Schedule

Parameterisation = Literal["x", "v", "eps"]
Weight = Literal["truncated_snr", "snr_plus_one", "none"]


def predicted_x(output: Tensor, z: Tensor, alpha: Tensor, sigma: Tensor, kind: Parameterisation = "x") -> Tensor:
    """Return the image that *output* stands for: v = alpha eps - sigma x (Salimans, Ho 2022, arXiv 2202.00512)."""
    if kind == "x":
        return output
    return alpha * z - sigma * output if kind == "v" else (z - sigma * output) / alpha


def predicted_eps(x: Tensor, z: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the noise in *z* if its image is *x*."""
    return (z - alpha * x) / sigma


class Denoiser(nn.Module):
    """A network with what it predicts, as a function from noisy images and indices to images, not clipped."""

    def __init__(self, network: nn.Module, schedule: Schedule | None = None, kind: Parameterisation = "x") -> None:
        super().__init__()
        self.network, self.schedule, self.kind = network, schedule or Schedule(), kind

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        output = self.network(z, t)
        return output if self.kind == "x" else predicted_x(output, z, *self.schedule.at(t, z), kind=self.kind)


def weighted_error(x: Tensor, target: Tensor, t: Tensor, schedule: Schedule, weight: Weight = "truncated_snr", most: float = 1e4) -> Tensor:
    """Return the mean over the batch of *weight* times the squared error of *x*; weights are capped at *most*."""
    errors = (x - target).square().flatten(1).mean(1)
    if weight == "none":
        return errors.mean()
    factors = schedule.truncated_snr(t) if weight == "truncated_snr" else schedule.snr_plus_one(t)
    return (factors.clamp(max=most).to(errors) * errors).mean()


def noisy(x: Tensor, t: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """Return z_t of images *x* at indices *t*; the noise comes from *generator*, on its device."""
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    alpha, sigma = schedule.at(t, x)
    return alpha * x + sigma * noise
