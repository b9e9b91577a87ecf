"""What a step of training and an inference ask of a machine, counted once per network and batch, and what a whole run will take."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.device import Device
from toolkit.core.program import Estimate
from toolkit.core.work import Work
from toolkit.learning.complexity import parameters
from toolkit.learning.meter import CallCosts, Meter, gradient_work
from toolkit.learning.work import Count
from toolkit.methods.task import TaskSpec
from toolkit.methods.training.recipe import Recipe
from toolkit.models.evolving import Evolving


@lru_cache(maxsize=64)
def work_of_step(task: TaskSpec, recipe: Recipe) -> Work:
    """Return the work of one step: loading, augmentation, gradient with loss, update; every kernel is a launch."""
    costs, image_shape = _trained(task)
    shape = (recipe.batch, *image_shape)
    meter = Meter()
    meter.add(task.load().loading_work(recipe.batch))
    meter.elementwise(prod(shape), flops=0, reads=1, writes=1, launches=1)  # channels last
    meter.add(gradient_work(costs, shape, loss=_loss))
    count_update(meter, parameters(costs.network), recipe)
    meter.elementwise(prod(shape), flops=0, reads=recipe.passes, writes=recipe.passes, launches=recipe.passes)
    return meter.take(beyond_first=True)


@lru_cache(maxsize=64)
def work_in_use(task: TaskSpec, batch: int) -> Work:
    """Return the work of classifying one batch with the trained network."""
    meter = Meter()
    meter.add(_inference(task, batch).work)
    return meter.take(beyond_first=True)


def sizes_in_use(task: TaskSpec) -> dict[str, int]:
    """Return parameters, multiply-adds and peak activation bytes per image of the trained network; see `toolkit.learning.complexity`."""
    counted, size = _inference(task, 1), parameters(_used(task)[0].network)
    return {"parameters": size, "multiply_adds": counted.weight_flops // 2, "peak_activation_bytes": counted.live_bytes}


def estimate(task: TaskSpec, recipe: Recipe, inference_batches: list[int], device: Device) -> Estimate:
    """Return what a run takes on *device*: all steps, then the test set once in batches of each size."""
    loaded = task.load()
    charges = [(work_of_step(task, recipe), recipe.epochs * steps_per_epoch(len(loaded.data.train_labels), recipe))]
    charges += [(work_in_use(task, batch), inferences(len(loaded.data.test_labels), batch)) for batch in inference_batches]
    work = sum((each.times(count) for each, count in charges), Work())
    phases = ["gradient", *(f"inference_{batch}" for batch in inference_batches)]
    time_s = sum(device.duration_s(each, phase) * count for (each, count), phase in zip(charges, phases, strict=True))
    return Estimate(
        flops=work.flops, moved_nbytes=work.read_bytes + work.write_bytes, sent_nbytes=0.0,
        memory_nbytes=loaded.memory_bytes(recipe.batch), storage_nbytes=0.0, time_s=time_s, energy_j=time_s * device.busy_w,
    )


def steps_per_epoch(samples: int, recipe: Recipe) -> int:
    """Return how often *samples* training images fill a batch."""
    return max(1, samples // recipe.batch)


def inferences(samples: int, batch: int) -> int:
    """Return how many batches of test images are classified; what does not fill one is left out."""
    return max(1, samples // batch)


def finished(model: nn.Module) -> nn.Module:
    """Make of a trained network, in place, what is used: an evolving one finishes, all others stay as they are."""
    if isinstance(model, Evolving):
        model.finish()
    return model


@lru_cache(maxsize=16)
def _trained(task: TaskSpec) -> tuple[CallCosts, tuple[int, ...]]:
    """The network as it is trained, and the shape of an image."""
    loaded = task.load()
    return CallCosts(loaded.build(torch.Generator().manual_seed(0))), tuple(loaded.data.train_images.shape[1:])


@lru_cache(maxsize=16)
def _used(task: TaskSpec) -> tuple[CallCosts, tuple[int, ...]]:
    """The network as it is used."""
    loaded = task.load()
    return CallCosts(finished(loaded.build(torch.Generator().manual_seed(0)))), tuple(loaded.data.train_images.shape[1:])


def _inference(task: TaskSpec, batch: int) -> Count:
    costs, image_shape = _used(task)
    return costs.count("forward", (batch, *image_shape), training=False)


def count_update(meter: Meter, size: int, recipe: Recipe) -> None:
    """Count `updated` on *size* weights held as one vector."""
    meter.update(size, momentum=recipe.momentum > 0, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay > 0)


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
