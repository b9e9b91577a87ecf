"""E2Net: an elastic network whose most telling subnet is kept, distilled into the next task, and decides what is remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from toolkit.errors import ScenarioError
from toolkit.learning.plain_state import plain, restored
from toolkit.methods.continual import Batch, ContinualMethod
from toolkit.methods.continual.bulk import evaluating
from toolkit.methods.continual.derpp import dark_replay
from toolkit.methods.continual.e2net_search import best_subnet, share_of, stages
from toolkit.methods.continual.elastic_net import ElasticNet, elastic_net, subnet_of
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.models.elastic_resnet import TENTHS, TWENTIETHS, Configuration, ElasticResNet
from toolkit.models.resnet import ResNet

RATIOS = {"tenths": TENTHS, "twentieths": TWENTIETHS}


@dataclass
class Representative:
    """What is kept of the tasks so far."""

    config: Configuration | None = None
    share: float = 0.0
    """rho of the subnet: its parameters over those of the whole."""
    teacher: ResNet | None = None
    """A frozen copy of the subnet as it was when the present task began."""


@final
class E2net(ContinualMethod[Representative]):
    """DER++ + distil MSE(f_sub(x), teacher(x)), on an elastic ResNet.

    Before each task but the first the inner channels of the network are sorted by importance, and among random configurations (each at
    least as large as the one before) the one with the lowest MSE(f_sub(z), f(z)) exp(-rho) on noise z becomes the representative: its
    frozen copy teaches the same channels of the working network during the task (`toolkit.methods.continual.e2net_search`). A batch is
    offered to the memory with probability exp(-slope rho), and else not counted as seen: later tasks insert less.

    The loss costs more than that of DER++: per step a third of a forward pass and a whole one of the subnet on top of it.

    Source: Liu et al., *Elastic Expansion Network for Resource-Efficient Continual Learning*, arXiv:2309.16117, as their published code
    has it; of the paper itself the abstract alone was at hand. Departures: the search is in eval mode and moves no statistics, so is the
    teacher; costs of candidates are closed forms; a search without a small enough candidate keeps the subnet that there is; where neither
    `distil` nor `slope` asks for a representative none is searched, and the run is one of DER++ bit for bit.
    """

    stores_scores: ClassVar[bool] = True
    takes_maps: ClassVar[bool] = True
    inserts: ClassVar[bool] = True
    plans_within: ClassVar[float] = 0.15
    """Its subnet is found by a search, whose expectation is planned."""
    blurs: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True

    alpha: float = Field(0.1, ge=0, description="weight of the squared distance between replayed and stored scores")
    beta: float = Field(0.5, ge=0, description="weight of the cross-entropy of replayed samples")
    distil: float = Field(0.05, ge=0, description="weight of the squared distance between the subnet's scores and its teacher's")
    slope: float = Field(0.75, ge=0, description="how much less a batch is offered to the memory as the representative grows")
    candidates: int = Field(500, ge=1, le=5000, description="configurations that a search looks at")
    limit: float = Field(0.95, gt=0, le=1, description="share of the whole's parameters that a representative stays below")
    growth: float = Field(4.0, gt=0, description="ratios that the first task makes available; later ones fewer, by a cosine")
    ratios: Literal["tenths", "twentieths"] = Field("tenths", description="widths to choose from: 0.1 to 1, or 0.05 to 0.9 and 1")
    unit: int | None = Field(None, ge=1, description="widths are multiples of this; none: an eighth of the first stage's width")
    probe: Literal["noise", "buffer"] = Field("noise", description="candidates are compared on noise (official) or remembered samples")
    probes: int = Field(32, ge=1, le=100_000, description="how many of them")
    bn: Literal["batch", "official"] = Field(
        "batch", description="statistics of the subnet in training: of its batch alone; or also moving those of the whole (official code)"
    )
    accumulate_terms: bool = Field(
        False, description="go back through each term of the loss by itself: same gradient, less memory; with bn: concat only the subnet's"
    )

    @property
    def searches(self) -> bool:
        return self.distil > 0 or self.slope > 0

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        if not isinstance(model, ResNet):
            raise ScenarioError(f"program.task.model: e2net slices a resnet or resnet18 and cannot slice {type(model).__name__}")
        unit = max(1, model.conv.out_channels // 8) if self.unit is None else self.unit
        elastic = ElasticResNet(model, RATIOS[self.ratios], unit)
        elastic.subnet_bn = self.bn
        return ElasticNet(elastic, image_shape)

    def init(self, learner: Learner) -> Representative:
        return Representative()

    def keep(self, state: Representative) -> Any:
        config = None if state.config is None else (state.config.widths, state.config.expands)
        return {"config": config, "share": state.share, "teacher": plain(state.teacher)}

    def resume(self, learner: Learner, begun: Representative, kept: Any) -> Representative:
        config = None if kept["config"] is None else Configuration(*kept["config"])
        if config is None or kept["teacher"] is None:
            return Representative(config, kept["share"])
        teacher = elastic_net(learner).elastic.export(config)
        return Representative(config, kept["share"], restored(teacher, kept["teacher"]))

    # Before a task

    def begin_task(self, learner: Learner, state: Representative) -> None:
        if learner.task == 0 or not self.searches:
            return
        net = elastic_net(learner)
        space = net.elastic.space
        net.sort_channels()
        learner.velocities.clear()  # channels have other places now
        cap = stages(learner.stream.tasks, self.growth)[learner.task - 1]
        candidates = space.sample(self.candidates, cap, state.config, learner.generator("search"))
        with evaluating(net), torch.no_grad():
            maps = self._probe(learner)
            whole = net.scores(maps)
            found = best_subnet(space, candidates, whole, lambda config: net.candidate_scores(maps, config), self.limit)
        if found is not None:
            state.config, state.share = found.config, found.share
        elif state.config is None:
            state.config = min(candidates, key=space.parameters)
            state.share = share_of(space, state.config)
        assert state.config is not None
        state.teacher = net.frozen_copy(state.config)

    def _probe(self, learner: Learner) -> Tensor:
        net, generator = learner.net, learner.generator("search")
        if self.probe == "noise":
            return net.plain_encode(torch.randn((self.probes, *net.image_shape), generator=generator).to(learner.device))
        slots = torch.randperm(len(learner.memory()), generator=generator)[: self.probes]
        return learner.recall(slots, augmented=False)[0]

    # A step

    def step(self, learner: Learner, state: Representative, batch: Batch) -> Tensor:
        images = learner.augmented(batch)
        if self.accumulate_terms:
            loss, now = self._by_terms(learner, state, images, batch.labels)
        else:
            loss, now = dark_replay(learner, images, batch.labels, self.alpha, self.beta)
            distance = self._distance(learner, state, images)
            if distance is not None:
                loss = loss + self.distil * distance
            learner.descend(loss)
        for _ in self._offers(learner, state):
            learner.insert(batch, scores=now.detach())
        return loss.detach()

    def _distance(self, learner: Learner, state: Representative, images: Tensor) -> Tensor | None:
        """Return the distance between subnet and teacher on the present samples; None in the first task."""
        if state.teacher is None or state.config is None or self.distil == 0:
            return None
        net = elastic_net(learner)
        maps = net.encode(images)
        return mse_loss(net.subnet_scores(maps, state.config), net.copy_scores(state.teacher, maps, state.config))

    def _by_terms(self, learner: Learner, state: Representative, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take the step of `dark_replay` and `_distance` with as little memory as the passes allow; return loss and present scores."""
        for weight in learner.parameters:
            weight.grad = None
        net, total = learner.net, torch.zeros(())

        def go_back(loss: Tensor) -> None:
            learner.backward(loss)
            total.add_(loss.detach().cpu())

        if learner.bn == "concat" or not learner.remembers:
            loss, now = dark_replay(learner, images, labels, self.alpha, self.beta)
            now = now.detach()
            go_back(loss)
        else:
            (maps, stored), (others, labelled) = learner.replay(), learner.replay()
            scores = net.scores(net.encode(images), labels)
            now = scores.detach()
            go_back(cross_entropy(scores, labels))
            go_back(self.alpha * mse_loss(net.scores(maps), stored.extras["scores"]))
            go_back(self.beta * cross_entropy(net.scores(others), labelled.labels))
        distance = self._distance(learner, state, images)
        if distance is not None:
            go_back(self.distil * distance)
        learner.apply_gradient()
        return total, now

    def _offers(self, learner: Learner, state: Representative) -> Iterator[None]:
        """Decide whether the whole batch is offered to the memory; one that is not does not count as seen."""
        chance = math.exp(-self.slope * state.share)
        drawn = 0.0 if chance >= 1 else float(torch.rand((), generator=learner.generator("offers")))
        return learner.by_chance(chance, drawn)

    # What comes out

    def subnets(self, learner: Learner, state: Representative) -> dict[str, tuple[Configuration, ContinualNet]]:
        """The representative, as it is in the network at the end."""
        if state.config is None:
            return {}
        return {"representative": (state.config, subnet_of(learner.net, state.config))}

    # Elastic inference

    def predict(self, learner: Learner, state: Representative, images: Tensor, config: Configuration | None = None) -> Tensor:
        """Return scores of the whole network, or of the subnet *config* for a device short of time or energy."""
        net = elastic_net(learner)
        return net(images) if config is None else net.plain_subnet_scores(net.plain_encode(images), config)
