"""The loss of augmented replay, which EGOR and its controls have in common: they differ in what is laid into the images."""

from __future__ import annotations

from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from toolkit.core.part import Spec
from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.atss import assign
from toolkit.learning.detection.distillation import Select, kept_answers
from toolkit.learning.detection.losses import assigned_loss, detection_loss
from toolkit.methods.detection import Batch
from toolkit.models.detection.detector import Answer, Detector


@final
class ReplayLoss(Spec):
    """Terms and weights. EGOR's "balance of old and new losses" is `balance: adaptive`; its "high-response distillation", which its later
    name IOR calls "high-value", is `select: topk`.
    """

    select: Select = Field("topk", description="cells at which answers are held: the highest, or by mean and two deviations")
    share: float = Field(0.05, gt=0, le=1, description="of the cells, for topk")
    least: int = Field(50, ge=1, description="cells, for topk")
    balance: Literal["adaptive", "one"] = Field("adaptive", description="factor of what is held: s, which falls as new classes are learnt")
    scores: float = Field(1.0, ge=0, description="weight of old logits")
    sides: float = Field(0.25, ge=0, description="weight of the distributions of sides")
    features: float = Field(0.03, ge=0, description="weight of the features of pasted objects")
    hard_targets: bool = Field(False, description="whether pasted objects are targets of the old columns too")

    def of(self, student: Detector, answer: Answer, taught: Answer, batch: Batch) -> Tensor:
        """Return the loss of a step."""
        old = taught.logits.shape[2]
        if self.hard_targets:
            found = detection_loss(student, answer, joined(batch.targets, batch.pasted))
        else:
            cells = student.cells(answer)
            found = assigned_loss(student, answer, cells, assign(cells, batch.targets, student.anchor), first_class=old)
        lost = kept_answers(student, answer, taught, batch.pasted, select=self.select, share=self.share, least=self.least)
        held = self.scores * lost.scores + self.sides * lost.sides + self.features * lost.features
        return found.total + (found.scale * held if self.balance == "adaptive" else held)


def joined(first: Targets, second: Targets) -> Targets:
    """Return the objects of both."""
    return Targets(*(torch.cat(each, dim=1) for each in zip(first, second, strict=True)))
