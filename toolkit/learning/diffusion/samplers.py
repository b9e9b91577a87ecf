"""Samplers: from noise to images in a number of steps. All clip the predicted image to [-1, 1], and visit evenly
spaced indices down to 0.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion.drawing import told
from toolkit.learning.diffusion.parameterisation import predicted_eps
from toolkit.learning.diffusion.schedule import Schedule

SAMPLERS = ("ddim", "ddpm", "dpm_solver", "consistency")


@torch.no_grad()
def sample(
    model: nn.Module, noise: Tensor, steps: int, *, schedule: Schedule, sampler: str = "ddim", generator: torch.Generator | None = None,
    labels: Tensor | None = None,
) -> Tensor:
    """Return images made of *noise* (n, channels, side, side) in *steps* calls of *model*, which predicts images.

    ``ddim`` draws nothing (Song et al. 2021, arXiv 2010.02502); ``ddpm`` is ancestral; ``dpm_solver`` is DPM-Solver++(2M) (Lu et al. 2022,
    arXiv 2211.01095), whose first and last step are of first order; ``consistency`` predicts the image and puts noise on it again (Song et
    al. 2023, arXiv 2303.01469). *generator* is needed where noise is drawn, *labels* (n,) where the network is told the class.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: '{sampler}' is none of {', '.join(SAMPLERS)}")
    if sampler in ("ddpm", "consistency") and generator is None:
        raise ValueError(f"sampler {sampler}: draws noise, and so needs a generator")
    z, before, predict = noise, None, told(model, labels)
    path = schedule.indices(steps)
    for place, (now, then) in enumerate(pairwise(path)):
        t = torch.full((len(z),), now, dtype=torch.int64, device=z.device)
        x = predict(z, t).clamp(-1, 1)
        alpha, sigma, alpha2, sigma2 = (float(values[index]) for index in (now, then) for values in (schedule.alpha, schedule.sigma))
        if sampler == "ddim":
            z = alpha2 * x + sigma2 / sigma * (z - alpha * x)
        elif sampler == "consistency":
            z = x if then == 0 else alpha2 * x + sigma2 * _drawn(z, generator)
        elif sampler == "ddpm":
            kept = (alpha / alpha2) ** 2
            mean = alpha2 * (1 - kept) / sigma**2 * x + alpha / alpha2 * (sigma2 / sigma) ** 2 * z
            z = mean + (sigma2 / sigma * (1 - kept) ** 0.5 * _drawn(z, generator) if then else 0.0)
        else:
            h = _half_log_snr(schedule, then) - _half_log_snr(schedule, now)
            second = before is not None and place < len(path) - 2
            if second and before is not None:
                r = (_half_log_snr(schedule, now) - _half_log_snr(schedule, path[place - 1])) / h
                mixed = (1 + 0.5 / r) * x - 0.5 / r * before
            else:
                mixed = x
            z, before = sigma2 / sigma * z - alpha2 * float(torch.expm1(torch.tensor(-h))) * mixed, x
    return z.clamp(-1, 1)


def ddim_step(x: Tensor, z: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> Tensor:
    """Return z at a lower noise, (alpha, sigma) *then*, if *z* at *now* has the image *x*; nothing is clipped."""
    return then[0] * x + then[1] * predicted_eps(x, z, *now)


def _half_log_snr(schedule: Schedule, index: int) -> float:
    return float((schedule.alpha[index] / schedule.sigma[index]).log())


def _drawn(z: Tensor, generator: torch.Generator | None) -> Tensor:
    assert generator is not None
    return torch.randn(z.shape, generator=generator, device=generator.device, dtype=z.dtype).to(z.device)
