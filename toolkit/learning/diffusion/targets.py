"""What a student of half the steps is to say: the image from which one of its steps lands where two of the teacher's do.

Source: Salimans, Ho 2022 (arXiv 2202.00512), algorithm 2. Nothing is clipped inside the target.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toolkit.learning.diffusion.samplers import ddim_step
from toolkit.learning.diffusion.schedule import Schedule


@torch.no_grad()
def halving_target(
    teacher: Callable[[Tensor, Tensor], Tensor], z: Tensor, t: Tensor, stride: int, schedule: Schedule
) -> tuple[Tensor, Tensor]:
    """Return the target (n, ...) and z two steps later, of noisy images *z* at indices *t* (n,).

    Args:
        teacher: predicts images.
        stride: indices that one step of the teacher goes down.
    """
    now, middle, then = (schedule.at(t - stride * place, z) for place in range(3))
    z1 = ddim_step(teacher(z, t), z, now, middle)
    z2 = ddim_step(teacher(z1, t - stride), z1, middle, then)
    ratio = then[1] / now[1]
    return (z2 - ratio * z) / (then[0] - ratio * now[0]), z2
