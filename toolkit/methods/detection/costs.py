"""What a step of any kind asks of a machine: the very code of it, run once on tensors without values and counted."""

from __future__ import annotations

import copy
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
from toolkit.methods.detection.settings import TrainingSettings
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


class Plan:
    """Works of all phases of a run of one program."""

    def __init__(self, spec: DetectionSettings) -> None:
        found = course(spec.data, spec.split)
        self.spec, self.sizes = spec, found.sizes
        self.images = tuple(map(len, found.steps))
        self.objects = tuple(step.most_boxes for step in found.steps)
        whole = network(spec.net, found.sizes[0], torch.Generator().manual_seed(0))
        self._whole = [copy.deepcopy(whole)]
        for size in found.sizes[1:]:
            whole.freeze_norms()
            whole.add_classes(size, torch.Generator().manual_seed(0))
            self._whole.append(copy.deepcopy(whole))

    def detector(self, step: int) -> Detector:
        """Return a detector as it is after *step*."""
        return copy.deepcopy(self._whole[step])

    def parameters(self, step: int) -> int:
        return sum(weight.numel() for weight in self._whole[step].parameters())

    def base(self) -> tuple[Step, int]:
        """Return a step of the first training, and how many there are."""
        training, side = self.spec.base.training, self.spec.data.side
        if self.spec.method.sees_all:
            net = network(self.spec.net, sum(self.sizes), torch.Generator().manual_seed(0))
            images, objects, epochs = sum(self.images), max(self.objects), self.spec.base.joint_epochs
        else:
            net, images, objects, epochs = self.detector(0), self.images[0], self.objects[0], training.epochs
        step = trained_step(PlainLoss(net, objects), (training.batch, 3, side, side), moving(net), training)
        return step, epochs * max(1, images // training.batch)

    def increment(self, number: int) -> tuple[Step, int]:
        """Return a step of increment *number*, and how many there are."""
        spec, method, training = self.spec, self.spec.method, self.spec.training
        student, teacher = self.detector(number), self.detector(number - 1).requires_grad_(False)
        method.prepare(student, teacher.classes)
        module = MethodLoss(method, student, teacher, self.objects[number])
        found = trained_step(module, (training.batch, 3, spec.data.side, spec.data.side), moving(student), training)
        if method.source != "none" and not method.replayed(training.batch):
            found = found._replace(work=found.work + paste_work(training.batch, spec.data.side))
        return found, training.epochs * max(1, self.images[number] // (training.batch - method.replayed(training.batch)))

    @property
    def increments(self) -> range:
        """Their numbers; none where all is learnt at once."""
        return range(1, 1 if self.spec.method.sees_all else len(self.sizes))

    def kept_bytes(self, step: int) -> float:
        """Bytes that are kept of the classes of *step*: histograms, or crops with their labels."""
        spec, found = self.spec, course(self.spec.data, self.spec.split)
        if spec.method.source == "none":
            return 0.0
        if spec.method.source == "real":
            crops = real_crops(found.steps[step], found.classes(step), spec.crops_per_class, spec.data.seed)
            return float(crops.nbytes + crops.labels.nbytes)
        return float(sum(each.nbytes for each in histograms(found.steps[step], found.classes(step))))

    def generation(self, number: int) -> tuple[Step, int] | None:
        """Return an iteration of inversion before increment *number*, of one batch of images, and how many there are in all."""
        if self.spec.method.source != "inverted":
            return None
        recipe, old = self.spec.inversion.recipe(), sum(self.sizes[:number])
        images = min(self.spec.inversion.at_once or old, recipe.per_class * old)
        batches = -(-recipe.per_class * old // images)
        return inversion_iteration(self.detector(number - 1), images, recipe), batches * recipe.iterations

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


def moving(detector: Detector) -> int:
    """Return how many weights of *detector* move."""
    return sum(weight.numel() for weight in detector.parameters() if weight.requires_grad)


@lru_cache(maxsize=64)
def planned(spec: DetectionSettings) -> Plan:
    """Return the plan of *spec*."""
    return Plan(spec)
