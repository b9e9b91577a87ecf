"""LwF for detectors: all old answers are held at every cell of the new images (Li, Hoiem 2016, brought to a one-stage detector)."""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor

from toolkit.learning.detection.distillation import side_divergence
from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.models.detection.detector import Answer, Detector


@final
class Lwf(DetectionMethod):
    """Mean square of old logits and divergence of sides, at all cells alike."""

    scores: float = Field(1.0, ge=0, description="weight of old logits")
    sides: float = Field(0.25, ge=0, description="weight of the distributions of sides")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        old = taught.logits.shape[2]
        found = detection_loss(student, answer, batch.targets, first_class=old).total
        scores = (answer.logits[..., :old] - taught.logits).square().mean()
        return found + self.scores * scores + self.sides * side_divergence(answer.bins, taught.bins).mean()
