"""Stored crops of real old objects, laid in as EGOR's are: not free of old data, the line that shows the price of privacy.

After each step some crops of each of its classes are kept; their bytes are written to and read from storage, and how many real objects are
kept is told as `given_away`.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.methods.detection import Batch, DetectionMethod, Source
from toolkit.methods.detection.replay_loss import ReplayLoss
from toolkit.models.detection.detector import Answer, Detector


@final
class RealCrop(DetectionMethod):
    """EGOR's loss with real crops."""

    source: ClassVar[Source] = "real"
    terms: ReplayLoss = Field(ReplayLoss(), description="what of the old detector the new one is held to, on which boxes")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        return self.terms.of(student, answer, taught, batch)
