"""Faster ILOD, brought to a one-stage detector (Peng et al. 2020; terms as its code has them).

Features of the pyramid, less their mean: one-sided L1, only where the teacher's are higher. Objectness, here the best old score: one-sided
L2. Boxes: L2 where the teacher's objectness is higher by `margin`. Old logits less their mean: L2 at the cells that the teacher takes for
objects. All with weight 1.
"""

from __future__ import annotations

from typing import final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.learning.detection.distillation import at
from toolkit.learning.detection.losses import detection_loss
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.methods.detection.ilod import centred
from toolkit.models.detection.detector import Answer, Detector


@final
class FasterIlod(DetectionMethod):
    """Distillation of features, objectness, boxes and classes."""

    margin: float = Field(0.1, ge=0, le=1, description="by which the teacher's objectness is above the student's where boxes are held")
    objects: int = Field(64, ge=1, description="cells of each image at which classes are held")

    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        assert taught is not None
        old, cells = taught.logits.shape[2], taught.logits.shape[1]
        found = detection_loss(student, answer, batch.targets, first_class=old).total
        features = torch.stack([
            (level_mean(theirs) - level_mean(ours)).clamp(min=0).mean()
            for ours, theirs in zip(answer.pyramid, taught.pyramid, strict=True)
        ]).mean()
        ours, theirs = (each.logits[..., :old].sigmoid().amax(dim=-1) for each in (answer, taught))
        objectness = (theirs - ours).clamp(min=0).square().mean()
        where = student.cells(answer)
        apart = ((student.boxes(answer, where) - student.boxes(taught, where).detach()) / where.strides.unsqueeze(-1)).square().mean(dim=-1)
        held = (theirs > ours + self.margin).to(apart.dtype)
        boxes = (apart * held).sum() / held.sum().clamp(min=1)
        places = theirs.topk(min(cells, self.objects), dim=1).indices
        classes = (centred(at(answer.logits[..., :old], places)) - centred(at(taught.logits, places))).square().mean()
        return found + features + objectness + boxes + classes


def level_mean(maps: Tensor) -> Tensor:
    """Return *maps* less the mean of each image."""
    return maps - maps.mean(dim=(1, 2, 3), keepdim=True)
