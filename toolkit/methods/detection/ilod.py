"""ILOD, brought from Fast R-CNN to a one-stage detector (Shmelkov et al. 2017, as remembered; its proposals are cells here).

Of each image 64 of the 128 cells that the old detector takes least for background are drawn; there the old logits, less their mean, and
the boxes are held.
"""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.learning.detection.distillation import at
from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.models.detection.detector import Answer, Detector


@final
class Ilod(DetectionMethod):
    """Squared differences of centred logits and of boxes (in strides), each with weight 1."""

    considered: int = Field(128, ge=1, description="cells least like background, of each image")
    drawn: int = Field(64, ge=1, description="of them")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        old, cells = taught.logits.shape[2], taught.logits.shape[1]
        found = detection_loss(student, answer, batch.targets, first_class=old).total
        least_background = taught.logits.amax(dim=-1).topk(min(cells, self.considered), dim=1).indices
        lots = at(batch.chances, least_background).topk(min(cells, self.considered, self.drawn), dim=1).indices
        places = least_background.gather(1, lots)
        ours, theirs = (centred(at(each.logits[..., :old], places)) for each in (answer, taught))
        where = student.cells(answer)
        strides = at(where.strides.expand(len(places), -1), places).unsqueeze(-1)
        boxes, kept = (at(student.boxes(each, where), places) / strides for each in (answer, taught))
        return found + (ours - theirs).square().mean() + (boxes - kept.detach()).square().mean()


def centred(logits: Tensor) -> Tensor:
    """Return *logits* less the mean over their classes."""
    return logits - torch.mean(logits, dim=-1, keepdim=True)
