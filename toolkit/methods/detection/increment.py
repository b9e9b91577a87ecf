"""The increments of one run: where they are, and the steps of one."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.work import Work
from toolkit.datasets.detection.images import DetectionSet
from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.inversion import Generated, as_canvas
from toolkit.learning.detection.pasting import MOST, Pool, pasted_batch
from toolkit.learning.detection.prediction import Found
from toolkit.learning.detection.ratios import RatioHistogram
from toolkit.learning.detection.training import Moments, Rule, begun, flipped, order_of, rate_at, update
from toolkit.learning.plain_state import plain, restored
from toolkit.learning.random import torch_generator
from toolkit.learning.train_state import TrainState
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.methods.detection.spec import DetectionSettings
from toolkit.models.detection.detector import Detector


def no_objects() -> Pool:
    """Return a pool without objects."""
    return Pool((), torch.zeros(0, dtype=torch.int64))


@dataclass
class Increments:
    """A run under way; `number` is the increment that is learnt or comes next."""

    method: DetectionMethod
    rule: Rule
    sizes: tuple[int, ...]
    student: Detector
    teacher: Detector | None = None
    number: int = 0
    step: int = 0
    """Steps of this increment that are done."""
    done: int = 0
    """Steps of earlier increments."""
    training: TrainState[Moments] | None = None
    """Of this increment; None between two."""
    pool: Pool = field(default_factory=no_objects)
    """What is laid into images of this increment."""
    generated: Generated | None = None
    """What the old detector was last made to show."""
    shapes: list[RatioHistogram] = field(default_factory=list)
    """Of the boxes of all earlier classes."""
    crops: list[Pool] = field(default_factory=list)
    """Real ones, by step, of methods that keep any."""
    before: list[Found] = field(default_factory=list)
    """What the first detector found in the pictures that are kept."""

    @property
    def total_steps(self) -> int:
        return self.done + self.step

    def begin(self, pool: Pool, generated: Generated | None, generator: torch.Generator) -> None:
        """Make the student the teacher, and widen it by the classes of this increment."""
        self.pool, self.generated = pool, generated
        self.student.freeze_norms()
        self.teacher = copy.deepcopy(self.student).eval().requires_grad_(False)
        self._widen(generator)

    def _widen(self, generator: torch.Generator) -> None:
        old = self.student.classes
        self.student.freeze_norms()
        self.student.add_classes(self.sizes[self.number], generator)
        self.method.prepare(self.student, old)
        self.student.train()
        self.training = begun(self.student, self.rule)

    def finish(self) -> None:
        """Close this increment; what was generated is deleted but for its pictures."""
        self.student.eval()
        self.done, self.step, self.number = self.done + self.step, 0, self.number + 1
        self.training, self.teacher, self.pool = None, None, no_objects()

    def state_dict(self) -> dict[str, Any]:
        made = self.generated
        return {
            "number": self.number, "step": self.step, "done": self.done, "student": plain(self.student),
            "teacher": plain(self.teacher), "optimiser": None if self.training is None else plain(self.training.optimiser),
            "pool": _plain_pool(self.pool), "crops": [_plain_pool(each) for each in self.crops],
            "shapes": [[torch.from_numpy(np.array(part)) for part in each] for each in self.shapes],
            "before": [list(map(plain, each)) for each in self.before],
            "generated": None if made is None else [made.images.clone(), made.boxes.clone(), made.labels.clone(), made.recognised],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; the student is the first detector of these settings, with any weights."""
        generator = torch.Generator().manual_seed(0)
        number = saved["number"]
        for self.number in range(1, number):
            self._widen(generator)
        self.number = number
        if saved["teacher"] is not None:
            self.student.freeze_norms()
            self.teacher = copy.deepcopy(self.student)
            restored(self.teacher, saved["teacher"])
            self._widen(generator)
        restored(self.student, saved["student"])
        self.training = None
        if saved["optimiser"] is not None:
            self.training = begun(self.student, self.rule)
            self.training.optimiser = restored(self.training.optimiser, saved["optimiser"])
            self.training.step = saved["step"]
        self.step, self.done = saved["step"], saved["done"]
        self.pool, self.crops = _pool(saved["pool"]), [_pool(each) for each in saved["crops"]]
        self.shapes = [RatioHistogram(*(part.numpy() for part in each)) for each in saved["shapes"]]
        self.before = [Found(*each) for each in saved["before"]]
        made = saved["generated"]
        self.generated = None if made is None else Generated(made[0], made[1], made[2], [], made[3])


