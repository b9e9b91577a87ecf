"""LwF-MC: iCaRL's loss without exemplars."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from toolkit.methods.continual import Batch
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.teacher import Distilling, Taught


@final
class LwfMc(Distilling):
    """Binary cross-entropy of each class's sigmoid: new classes against labels, old ones against the old network's sigmoids.

    Source: Rebuffi et al., *iCaRL*, CVPR 2017, section 4 (the comparison called LwF.MC). The classifier answers, not means of features.
    """

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
