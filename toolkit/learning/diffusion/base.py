"""The base of it all: a network that predicts images from noisy ones, trained until an average of its weights samples well."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from toolkit.learning.adam import Adam
from toolkit.learning.diffusion.optimiser import average, clip
from toolkit.learning.diffusion.parameterisation import Weight, noisy, weighted_error
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.learning.train_state import TrainState


def trained_base(
    network: nn.Module, images: Tensor, *, steps: int, batch: int, lr: float, schedule: Schedule, seeded: Callable[..., torch.Generator],
    weight: Weight = "truncated_snr", decay: float = 0.99, warmup: int = 50, on_step: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Return *network* with the averaged weights of a training on *images* (n, channels, side, side) in [-1, 1]; it is trained in place.

    Args:
        seeded: gives the generator of a name and a step.
        decay: of the exponential average.
        on_step: told each step and its loss.
    """
    state = TrainState.create(network, None)
    adam, mean = Adam.of([state.weights]), state.weights.clone()
    for step in range(steps):
        draws = seeded("base", step)
        x = images[torch.randint(len(images), (batch,), generator=draws)]
        t = torch.randint(schedule.most + 1, (batch,), generator=draws)
        z = noisy(x, t, schedule, draws)
        rate = lr * min(1.0, (step + 1) / warmup)
        loss = weighted_error(network(z, t), x, t, schedule, weight)
        state.step = step
        state.backward(loss, rate=rate)
        clip(state.gradient)
        adam.step([state.weights], [state.gradient], rate)
        average(mean, state.weights, min(decay, (1 + step) / (10 + step)))
        if on_step is not None:
            on_step(step, float(loss.detach()))
    state.weights.copy_(mean)
    return copy.deepcopy(network).requires_grad_(False).eval()
