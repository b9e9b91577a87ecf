"""Fine-tuning: the widened detector on new images alone, where old objects become background. The floor."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.models.detection.detector import Answer, Detector


@final
class FineTune(DetectionMethod):
    """Nothing is done against forgetting; the loss is of all columns."""

    teaches: ClassVar[bool] = False

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        return detection_loss(student, answer, batch.targets).total
