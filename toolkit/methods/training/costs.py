"""What a step of training and an inference ask of a machine, counted once per network and batch."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.complexity import parameters
from toolkit.learning.meter import update_work as sgd_work
from toolkit.learning.work import Count, count
from toolkit.methods.task import TaskSpec
from toolkit.methods.training.recipe import Recipe
from toolkit.models.evolving import Evolving


def work_of_step(task: TaskSpec, recipe: Recipe) -> Work:
    """Return the work of one step: augmentation, gradient, update; every kernel is a launch."""
    counted, size, pixels = _gradient(task.model_dump_json(), recipe.batch)
    nbytes = recipe.passes * FLOAT_BYTES * pixels
    return _all_launches(counted) + update_work(size, recipe) + Work(0.0, nbytes, nbytes, recipe.passes)


@lru_cache(maxsize=64)
def _gradient(task: str, batch: int) -> tuple[Count, int, int]:
    """The count of a gradient, the number of parameters, and that of the pixels of a batch."""
    model, image_shape = _fresh(task)
    shape = (batch, *image_shape)
    return count(model, shape, training=True, loss=_loss), parameters(model), math.prod(shape)


def work_in_use(task: TaskSpec, batch: int) -> Work:
    """Return the work of classifying one batch with the trained network."""
    return _all_launches(_inference(task.model_dump_json(), batch)[0])


def sizes_in_use(task: TaskSpec) -> dict[str, int]:
    """Return parameters, multiply-adds and peak activation bytes per image of the trained network; see `toolkit.learning.complexity`."""
    counted, size = _inference(task.model_dump_json(), 1)
    return {"parameters": size, "multiply_adds": counted.weight_flops // 2, "peak_activation_bytes": counted.live_bytes}


@lru_cache(maxsize=64)
def _inference(task: str, batch: int) -> tuple[Count, int]:
    """The count of an inference with the trained network, and its number of parameters."""
    model, image_shape = _fresh(task)
    model = finished(model)
    return count(model, (batch, *image_shape), training=False), parameters(model)


def finished(model: nn.Module) -> nn.Module:
    """Make of a trained network, in place, what is used: an evolving one finishes, all others stay as they are."""
    if isinstance(model, Evolving):
        model.finish()
    return model


def _fresh(task: str) -> tuple[nn.Module, tuple[int, ...]]:
    loaded = TaskSpec.model_validate_json(task).load()
    return loaded.build(torch.Generator().manual_seed(0)), tuple(loaded.data.train_images.shape[1:])


def update_work(size: int, recipe: Recipe) -> Work:
    """Return the work of `updated` on *size* weights held as one vector, and of setting the gradients to zero before."""
    return sgd_work(
        size, momentum=recipe.momentum > 0, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay > 0, zeroed=True
    )


def updated(weights: Tensor, gradient: Tensor, momentum: Tensor, lr: float, recipe: Recipe) -> None:
    """Change *weights* and *momentum* in place by one step of SGD; *gradient* is used up."""
    if recipe.weight_decay:
        gradient.add_(weights, alpha=recipe.weight_decay)
    if recipe.momentum:
        momentum.mul_(recipe.momentum).add_(gradient)
        if recipe.nesterov:
            gradient.add_(momentum, alpha=recipe.momentum)
        else:
            gradient = momentum
    weights.add_(gradient, alpha=-lr)


def _loss(scores: Tensor) -> Tensor:
    return functional.cross_entropy(scores, torch.zeros_like(scores))


def _all_launches(counted: Count) -> Work:
    """All kernels but the first, which the device charges anyway."""
    return Work(counted.flops, counted.read_bytes, counted.write_bytes, max(0, counted.kernels - 1))
