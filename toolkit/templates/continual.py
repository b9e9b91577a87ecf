"""Mine: a method of continual learning to begin with. It replays old samples, whose loss counts `weight` times.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set program.method=mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.learner import Learner


@final
class Mine(ContinualMethod[None]):
    """Replay: one step on the loss of the present samples and `weight` times that of as many old ones.

    Settings are fields like these, with bounds and a description. What is asked of the network is metered; nothing is priced here.
    """

    weight: float = Field(1.0, ge=0, le=100, description="how much old samples count")

    def step(self, learner: Learner, state: None, batch: Batch) -> Tensor:
        """Learn a batch of the present task, and return the loss."""
        images = learner.augmented(batch)
        if learner.remembers:
            old, stored = learner.replay()
            now, then = learner.passes(images, batch.labels, old)
            loss = cross_entropy(now, batch.labels) + self.weight * cross_entropy(then, stored.labels)
        else:
            (now,) = learner.passes(images, batch.labels)
            loss = cross_entropy(now, batch.labels)
        learner.descend(loss)
        learner.insert(batch)
        return loss.detach()
