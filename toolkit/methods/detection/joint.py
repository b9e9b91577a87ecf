"""Joint training: all classes from all images at once, from new weights. The upper bound."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.models.detection.detector import Answer, Detector


@final
class Joint(DetectionMethod):
    """What could be had if no image were ever gone."""

    sees_all: ClassVar[bool] = True
    teaches: ClassVar[bool] = False

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        return detection_loss(student, answer, batch.targets).total
