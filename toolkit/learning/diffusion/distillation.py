"""Distillation in stages, each of which halves the steps; stoppable between any two steps of training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.learning.adam import Adam
from toolkit.learning.diffusion.consistency import ConsistencyModel, consistency_target, pseudo_huber
from toolkit.learning.diffusion.drawing import Images, told
from toolkit.learning.diffusion.features import FeatureNet
from toolkit.learning.diffusion.losses import DistillationLoss, Terms
from toolkit.learning.diffusion.optimiser import average, clip
from toolkit.learning.diffusion.parameterisation import noisy
from toolkit.learning.diffusion.samplers import ddim_step
from toolkit.learning.diffusion.schedule import MOST, DiffusionError, Schedule, check_steps
from toolkit.learning.diffusion.targets import halving_target
from toolkit.learning.plain_state import plain, restored
from toolkit.learning.train_state import TrainState

Seeded = Callable[..., torch.Generator]
"""Gives the generator of a name and a step, so that a resumed training draws alike."""

Targets = dict[tuple[int, ...], Tensor]
"""What the first teacher said, by the step of training that asked and whose draws they were."""


@dataclass(frozen=True)
class Stages:
    """From how many steps to how many, and how each halving is trained."""

    begin: int = 4
    end: int = 1
    steps: int = 200
    """Of training, per stage; `last_factor` times as many where the student has 2 or 1."""
    last_factor: float = 1.0
    batch: int = 64
    lr: float = 5e-4
    clip: float = 1.0
    grid: int = 16
    """Steps of the path on which consistency is learnt."""
    decay: float = 0.95
    """Of the average of weights that consistency is learnt from."""

    def __post_init__(self) -> None:
        check_steps(self.begin, MOST)
        check_steps(self.end, MOST)
        if self.end >= self.begin:
            raise DiffusionError(f"steps: from {self.begin} to {self.end} halves nothing; the end must be below the beginning")

    @property
    def students(self) -> list[int]:
        """The steps of each stage's student."""
        return [self.begin >> place for place in range(1, int(math.log2(self.begin // self.end)) + 1)]

    def length(self, student: int) -> int:
        """Return the steps of training of a student of so many steps."""
        return round(self.steps * self.last_factor) if student <= 2 else self.steps


class Ladder:
    """A student on its way down, with its teacher; `step` counts over all stages."""

    def __init__(
        self, teacher: nn.Module, images: Images | Tensor, terms: Terms, stages: Stages, *, schedule: Schedule, seeded: Seeded,
        features: FeatureNet | None = None, targets: Targets | None = None,
    ) -> None:
        """*teacher* predicts images and is copied; *images* are what batches are drawn from.

        In the first stage a target depends on the teacher and the draws alone, whatever the losses: *targets*, shared by ladders of the
        same teacher, images, stages and draws, saves all but one of them the teacher's passes, to the bit.
        """
        self.images = images if isinstance(images, Images) else Images(images)
        self.terms, self.stages, self.schedule, self.seeded = terms, stages, schedule, seeded
        self.teacher = copy.deepcopy(teacher).requires_grad_(False).eval()
        student = copy.deepcopy(teacher).requires_grad_(True)
        self.state = TrainState.create(student, None)
        self.adam = Adam.of([self.state.weights])
        self.loss = DistillationLoss(terms, schedule, features, seeded("memory"))
        self.head_state = TrainState.create(self.loss.head, None) if self.loss.head is not None else None
        self.head_adam = Adam.of([self.head_state.weights]) if self.head_state is not None else None
        self.target_model: nn.Module | None = None
        if terms.consistency:
            self.target_model = copy.deepcopy(student).requires_grad_(False)
        self._targets = targets
        self.step = 0
        self.enqueues = True
        """Whether each step puts its own pixels into the memory; else they are left in `loss.outbox`."""
        self.parts: dict[str, float] = {}
        """Of the last step's loss."""
        self.reached: dict[int, nn.Module] = {}
        """Finished students by their steps."""

    @property
    def total(self) -> int:
        """Steps of training of all stages."""
        return sum(self.stages.length(student) for student in self.stages.students)

    @property
    def total_steps(self) -> int:
        return self.step

    def place(self, step: int | None = None) -> tuple[int, int, int]:
        """Return the student's steps, the step within its stage, and the stage's length."""
        left = self.step if step is None else step
        for student in self.stages.students:
            length = self.stages.length(student)
            if left < length:
                return student, left, length
            left -= length
        raise ValueError("all stages are done")

    def lr(self) -> float:
        """The rate of this step: half a cosine from the highest to 0 over the stage, over all of consistency distillation."""
        _, within, length = self.place() if not self.terms.consistency else (0, self.step, self.total)
        return 0.5 * self.stages.lr * (1 + math.cos(math.pi * within / length))

    def gradient(self, share: Tensor | None = None, who: tuple[int, ...] = ()) -> float:
        """Leave the gradient of this step in the state(s), and return the loss; *share* are the indices of images to
        draw from, *who* says whose draws they are where several learn together.
        """
        draws = self.seeded("distil", self.step, *who)
        x, labels = self.images.draw(self.stages.batch, draws, share)
        if self.head_state is not None:
            self.head_state.gradient.zero_()
        loss = self._consistency(x, labels, draws) if self.terms.consistency else self._halving(x, labels, draws, who)
        self.state.step = self.step
        self.state.backward(loss, rate=self.lr())
        return float(loss.detach())

    def update(self) -> None:
        """Take the step that the gradient asks for, and change over where a stage is done; whoever calls counts `step`."""
        student, within, length = self.place()
        lr = self.lr()
        clip(self.state.gradient, self.stages.clip)
        self.adam.step([self.state.weights], [self.state.gradient], lr)
        if self.head_state is not None and self.head_adam is not None:
            self.head_adam.step([self.head_state.weights], [self.head_state.gradient], self.stages.lr)
        if self.target_model is not None:
            for mean, weight in zip(self.target_model.parameters(), self.state.model.parameters(), strict=True):
                average(mean.data, weight.data, self.stages.decay)
        if within == length - 1 and not self.terms.consistency:
            self._stage_done(student)

    def run(self, steps: int | None = None, on_step: Callable[[int], None] | None = None) -> None:
        """Take so many steps, or all that are left; each is told to *on_step*."""
        end = self.total if steps is None else self.step + steps
        while self.step < end:
            self.gradient()
            self.update()
            self.step += 1
            if on_step is not None:
                on_step(self.step)

    def _stage_done(self, student: int) -> None:
        self.reached[student] = copy.deepcopy(self.state.model).requires_grad_(False).eval()
        self.teacher = self.reached[student]
        self.adam = Adam.of([self.state.weights])

    def _halving(self, x: Tensor, labels: Tensor | None, draws: torch.Generator, who: tuple[int, ...]) -> Tensor:
        student, _, _ = self.place()
        stride = self.schedule.most // (2 * student)
        t = 2 * stride * torch.randint(1, student + 1, (len(x),), generator=draws)
        z = noisy(x, t, self.schedule, draws)
        kept = self._targets if student == self.stages.students[0] else None
        target = None if kept is None else kept.get((self.step, *who))
        if target is None:
            target, _ = halving_target(told(self.teacher, labels), z, t, stride, self.schedule)
            if kept is not None:
                kept[self.step, *who] = target
        loss, self.parts = self.loss(told(self.state.model, labels)(z, t), target, t, draws, enqueue=self.enqueues)
        return loss

    def _consistency(self, x: Tensor, labels: Tensor | None, draws: torch.Generator) -> Tensor:
        stride = self.schedule.most // self.stages.grid
        t = stride * torch.randint(1, self.stages.grid + 1, (len(x),), generator=draws)
        z = noisy(x, t, self.schedule, draws)
        with torch.no_grad():
            lower = ddim_step(told(self.teacher, labels)(z, t), z, self.schedule.at(t, z), self.schedule.at(t - stride, z))
        assert self.target_model is not None
        averaged, learning = (
            told(ConsistencyModel(model, self.schedule), labels) for model in (self.target_model, self.state.model)
        )
        loss = pseudo_huber(learning(z, t), consistency_target(averaged, lower, t - stride))
        self.parts = {"consistency": float(loss.detach())}
        return loss

    def student(self, steps: int) -> nn.Module:
        """Return what samples in *steps* steps, once its stage is done."""
        if self.terms.consistency:
            return ConsistencyModel(self.state.model, self.schedule).eval()
        return self.reached[steps]

    # Keeping

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how the distillation goes on, as plain values and tensors of its own."""
        queue = self.loss.queue
        return {
            "step": self.step, "student": self.state.state_dict(), "adam": plain(self.adam), "teacher": plain(self.teacher),
            "reached": {steps: plain(model) for steps, model in self.reached.items()},
            "head": self.head_state.state_dict() if self.head_state is not None else None, "head_adam": plain(self.head_adam),
            "queue": (queue.rows.clone(), queue.place) if queue is not None else None, "target": plain(self.target_model),
        }

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.step = kept["step"]
        self.state.load_state_dict(kept["student"])
        self.adam = restored(self.adam, kept["adam"])
        self.teacher = restored(copy.deepcopy(self.teacher), kept["teacher"])
        self.reached = {steps: restored(copy.deepcopy(self.teacher), value) for steps, value in kept["reached"].items()}
        if self.head_state is not None:
            self.head_state.load_state_dict(kept["head"])
            self.head_adam = restored(self.head_adam, kept["head_adam"])
        if self.loss.queue is not None:
            rows, self.loss.queue.place = kept["queue"]
            self.loss.queue.rows = rows.to(self.loss.queue.rows.device)
        if self.target_model is not None:
            restored(self.target_model, kept["target"])
