"""The cosine schedule of noise, and the weights by which losses at different noise are compared.

Source: Nichol, Dhariwal 2021 (arXiv 2102.09672), eq. 17, as progressive distillation's reference has it: 1025 entries, of which index 0 is
not free of noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from toolkit.errors import UserError

MOST = 1024
"""Steps of the finest sampler; time indices go from 0 to this."""


class DiffusionError(UserError, ValueError):
    """Something of diffusion or distillation that cannot be done as asked."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """How much of the image (alpha) and of noise (sigma) is in z_t = alpha_t x + sigma_t eps, by index 0 to `most`, in float64."""

    most: int = MOST
    alpha: Tensor = field(init=False)
    sigma: Tensor = field(init=False)

    def __post_init__(self) -> None:
        count = self.most + 1
        u = torch.arange(count + 1, dtype=torch.float64) / count
        g = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
        kept = torch.cumprod(1 - (1 - g[1:] / g[:-1]).clamp(max=0.999), 0)
        object.__setattr__(self, "alpha", kept.sqrt())
        object.__setattr__(self, "sigma", (1 - kept).sqrt())

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma at indices *t* (n,), of the type of images *like* and shaped to multiply them."""
        shape = (-1, *([1] * (like.dim() - 1)))
        t = t.cpu()
        return self.alpha[t].to(like).view(shape), self.sigma[t].to(like).view(shape)

    def snr(self, t: Tensor) -> Tensor:
        """Return the signal-to-noise ratio alpha^2 / sigma^2 at indices *t*."""
        return (self.alpha[t.cpu()] / self.sigma[t.cpu()]) ** 2

    def truncated_snr(self, t: Tensor) -> Tensor:
        """Return max(1, SNR): the larger of the errors in x and in eps, in units of the error in x."""
        return self.snr(t).clamp(min=1.0)

    def snr_plus_one(self, t: Tensor) -> Tensor:
        """Return SNR + 1: the error in v, in units of the error in x."""
        return self.snr(t) + 1

    def indices(self, steps: int) -> list[int]:
        """Return the indices that a sampler of *steps* steps visits, from the noisiest to 0.

        Raises:
            DiffusionError: steps are no power of two, or more than the schedule has.
        """
        check_steps(steps, self.most)
        return list(range(self.most, -1, -(self.most // steps)))


def check_steps(steps: int, most: int = MOST) -> None:
    """Raise a `DiffusionError` where *steps* cannot be reached by halving *most*."""
    if steps < 1 or steps & (steps - 1):
        raise DiffusionError(f"steps: {steps} is no power of two; distillation halves them, so take 1, 2, 4, ... {most}")
    if steps > most:
        raise DiffusionError(f"steps: {steps} are more than the schedule's {most}")
