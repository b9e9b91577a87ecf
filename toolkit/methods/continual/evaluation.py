"""Examinations: how well a learner does on the test samples of every task, with and without being told the task."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.datasets.streams import Stream
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.learner import Learner

BATCH = 500


class Evaluation(NamedTuple):
    """Accuracies of one examination."""

    class_il: list[float]
    """By task, among all classes that may be named."""
    task_il: list[float]
    """By task, among the classes of that task alone."""
    per_class: list[float]
    """By label; NaN where a class has no test samples."""


def evaluate(method: ContinualMethod, learner: Learner, state: Any, named: int) -> Evaluation:
    """Examine on all tasks of the stream; a class-incremental answer names one of the first *named* classes."""
    training = learner.net.training
    learner.net.eval()
    class_il, task_il = [], []
    right = torch.zeros(learner.num_classes, dtype=torch.float64, device=learner.device)
    count = torch.zeros_like(right)
    with torch.no_grad():
        for task in range(learner.stream.tasks):
            scores, labels = _scores(method, learner, state, learner.stream, task)
            hit = scores[:, :named].argmax(1) == labels
            task_classes = learner.stream.task_classes(task)
            told = scores[:, task_classes.start : task_classes.stop].argmax(1) + task_classes.start == labels
            class_il.append(float(hit.double().mean()))
            task_il.append(float(told.double().mean()))
            right.index_add_(0, labels, hit.double())
            count.index_add_(0, labels, torch.ones_like(hit, dtype=torch.float64))
    learner.net.train(training)
    return Evaluation(class_il, task_il, (right / count).tolist())


def _scores(method: ContinualMethod, learner: Learner, state: Any, stream: Stream, task: int) -> tuple[Tensor, Tensor]:
    test = stream.test(task)
    parts = [method.predict(learner, state, learner.clean(images)) for images in torch.split(test.images, BATCH)]
    return torch.cat(parts), test.labels


@torch.no_grad()
def recalibrate(learner: Learner) -> None:
    """Take BatchNorm's running statistics anew, as the mean over all samples in the memory; counted as the passes it takes."""
    norms = [module for module in learner.net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    learner.net.train()
    for slots in torch.split(torch.arange(len(learner.memory())), BATCH):
        maps, _ = learner.recall(slots, augmented=False)
        learner.net.scores(maps)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
