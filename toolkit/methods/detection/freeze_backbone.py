"""Frozen backbone: only the towers and the new columns move."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.models.detection.detector import Answer, Detector


@final
class FreezeBackbone(DetectionMethod):
    """Backbone, pyramid, old columns and sides stay as they are; the loss is of the new columns."""

    teaches: ClassVar[bool] = False

    def prepare(self, student: Detector, old: int) -> None:
        student.backbone.requires_grad_(False)
        student.pyramid.requires_grad_(False)
        student.head.sides.requires_grad_(False)
        student.head.scales.requires_grad_(False)
        for classifier in student.head.classifiers[:-1]:
            classifier.requires_grad_(False)

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        old = student.classes - student.newest
        return detection_loss(student, answer, batch.targets, first_class=old).total
