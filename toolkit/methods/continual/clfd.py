"""CLFD: any rehearsal method, in the frequency domain.

Liu et al., *Continual Learning in the Frequency Domain*, NeurIPS 2024. Two parts are put round a host, whose loss stays as it is:

- a frequency-domain encoder (`toolkit.methods.continual.frequency`) in front of trunk and replay memory, which quarters the work of an
  image and the room of a stored RGB image in float32;
- a class-aware selection of features (`toolkit.methods.continual.feature_selection`) before the classifier.

What happens when (epochs counted from 1, n per task):

| when | what |
|---|---|
| task 1, epoch 1 | its classes may use a reserved prefix of the features (`first_task_mask`) |
| task 1, last epoch | the encoder is frozen, the memory emptied and filled anew with its final maps, low bands are summed by class |
| task 1, end | the memory counts all it was ever offered, so that later samples have the odds of an uninterrupted reservoir |
| later tasks, epoch 1 | new classes keep features with probability `uniform`; low bands are summed |
| later tasks, end of epoch 1 | new classes get probabilities from the most and the least similar old class |
| every task, end of an epoch e > 0.4 n | all classes get probabilities from what they use |

Where paper and published code differ the code is the default and the paper an option, named in the fields; the most similar class alone is
by default one of the old ones, as the paper says, since the code's may be one that was never seen (`most_similar`). Departures from both:
no second classifier without use; padding by a mask instead of by the value 0; samples are encoded once they are taken by the memory; with
one epoch per task the encoder is frozen when that ends, whatever `freeze` says, as it would never be trained otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, final

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from toolkit.learning.plain_state import plain, restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.feature_selection import ClassAwareSelection, frequency_keep, hold_to_use, similarities, sum_low_bands
from toolkit.methods.continual.frequency import MAP_CHANNELS, Bands, Encoder, Mixture, half, trunk_for_maps
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.models.elastic_resnet import Configuration


@dataclass
class Frequencies:
    """What CLFD knows beside the network, whose buffers hold F and P."""

    host: Any
    """The state of the host."""
    low: Tensor
    """f: low bands of un-augmented training images, summed by class, float32 (K, C h w)."""
    similarity: Tensor
    """S: cosines of each class's low bands with those of the classes before it, float64 (K, K); 0 where not asked for."""
    offered: dict[int, int] = field(default_factory=dict)
    """Samples that the memory was offered before it was emptied, as `ReservoirBuffer.clear` says."""


