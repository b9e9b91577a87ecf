"""DeepInversion or DIODE replay: the same inverted images trained on whole, with the boxes they were made for as targets.

No pasting and no distillation: what EGOR gains over it is the value of augmented replay. Canvases smaller than the images lie on grey at a
random place.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod, Source
from toolkit.models.detection.detector import Answer, Detector


@final
class DeepInversion(DetectionMethod):
    """A share of each batch is inverted images; all columns are trained with hard targets."""

    source: ClassVar[Source] = "inverted"
    teaches: ClassVar[bool] = False
    share: float = Field(0.25, gt=0, lt=1, description="of a batch that is inverted images")

    def replayed(self, batch: int) -> int:
        return max(1, round(self.share * batch))

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        return detection_loss(student, answer, batch.targets).total
