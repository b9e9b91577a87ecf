"""ERD: answers are held where the old detector's stand out from their image, by mean and two deviations.

Source: Feng et al. 2022, *Overcoming Catastrophic Forgetting in Incremental Object Detection via Elastic Response Distillation* (CVPR,
arXiv 2204.02136).
"""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor

from toolkit.learning.detection.distillation import kept_answers
from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.models.detection.detector import Answer, Detector


@final
class Erd(DetectionMethod):
    """The base of EGOR: original images, s = 1, elastic selection, no term of objects' features."""

    scores: float = Field(1.0, ge=0, description="weight of old logits")
    sides: float = Field(0.25, ge=0, description="weight of the distributions of sides")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        found = detection_loss(student, answer, batch.targets, first_class=taught.logits.shape[2]).total
        lost = kept_answers(student, answer, taught, None, select="elastic", share=0.05, least=1)
        return found + self.scores * lost.scores + self.sides * lost.sides
