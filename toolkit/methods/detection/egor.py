"""EGOR: objects that the old detector was made to show are laid into new images; answers are held at the highest cells and on objects.

Source: EGOR (arXiv 2406.04829), in its published form IOR, *Inversed Objects Replay* (ICASSP 2025). Pasted objects are no targets of the
old columns: they are context of the new ones, and places where answers are held.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from toolkit.methods.detection import Batch, DetectionMethod, Source
from toolkit.methods.detection.replay_loss import ReplayLoss
from toolkit.models.detection.detector import Answer, Detector


@final
class Egor(DetectionMethod):
    """The method, with objects by inversion."""

    source: ClassVar[Source] = "inverted"
    terms: ReplayLoss = Field(ReplayLoss(), description="what of the old detector the new one is held to, on which boxes")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        return self.terms.of(student, answer, taught, batch)
