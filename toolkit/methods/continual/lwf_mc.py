"""LwF-MC: iCaRL's loss without exemplars."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from toolkit.datasets.streams import Stream
from toolkit.learning.plain_state import restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bases import check_bases
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.teacher import Taught, frozen_copy


@final
class LwfMc(ContinualMethod[Taught]):
    """Binary cross-entropy of each class's sigmoid: new classes against labels, old ones against the old network's sigmoids.

    Source: Rebuffi et al., *iCaRL*, CVPR 2017, section 4 (the comparison called LwF.MC). The classifier answers, not means of features.
    """

    replays: ClassVar[bool] = False

    def check(self, stream: Stream, capacity: int) -> None:
        check_bases(stream, "lwf_mc")

    def init(self, learner: Learner) -> Taught:
        return Taught()

    def resume(self, learner: Learner, begun: Taught, kept: Any) -> Taught:
        if kept["teacher"] is not None:
            begun.teacher = copy.deepcopy(learner.net)
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: Taught) -> None:
        if learner.task:
            state.teacher = frozen_copy(learner)

    def step(self, learner: Learner, state: Taught, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        (scores,) = learner.passes(images, batch.labels)
        targets = one_hot(batch.labels, learner.num_classes).float()[:, : learner.seen].to(learner.device)
        if state.teacher is not None:
            old = learner.stream.seen(learner.task - 1)
            with torch.no_grad():
                targets[:, :old] = state.teacher.scores(state.teacher.encode(images)).sigmoid()[:, :old]
        loss = binary_cross_entropy_with_logits(scores[:, : learner.seen], targets)
        learner.descend(loss)
        return loss.detach()

    def end_task(self, learner: Learner, state: Taught) -> None:
        state.teacher = None