@final
class Clfd(ContinualMethod[Frequencies]):
    """CLFD around a *host*."""

    inserts: ClassVar[bool] = True

    host: ContinualMethod = Field(description="the method of continual learning that it goes round")
    parts: Literal["both", "encoder", "selection"] = Field("both", description="what is put round the host; the others are its ablations")
    share: float = Field(0.6, gt=0, le=1, description="share of features that a sample keeps")
    first_task_mask: Literal["prefix", "none"] = Field(
        "prefix", description="features of the first task's classes: the first 1.1 x share of them (official code), or all (paper)"
    )
    reserve: float = Field(1.1, ge=1, description="the prefix, in multiples of the share")
    uniform: float = Field(0.6, gt=0, le=1, description="probability of keeping a feature for a class of which nothing is known")
    mixing: float = Field(0.5, ge=0, le=1, description="weight lambda of what keeps a new class away from the least similar old one")
    similarity: Literal["shifted", "paper"] = Field(
        "shifted", description="ratios of cosines + 1 (official code), or of bare cosines, which may be negative (paper)"
    )
    most_similar: Literal["old", "all"] = Field(
        "old", description="y+ is one of the old classes (paper), or of all, cosines with those not seen yet being 0 (official code)"
    )
    beta: float = Field(2.0, gt=0, description="how surely a class keeps the features that it uses")
    switch: float = Field(0.4, ge=0, le=1, description="share of a task's epochs after which classes are held to what they use")
    dropout: Literal["batch", "sample"] = Field("batch", description="random numbers for dropping: a set per step (official) or per sample")
    freeze: Literal["last_epoch", "task_end"] = Field(
        "last_epoch", description="when the encoder is frozen: as the first task's last epoch begins (official), or as it ends (paper)"
    )
    flip: Literal["map", "exact"] = Field(
        "map", description="mirrored replay: of the map (official), or exact, from all four bands, which are then stored at an image's size"
    )

    @model_validator(mode="after")
    def _host_fits(self) -> Self:
        if not self.host.takes_maps:
            hosts = ", ".join(name for name, method in ContinualMethod.members().items() if method.takes_maps)
            raise ValueError(f"clfd goes round {hosts}; '{self.host.type_name()}' is not one of them")
        if self.flip == "exact" and (self.host.reshapes or self.parts == "selection"):
            kind = self.host.type_name()
            raise ValueError(f"flip: exact needs the encoder, and a host that leaves the trunk, which holds it, as it is (got {kind})")
        return self

    @property
    def stores_scores(self) -> bool:  # type: ignore[override]
        return self.host.stores_scores

    @property
    def plans_within(self) -> float:  # type: ignore[override]
        """How many images the memory takes, each of which is encoded, is an expectation."""
        return max(0.02, self.host.plans_within)

    @property
    def encodes(self) -> bool:
        return self.parts != "selection"

    @property
    def selects(self) -> bool:
        return self.parts != "encoder"

    def trunk_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        return half(image_shape, image_shape[0]) if self.encodes else image_shape

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        if not self.encodes:
            net = self.host.network(model, image_shape, weights)
        elif self.flip == "exact":
            trunk = trunk_for_maps(model, image_shape, weights, Mixture(image_shape[0], weights))
            net = self.host.network(trunk, half(image_shape, 4 * image_shape[0]), weights)
            net.put_behind(Bands(), image_shape)
        else:
            net = self.host.network(trunk_for_maps(model, image_shape, weights), half(image_shape, MAP_CHANNELS), weights)
            net.put_behind(Encoder(image_shape[0], weights), image_shape)
        if self.selects:
            net.select = ClassAwareSelection(net.num_classes, net.feature_size, self.share, self.uniform)
        return net

    def shaping(self) -> Hashable:
        return "clfd", self.host.shaping(), self.flip, self.parts, self.share, self.uniform

    def init(self, learner: Learner) -> Frequencies:
        classes, (channels, height, width) = learner.num_classes, half(learner.net.image_shape, learner.net.image_shape[0])
        low = torch.zeros((classes if self.selects else 0, channels * height * width), device=learner.device)
        return Frequencies(self.host.init(learner), low, torch.zeros((classes, classes), dtype=torch.float64))

    def keep(self, state: Frequencies) -> Any:
        return {"host": self.host.keep(state.host), "own": plain(dataclasses.replace(state, host=None))}

    def resume(self, learner: Learner, begun: Frequencies, kept: Any) -> Frequencies:
        host = self.host.resume(learner, begun.host, kept["host"])
        return dataclasses.replace(restored(dataclasses.replace(begun, host=None), kept["own"]), host=host)

    # The schedule

    def begin_task(self, learner: Learner, state: Frequencies) -> None:
        self.host.begin_task(learner, state.host)

    def begin_epoch(self, learner: Learner, state: Frequencies) -> None:
        if self.selects and learner.epoch == 0:
            self._admit(learner)
        if self.encodes and learner.task == 0 and learner.epoch == learner.last_epoch:
            if self.freeze == "last_epoch" and learner.epochs > 1:
                encoder_of(learner).requires_grad_(False)
            state.offered = learner.memory().clear()
        self.host.begin_epoch(learner, state.host)

    def _admit(self, learner: Learner) -> None:
        """Say what classes that appear now may use before anything is known of them."""
        select, new = selection_of(learner), new_classes(learner)
        size = learner.net.feature_size
        found = torch.full((len(new), size), self.uniform)
        if learner.task == 0:
            free = size if self.first_task_mask == "none" else min(size, int(size * self.reserve * self.share))
            found = (torch.arange(size) < free).float().expand(len(new), size)
        select.set_keep(new, found.to(select.keep))

    def step(self, learner: Learner, state: Frequencies, batch: Batch) -> Tensor:
        if not self.selects:
            return self.host.step(learner, state.host, batch)
        if self._sums_low_bands(learner):
            sum_low_bands(learner, state.low, batch.images, batch.labels)
        select, size = selection_of(learner), learner.net.feature_size
        shape = (size,) if self.dropout == "batch" else (len(batch), size)
        select.draw = torch.rand(shape, generator=learner.generator("dropout")).to(select.keep.device)
        loss = self.host.step(learner, state.host, batch)
        select.draw = None
        return loss

    def _sums_low_bands(self, learner: Learner) -> bool:
        return len(new_classes(learner)) > 0 and learner.epoch == (learner.last_epoch if learner.task == 0 else 0)

    def end_epoch(self, learner: Learner, state: Frequencies) -> None:
        if self.selects:
            select, new = selection_of(learner), new_classes(learner)
            old = range(new.start)
            if learner.epoch == 0 and new and old:
                cosines = similarities(state.low, new, old)
                state.similarity[new.start : new.stop, : old.stop] = cosines
                relative = select.relative_counts()
                found = frequency_keep(
                    relative, cosines.to(relative.device), self.mixing, form=self.similarity, most_similar=self.most_similar
                )
                select.set_keep(new, found)
            if learner.epoch + 1 > self.switch * learner.epochs:
                hold_to_use(learner, select, self.beta)
        self.host.end_epoch(learner, state.host)

    def end_task(self, learner: Learner, state: Frequencies) -> None:
        self.host.end_task(learner, state.host)
        if self.encodes and learner.task == 0:
            encoder_of(learner).requires_grad_(False)
            learner.memory().count_as_offered(state.offered)
            state.offered = {}

    def predict(self, learner: Learner, state: Frequencies, images: Tensor) -> Tensor:
        return self.host.predict(learner, state.host, images)

    def answering(self, learner: Learner, state: Frequencies) -> nn.Module:
        return self.host.answering(learner, state.host)

    def shell(self, net: ContinualNet) -> nn.Module:
        return self.host.shell(net)

    def subnets(self, learner: Learner, state: Frequencies) -> Mapping[str, tuple[Configuration, nn.Module]]:
        return self.host.subnets(learner, state.host)


def new_classes(learner: Learner) -> range:
    """Return the classes that appear with the present task; none after the first of a domain stream."""
    return range(learner.stream.seen(learner.task - 1) if learner.task else 0, learner.seen)


def encoder_of(learner: Learner) -> nn.Module:
    """Return what is frozen after the first task: the encoder, or the mixture of bands that the trunk holds in its place."""
    front = learner.net.front
    if isinstance(front, Encoder):
        return front
    return next(layer for layer in learner.net.model.modules() if isinstance(layer, Mixture))


def selection_of(learner: Learner) -> ClassAwareSelection:
    select = learner.net.select
    if not isinstance(select, ClassAwareSelection):
        raise TypeError("this network selects no features by class")
    return select
