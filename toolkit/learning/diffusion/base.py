"""The base of it all: a network that predicts images from noisy ones, trained until an average of its weights samples well."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.learning.adam import Adam
from toolkit.learning.diffusion.drawing import Images, told
from toolkit.learning.diffusion.optimiser import average, clip
from toolkit.learning.diffusion.parameterisation import Weight, noisy, weighted_error
from toolkit.learning.diffusion.schedule import Schedule
from toolkit.learning.plain_state import plain, restored
from toolkit.learning.train_state import TrainState


@dataclass(frozen=True)
class BaseRecipe:
    """How a base is trained."""

    steps: int
    batch: int
    lr: float
    weight: Weight = "truncated_snr"
    decay: float = 0.99
    """Of the exponential average of weights."""
    warmup: int = 50


class BaseTraining:
    """A network on its way to predicting images; stoppable between any two steps."""

    def __init__(
        self, network: nn.Module, images: Images, recipe: BaseRecipe, *, schedule: Schedule, seeded: Callable[..., torch.Generator]
    ) -> None:
        """*network* is trained in place; *seeded* gives the generator of a name and a step."""
        self.images, self.recipe, self.schedule, self.seeded = images, recipe, schedule, seeded
        self.state = TrainState.create(network, None)
        self.adam, self.mean = Adam.of([self.state.weights]), self.state.weights.clone()
        self.step = 0

    def take_step(self) -> float:
        """Take one step and return its loss."""
        recipe, step = self.recipe, self.step
        draws = self.seeded("base", step)
        x, labels = self.images.draw(recipe.batch, draws)
        t = torch.randint(self.schedule.most + 1, (recipe.batch,), generator=draws)
        z = noisy(x, t, self.schedule, draws)
        rate = recipe.lr * min(1.0, (step + 1) / recipe.warmup)
        loss = weighted_error(told(self.state.model, labels)(z, t), x, t, self.schedule, recipe.weight)
        self.state.step = step
        self.state.backward(loss, rate=rate)
        clip(self.state.gradient)
        self.adam.step([self.state.weights], [self.state.gradient], rate)
        average(self.mean, self.state.weights, min(recipe.decay, (1 + step) / (10 + step)))
        self.step += 1
        return float(loss.detach())

    def run(self, on_step: Callable[[int], None] | None = None) -> nn.Module:
        """Take the steps that are left, each told to *on_step*, and return a frozen network with the averaged weights."""
        while self.step < self.recipe.steps:
            self.take_step()
            if on_step is not None:
                on_step(self.step)
        self.state.weights.copy_(self.mean)
        return copy.deepcopy(self.state.model).requires_grad_(False).eval()

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how the training goes on, as plain values and tensors of its own."""
        return {"step": self.step, "network": self.state.state_dict(), "adam": plain(self.adam), "mean": self.mean.clone()}

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.step = kept["step"]
        self.state.load_state_dict(kept["network"])
        self.adam = restored(self.adam, kept["adam"])
        self.mean.copy_(kept["mean"])


def trained_base(
    network: nn.Module, images: Tensor, *, steps: int, batch: int, lr: float, schedule: Schedule, seeded: Callable[..., torch.Generator],
) -> nn.Module:
    """Return *network* with the averaged weights of a training on *images* (n, channels, side, side) in [-1, 1]; it is trained in place."""
    return BaseTraining(network, Images(images), BaseRecipe(steps, batch, lr), schedule=schedule, seeded=seeded).run()
