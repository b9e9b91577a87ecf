"""The control of EGOR: rectangles of uniform noise in the place of the objects, of the same sizes; nothing is generated.

What EGOR gains over it is due to what the objects show, not to cut-outs or to features being held on rectangles.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.methods.detection import Batch, DetectionMethod, Source
from toolkit.methods.detection.replay_loss import ReplayLoss
from toolkit.models.detection.detector import Answer, Detector


@final
class NoiseCrop(DetectionMethod):
    """EGOR's loss with rectangles of noise."""

    source: ClassVar[Source] = "noise"
    terms: ReplayLoss = Field(ReplayLoss(), description="what of the old detector the new one is held to, on which boxes")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        return self.terms.of(student, answer, taught, batch)