def _plain_pool(pool: Pool) -> list[Any]:
    return [[crop.clone() for crop in pool.crops], pool.labels.clone()]


def _pool(saved: list[Any]) -> Pool:
    return Pool(tuple(saved[0]), saved[1])


class IncrementTrainer:
    """The steps of one increment."""

    rate_key = "program.training.lr"

    def __init__(
        self, spec: DetectionSettings, ctx: Context, state: Increments, data: DetectionSet, *, work: Work, steps: int, share: float
    ) -> None:
        """*work* is that of a step, and *share* the part of the run that is done before this increment."""
        self.spec, self.ctx, self.state, self.data = spec, ctx, state, data
        self.work, self.steps, self.share = work, steps, share
        self.who = f"a detector with {spec.method.type_name()}"
        self._new = spec.training.batch - spec.method.replayed(spec.training.batch)
        number = state.number
        self._taken = order_of(len(data), self._new, lambda epoch: ctx.shared_rng("order", number, epoch))
        self._loss = 0.0

    def take_step(self) -> Asking:
        state, training = self.state, self.state.training
        assert training is not None
        rate = rate_at(self.spec.training.rule, state.step, self.steps, self.spec.training.lr)
        loss = self.loss()
        training.backward(loss, rate=rate)
        update(self.spec.training.rule, training, rate)
        training.step += 1
        self._loss = float(loss.detach())
        yield self.ctx.compute(self.work, "train")

    def loss(self) -> Tensor:
        """Return the loss of the present step."""
        state = self.state
        batch = self.batch()
        taught = None
        if self.spec.method.teaches:
            assert state.teacher is not None
            with torch.no_grad():
                taught = state.teacher(batch.images)
        answer = state.student(batch.images)
        chances = torch.rand(answer.logits.shape[:2], generator=torch_generator(self.ctx.shared_rng("chances", state.number, state.step)))
        return self.spec.method.loss(state.student, answer, taught, batch._replace(chances=chances.to(batch.images.device)))

    def batch(self) -> Batch:
        """Return what the present step learns from, without the lots."""
        ctx, state, training = self.ctx, self.state, self.spec.training
        rng = ctx.shared_rng("batch", state.number, state.step)
        images, targets = self.data.batch(self._taken(state.step))
        if training.flip:
            images, targets = flipped(images, targets, torch.from_numpy(rng.random(len(images)) < 0.5))
        count = len(images)
        pasted = Targets(torch.zeros(count, MOST, 4), torch.zeros(count, MOST, dtype=torch.int64), torch.zeros(count, MOST) > 0)
        replayed = self.spec.method.replayed(training.batch)
        if replayed:
            images, targets = self._with_whole(images, targets, replayed, rng)
        elif len(state.pool):
            images, pasted = pasted_batch(images, targets, state.pool, rng)
        device = state.student.mean.device
        return Batch(images.to(device), _moved(targets, device), _moved(pasted, device), torch.zeros(0, device=device))

    def _with_whole(self, images: Tensor, targets: Targets, replayed: int, rng: np.random.Generator) -> tuple[Tensor, Targets]:
        """Return the batch and so many whole generated images, each with the box that it was made for."""
        made = self.state.generated
        assert made is not None
        chosen = torch.from_numpy(rng.integers(0, len(made.labels), replayed))
        side, size = self.data.side, made.images.shape[-1]
        corners = torch.from_numpy(rng.integers(0, max(1, side - size + 1), (replayed, 2)))
        boxes = made.boxes[chosen] * (side / size) if size > side else made.boxes[chosen] + corners.repeat(1, 2)
        canvases = as_canvas(made.images[chosen], side, corners)
        most = targets.valid.shape[1]
        padded = Targets(torch.zeros(replayed, most, 4), torch.zeros(replayed, most, dtype=torch.int64), torch.zeros(replayed, most) > 0)
        padded.boxes[:, 0], padded.labels[:, 0], padded.valid[:, 0] = boxes, made.labels[chosen], True
        return torch.cat([images, canvases]), Targets(*(torch.cat(each) for each in zip(targets, padded, strict=True)))

    def step_done(self) -> None:
        if self.state.step % 25 == 0 or self.state.step == self.steps:
            self.ctx.metric("train_loss", self._loss, step=self.state.total_steps)
        self.ctx.progress(self.share + (1 - self.share) * self.state.step / self.steps)

    def evaluate(self) -> None:
        """Examined when the increment is over."""

    def peer_lost(self, lost: PeerLost) -> Asking:
        raise lost


def _moved(targets: Targets, device: torch.device) -> Targets:
    return Targets(*(part.to(device) for part in targets))
