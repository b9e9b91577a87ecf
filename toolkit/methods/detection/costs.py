"""What a step of any kind asks of a machine: the very code of it, run once on tensors without values and counted."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.datasets.detection.targets import Targets
from toolkit.learning.detection.inversion import InversionRecipe, Moves, inversion_losses, one_each
from toolkit.learning.detection.losses import detection_loss
from toolkit.learning.detection.pasting import MOST
from toolkit.learning.detection.training import updating_work
from toolkit.learning.meter import checking_work, elementwise_work, loading_work
from toolkit.learning.work import Count, count
from toolkit.methods.detection import Batch, DetectionMethod
from toolkit.methods.detection.course import course, histograms, real_crops
from toolkit.methods.detection.prepared import network
from toolkit.methods.detection.settings import NetSettings, TrainingSettings
from toolkit.methods.detection.spec import DetectionSettings
from toolkit.models.detection.detector import Answer, Detector


class Step(NamedTuple):
    """A training step: its work, every kernel a launch beyond the first, and the bytes of results alive at its worst moment."""

    work: Work
    live_bytes: float


def blank_targets(images: int, objects: int, device: torch.device) -> Targets:
    """Return targets of these sizes; what they say changes no count."""
    return Targets(
        torch.zeros((images, objects, 4), device=device), torch.zeros((images, objects), dtype=torch.int64, device=device),
        torch.ones((images, objects), dtype=torch.bool, device=device),
    )


class PlainLoss(nn.Module):
    """The loss of a detector on images of which each has so many objects."""

    def __init__(self, detector: Detector, objects: int) -> None:
        super().__init__()
        self.detector, self.objects = detector, objects

    def forward(self, images: Tensor) -> Tensor:
        answer = self.detector(images)
        return detection_loss(self.detector, answer, blank_targets(len(images), self.objects, images.device)).total


class MethodLoss(nn.Module):
    """A method's loss, its teacher's answer among it."""

    def __init__(self, method: DetectionMethod, student: Detector, teacher: Detector, objects: int) -> None:
        super().__init__()
        self.method, self.student, self.teacher, self.objects = method, student, teacher, objects

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            taught = cast("Answer", self.teacher(images)) if self.method.teaches else None
        answer = cast("Answer", self.student(images))
        targets, pasted = (blank_targets(len(images), objects, images.device) for objects in (self.objects, MOST))
        chances = torch.zeros(answer.logits.shape[:2], device=images.device)
        return self.method.loss(self.student, answer, taught, Batch(images, targets, pasted, chances))


class InversionLoss(nn.Module):
    """The loss of an iteration of inversion, of images that move and weights that do not."""

    def __init__(self, detector: Detector, images: int, recipe: InversionRecipe) -> None:
        super().__init__()
        self.detector, self.recipe = detector.requires_grad_(False), recipe
        self.images = nn.Parameter(torch.zeros((images, 3, recipe.side, recipe.side)))

    def forward(self, begin: Tensor) -> Tensor:
        self.detector.eval()
        size, device = len(self.images), begin.device
        moves = Moves((1, 1), self.recipe.flip > 0, torch.zeros((size, 1, 1, 1), device=device), torch.zeros((size, 4), device=device))
        targets = one_each(torch.zeros((size, 4), device=device), torch.zeros(size, dtype=torch.int64, device=device))
        return inversion_losses(self.detector, self.images, targets, moves, self.recipe).total


def trained_step(module: nn.Module, shape: tuple[int, ...], size: int, training: TrainingSettings) -> Step:
    """Return a step of *module*, which gives a loss of images of *shape*, in which *size* weights move."""
    found = count(module, shape, gradients_held=True)
    work = loading_work(float(torch.Size(shape).numel()), shape[0]) + found.work
    work += elementwise_work(size, flops=0, reads=0, writes=1, launches=1) + checking_work(size) + updating_work(training.rule, size)
    return Step(work.beyond_first(), _live(found))


def inversion_iteration(detector: Detector, images: int, recipe: InversionRecipe) -> Step:
    """Return an iteration of inversion of so many images: the gradient of the images, and Adam's step on them."""
    module = InversionLoss(detector, images, recipe)
    found = count(module, (1,))
    pixels = module.images.numel()
    work = found.work + elementwise_work(pixels, flops=14, reads=6, writes=5, launches=10)  # both moments, the step, the cut to [0, 1]
    return Step(work.beyond_first(), _live(found) + 3 * FLOAT_BYTES * pixels)


def paste_work(batch: int, side: int) -> Work:
    """Return the work of laying objects into a batch: each pixel is copied, a quarter of them are mixed."""
    pixels = float(3 * batch * side * side)
    return elementwise_work(pixels, flops=0.75, reads=1.5, writes=1.25, launches=2 * batch)


def _live(found: Count) -> float:
    return float(found.live_bytes)


@lru_cache(maxsize=64)
def first_step(net: NetSettings, classes: int, training: TrainingSettings, objects: int, side: int) -> Step:
    """Return a step of training a new detector."""
    detector = network(net, classes, torch.Generator().manual_seed(0))
    return trained_step(PlainLoss(detector, objects), (training.batch, 3, side, side), moving(detector), training)


