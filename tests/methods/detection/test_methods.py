"""Laws of every method: nothing lost where nothing changed, all finite where nothing is shown, and what is counted is what is done."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.inversion import InversionRecipe, drawn_moves, held_still, inversion_losses, one_each
from toolkit.learning.detection.losses import detection_loss
from toolkit.learning.work import count
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.methods.detection.costs import InversionLoss, MethodLoss
from toolkit.methods.detection.egor import Egor
from toolkit.methods.detection.replay_loss import ReplayLoss
from toolkit.models.detection.detector import Detector, compact_gfl

METHODS = {name: member() for name, member in DetectionMethod.members().items()}
OLD, NEW, SIDE = 3, 2, 64


class Scene(NamedTuple):
    teacher: Detector
    student: Detector
    batch: Batch


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(method: DetectionMethod, shown: bool = True) -> Scene:
    """A student that was widened and has learnt nothing yet, and a batch with new objects and pasted ones, or without any."""
    teacher = compact_gfl(OLD, widths=(8, 8, 16, 16), channels=16, generator=seeded(1)).eval()
    teacher.freeze_norms()
    student = copy.deepcopy(teacher)
    student.add_classes(NEW, seeded(2))
    method.prepare(student, OLD)
    student.train()
    boxes = torch.tensor([[4.0, 4, 30, 34], [33.0, 20, 60, 60]]).expand(2, 2, 4)
    labels, valid = torch.tensor([[3, 4], [4, 3]]), torch.full((2, 2), shown)
    pasted = Targets(boxes.flip(1), torch.zeros((2, 2), dtype=torch.int64), valid)
    images = torch.rand((2, 3, SIDE, SIDE), generator=seeded(3))
    batch = Batch(images, Targets(boxes, labels, valid), pasted, torch.rand((2, 80), generator=seeded(4)))
    return Scene(teacher.requires_grad_(False), student, batch)


def loss_of(method: DetectionMethod, found: Scene) -> Tensor:
    with torch.no_grad():
        taught = found.teacher(found.batch.images) if method.teaches else None
    return method.loss(found.student, found.student(found.batch.images), taught, found.batch)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.teaches])
def test_a_student_that_has_changed_nothing_pays_for_new_objects_alone(name: str) -> None:
    found = scene(METHODS[name])
    plain = detection_loss(found.student, found.student(found.batch.images), found.batch.targets, first_class=OLD).total
    assert float(loss_of(METHODS[name], found).detach()) == pytest.approx(float(plain.detach()), abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shown", [True, False])
def test_gradients_are_finite_with_and_without_objects(name: str, shown: bool) -> None:
    found = scene(METHODS[name], shown)
    with torch.no_grad():
        for weight in found.student.parameters():  # otherwise most terms are exactly 0
            weight.add_(0.01 * torch.randn(weight.shape, generator=seeded(5)))
    loss_of(METHODS[name], found).backward()
    gradients = [weight.grad for weight in found.student.parameters() if weight.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert all(weight.grad is None for weight in found.teacher.parameters())


def test_hard_targets_train_old_columns_and_pasting_alone_does_not() -> None:
    for hard in (True, False):
        method = Egor(terms=ReplayLoss(hard_targets=hard))
        found = scene(method)
        loss_of(method, found).backward()
        old = found.student.head.classifiers[0].weight.grad
        assert bool(old.any()) is hard  # what is held is 0 before the first step, and so is its gradient


def test_a_frozen_backbone_trains_towers_and_new_columns() -> None:
    method = METHODS["freeze_backbone"]
    student = scene(method).student
    moving = {name.rsplit(".", 2)[0] for name, weight in student.named_parameters() if weight.requires_grad}
    assert moving == {"head.classify_tower", "head.side_tower", "head.classifiers"}
    assert not student.head.classifiers[0].weight.requires_grad
    assert student.head.classifiers[1].weight.requires_grad


@pytest.mark.parametrize("name", METHODS)
def test_9_what_is_counted_of_a_step_is_what_torch_is_seen_to_do(name: str) -> None:
    found = scene(METHODS[name])
    counted = count(MethodLoss(METHODS[name], found.student, found.teacher, 2), (2, 3, SIDE, SIDE)).matrix_flops
    with FlopCounterMode(display=False) as seen:
        loss_of(METHODS[name], found).backward()
    pasted = 6 / 2  # a count is of six pasted objects per image, and RoIAlign is the one product that depends on them
    assert counted == pytest.approx(seen.get_total_flops(), rel=0.01 * pasted)


def test_9_what_is_counted_of_inversion_is_what_torch_is_seen_to_do() -> None:
    detector = scene(METHODS["egor"]).teacher
    recipe = InversionRecipe(side=32)
    counted = count(InversionLoss(copy.deepcopy(detector), 4, recipe), (1,)).matrix_flops
    images = torch.rand((4, 3, 32, 32), generator=seeded(6)).requires_grad_()
    moves = drawn_moves(4, recipe, np.random.default_rng(0))
    targets = one_each(torch.tensor([[4.0, 4, 20, 24]]).expand(4, 4), torch.zeros(4, dtype=torch.int64))
    with held_still(detector), FlopCounterMode(display=False) as seen:
        inversion_losses(detector, images, targets, moves, recipe).total.backward()
    assert counted == pytest.approx(seen.get_total_flops(), rel=0.01)
