"""The losses of distillation behind one interface: which terms, how much of each, and their sum for a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from toolkit.learning.diffusion.features import FeatureNet, pooled
from toolkit.learning.diffusion.memory import PixelQueue, memory_head
from toolkit.learning.diffusion.parameterisation import weighted_error
from toolkit.learning.diffusion.relations import Pairs, class_loss, memory_loss, relation_loss
from toolkit.learning.diffusion.schedule import DiffusionError, Schedule


@dataclass(frozen=True)
class Terms:
    """Weights of the terms, and their settings; the constants are those of RDD's public code, its sizes scaled down."""

    pd: float = 0.0
    """Progressive distillation: truncated-SNR error of the image."""
    cfd: float = 0.0
    relation: float = 0.0
    memory: float = 0.0
    feature_l2: float = 0.0
    """Squared error of the pooled features: a control that knows no relations."""
    consistency: bool = False
    """Consistency distillation instead of halving."""
    temperature: float = 0.9
    """Of the teacher in CFD."""
    pairs: Pairs = "all"
    relation_images: int = 32
    """Images of a batch among which relations are taken; all where there are fewer."""
    relation_temperature: float = 1.0
    memory_temperature: float = 0.1
    queue: int = 2000
    keys: int = 512
    per_step: int = 128
    official_bug: bool = False
    """Store what the published code stores; see `toolkit.learning.diffusion.memory.scrambled`."""

    @property
    def sees(self) -> bool:
        """Whether a feature network is needed."""
        return any((self.cfd, self.relation, self.memory, self.feature_l2))


PRESETS = {
    "pd": Terms(pd=1), "cfd_pd": Terms(pd=1, cfd=1), "rdd_pd": Terms(pd=1, cfd=1, relation=1, memory=0.1), "cfd": Terms(cfd=1),
    "rdd": Terms(cfd=1, relation=1, memory=0.1), "feature_l2": Terms(pd=1, feature_l2=1), "cd": Terms(consistency=True),
}


def preset(name: str, **changes: object) -> Terms:
    """Return the terms called *name*, with *changes*.

    Raises:
        DiffusionError: there are none of that name.
    """
    if name not in PRESETS:
        raise DiffusionError(f"losses: '{name}' is none of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]


def seen_losses(terms: Terms, taught: Tensor, learnt: Tensor, head: nn.Module | None, keys: Tensor | None) -> dict[str, Tensor]:
    """Return the terms, each with its weight, of the maps that the feature network makes of the teacher's and the student's images."""
    parts: dict[str, Tensor] = {}
    if terms.cfd:
        parts["cfd"] = terms.cfd * class_loss(pooled(taught), pooled(learnt), terms.temperature)
    if terms.feature_l2:
        parts["feature_l2"] = terms.feature_l2 * (pooled(learnt) - pooled(taught)).square().sum(1).mean()
    if terms.relation:
        some = slice(terms.relation_images)
        parts["relation"] = terms.relation * relation_loss(taught[some], learnt[some], terms.pairs, terms.relation_temperature)
    if head is not None and keys is not None:
        parts["memory"] = terms.memory * memory_loss(taught, head(learnt), keys, terms.memory_temperature)
    return parts


class DistillationLoss:
    """The sum of the terms, with the memory and the student's head that some of them need."""

    def __init__(self, terms: Terms, schedule: Schedule, features: FeatureNet | None, generator: torch.Generator) -> None:
        """*generator* draws the queue's first rows and the head's weights.

        Raises:
            DiffusionError: a term needs a feature network and there is none.
        """
        if terms.sees and features is None:
            raise DiffusionError("losses: cfd, relation, memory and feature_l2 need a feature network; give features=")
        self.terms, self.schedule, self.features = terms, schedule, features
        self.queue: PixelQueue | None = None
        self.head: nn.Sequential | None = None
        self.outbox: Tensor | None = None
        """What would have entered the memory, where entering is left to whoever asks."""
        if terms.memory and features is not None:
            self.queue = PixelQueue(
                terms.queue, features.channels, keys=terms.keys, per_step=terms.per_step, generator=generator,
                official_bug=terms.official_bug,
            ).to(features.device)
            self.head = memory_head(features.channels, generator).to(features.device)

    def __call__(
        self, student: Tensor, target: Tensor, t: Tensor, generator: torch.Generator, *, enqueue: bool = True
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the student's images against the teacher's *target*, both (n, channels, side, side), and its parts.

        *generator* draws which places enter the memory, which happens before its keys are read; with *enqueue* false nothing enters.
        """
        terms, parts = self.terms, dict[str, Tensor]()
        if terms.pd:
            parts["pd"] = terms.pd * weighted_error(student, target, t, self.schedule)
        if self.features is not None and terms.sees:
            learnt = self.features.maps(student)
            with torch.no_grad():
                taught = self.features.maps(target)
            keys = None
            if self.queue is not None:
                self.outbox = self.queue.chosen(taught, generator)
                if enqueue:
                    self.queue.put(self.outbox)
                keys = self.queue.keys
            parts |= seen_losses(terms, taught, learnt, self.head, keys)
        return torch.stack(list(parts.values())).sum(), {name: float(part.detach()) for name, part in parts.items()}