def widened(net: NetSettings, sizes: tuple[int, ...]) -> Detector:
    """Return a detector that came to know so many classes in these steps."""
    found = network(net, sizes[0], torch.Generator().manual_seed(0))
    for size in sizes[1:]:
        found.freeze_norms()
        found.add_classes(size, torch.Generator().manual_seed(0))
    return found


@lru_cache(maxsize=128)
def increment_step(
    method: DetectionMethod, net: NetSettings, sizes: tuple[int, ...], training: TrainingSettings, objects: int, side: int
) -> Step:
    """Return a step of the increment that brings the last of *sizes*."""
    student, teacher = widened(net, sizes), widened(net, sizes[:-1]).requires_grad_(False)
    student.freeze_norms()
    method.prepare(student, teacher.classes)
    module = MethodLoss(method, student, teacher, objects)
    found = trained_step(module, (training.batch, 3, side, side), moving(student), training)
    if method.source != "none" and not method.replayed(training.batch):
        found = found._replace(work=found.work + paste_work(training.batch, side))
    return found


@lru_cache(maxsize=64)
def iteration(net: NetSettings, sizes: tuple[int, ...], images: int, recipe: InversionRecipe) -> Step:
    """Return an iteration of inversion of a detector that knows the classes of *sizes*."""
    return inversion_iteration(widened(net, sizes), images, recipe)


class Plan:
    """Works of all phases of a run of one program."""

    def __init__(self, spec: DetectionSettings) -> None:
        found = course(spec.data, spec.split)
        self.spec, self.sizes = spec, found.sizes
        self.images = tuple(map(len, found.steps))
        self.objects = tuple(step.most_boxes for step in found.steps)

    def parameters(self, step: int) -> int:
        """Return how many weights a detector has after *step*."""
        return _size(self.spec.net, self.sizes[: step + 1])

    @property
    def increments(self) -> range:
        """Their numbers; none where all is learnt at once."""
        return range(1, 1 if self.spec.method.sees_all else len(self.sizes))

    def base(self) -> tuple[Step, int]:
        """Return a step of the first training, and how many there are."""
        spec, training = self.spec, self.spec.base.training
        if spec.method.sees_all:
            step = first_step(spec.net, sum(self.sizes), training, max(self.objects), spec.data.side)
            return step, spec.base.joint_epochs * max(1, sum(self.images) // training.batch)
        step = first_step(spec.net, self.sizes[0], training, self.objects[0], spec.data.side)
        return step, training.epochs * max(1, self.images[0] // training.batch)

    def increment(self, number: int) -> tuple[Step, int]:
        """Return a step of increment *number*, and how many there are."""
        spec, training = self.spec, self.spec.training
        sizes = self.sizes[: number + 1]
        step = increment_step(spec.method, spec.net, sizes, training, self.objects[number], spec.data.side)
        return step, training.epochs * max(1, self.images[number] // (training.batch - spec.method.replayed(training.batch)))

    def generation(self, number: int) -> tuple[Step, int] | None:
        """Return an iteration of inversion before increment *number*, of one batch of images, and how many there are in all.

        A last batch that is not full is charged as a full one.
        """
        if self.spec.method.source != "inverted":
            return None
        recipe, old = self.spec.inversion.recipe(), sum(self.sizes[:number])
        images = min(self.spec.inversion.at_once or old, recipe.per_class * old)
        batches = -(-recipe.per_class * old // images)
        return iteration(self.spec.net, self.sizes[:number], images, recipe), batches * recipe.iterations

    def kept_bytes(self, step: int) -> float:
        """Bytes that are kept of the classes of *step*: histograms, or crops with their labels."""
        spec, found = self.spec, course(self.spec.data, self.spec.split)
        if spec.method.source == "none":
            return 0.0
        if spec.method.source == "real":
            crops = real_crops(found.steps[step], found.classes(step), spec.crops_per_class, spec.data.seed)
            return float(crops.nbytes + crops.labels.nbytes)
        return float(sum(each.nbytes for each in histograms(found.steps[step], found.classes(step))))

    def memory_bytes(self) -> float:
        """Bytes needed at the worst moment: weights, gradients and moments, the teacher's weights, and results alive."""
        step, _ = self.base()
        needed = FLOAT_BYTES * 4.0 * self.parameters(0) + step.live_bytes
        for number in self.increments:
            step, _ = self.increment(number)
            needed = max(needed, FLOAT_BYTES * 5.0 * self.parameters(number) + step.live_bytes)
            made = self.generation(number)
            if made is not None:
                needed = max(needed, FLOAT_BYTES * self.parameters(number - 1) + made[0].live_bytes)
        return needed


@lru_cache(maxsize=64)
def _size(net: NetSettings, sizes: tuple[int, ...]) -> int:
    return sum(weight.numel() for weight in widened(net, sizes).parameters())


def moving(detector: Detector) -> int:
    """Return how many weights of *detector* move."""
    return sum(weight.numel() for weight in detector.parameters() if weight.requires_grad)


@lru_cache(maxsize=64)
def planned(spec: DetectionSettings) -> Plan:
    """Return the plan of *spec*."""
    return Plan(spec)
