"""What a student keeps of its teacher: old answers at chosen cells, distributions of sides there, features where old objects lie.

Sources: EGOR's training loss (its selection by the highest answers); ERD (Feng et al. 2022, arXiv 2204.02136) for the selection by mean and
deviation and for suppression among the chosen boxes; localisation distillation, Zheng et al. 2022. All is done with masks of fixed shapes,
so an empty choice gives 0 and a gradient of 0.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from toolkit.datasets.detection.targets import Targets
from toolkit.models.detection.detector import Answer, Detector
from toolkit.models.detection.nms import suppressed_in_batch
from toolkit.models.detection.roi_align import level_of, roi_align

Select = Literal["topk", "elastic"]
TEMPERATURE = 10.0
SAME_OBJECT = 0.005
"""IoU above which two chosen boxes of a class are one."""
FINEST = 7.0
"""Size of box, in strides of the finest level, below twice of which it is looked at there: 56 pixels at stride 8."""
ELASTIC_SHARE = 0.2
"""Of any numbers no more than a fifth lie two deviations above their mean (Cantelli's inequality)."""


class Chosen(NamedTuple):
    """Cells of each image."""

    places: Tensor
    """(b, k)."""
    valid: Tensor
    """(b, k) bool."""


def choose(values: Tensor, select: Select, *, share: float = 0.05, least: int = 50) -> Chosen:
    """Return the cells of each image with the highest of *values* (b, cells).

    `topk` takes a *share* of them and *least* at least, `elastic` those more than two deviations above their image's mean.
    """
    cells = values.shape[1]
    if select == "topk":
        best = values.topk(min(cells, max(least, round(share * cells))), dim=1)
        return Chosen(best.indices, torch.ones_like(best.indices, dtype=torch.bool))
    best = values.topk(max(1, math.ceil(ELASTIC_SHARE * cells)), dim=1)
    limit = values.mean(dim=1, keepdim=True) + 2 * values.std(dim=1, keepdim=True)
    return Chosen(best.indices, best.values > limit)


def at(values: Tensor, places: Tensor) -> Tensor:
    """Return *values* (b, cells, ...) at *places* (b, k)."""
    index = places.reshape(*places.shape, *(1,) * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


def score_term(student: Tensor, teacher: Tensor, chosen: Chosen) -> Tensor:
    """Return the mean square of what the logits of old classes (b, cells, old) differ by at the *chosen* cells."""
    gap = (at(student, chosen.places) - at(teacher, chosen.places)).square().mean(dim=-1)
    return (gap * chosen.valid).sum() / chosen.valid.sum().clamp(min=1)


def side_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return, for each box, the divergence of the softened distributions (..., 4, bins) of its sides: times T^2, mean over both."""
    ours, theirs = (student / TEMPERATURE).log_softmax(dim=-1), (teacher / TEMPERATURE).log_softmax(dim=-1)
    return TEMPERATURE**2 * (theirs.exp() * (theirs - ours)).mean(dim=(-1, -2))


def standing(detector: Detector, answer: Answer, chosen: Chosen, old: int) -> Chosen:
    """Return *chosen* less the boxes of *answer* that a better one of the same old class overlaps."""
    boxes = at(detector.boxes(answer, detector.cells(answer)), chosen.places)
    best = at(answer.logits[..., :old], chosen.places).max(dim=-1)
    scores = torch.where(chosen.valid, best.values, torch.full_like(best.values, -1e9))
    return Chosen(chosen.places, suppressed_in_batch(boxes, scores, best.indices, SAME_OBJECT) & chosen.valid)


def side_term(student: Answer, teacher: Answer, chosen: Chosen, old: int) -> Tensor:
    """Return the divergence of sides at the *chosen* cells, weighted by the student's best old score there; a sum, per image."""
    weight = at(student.logits[..., :old].detach(), chosen.places).sigmoid().amax(dim=-1) * chosen.valid
    gap = side_divergence(at(student.bins, chosen.places), at(teacher.bins, chosen.places))
    return (gap * weight).sum() / len(weight)


def roi_term(student: Answer, teacher: Answer, objects: Targets, strides: tuple[int, ...]) -> Tensor:
    """Return the sum over levels of the norm of what the features of *objects* differ by, each object on the level of its size."""
    levels = level_of(objects.boxes, len(strides), FINEST * strides[0])
    found = []
    for level, (ours, theirs) in enumerate(zip(student.towers, teacher.towers, strict=True)):
        taken = (objects.valid & (levels == level)).to(ours.dtype)
        gap = roi_align(ours - theirs, objects.boxes, strides[level])  # linear in the maps
        found.append(torch.linalg.vector_norm(gap * taken.reshape(*taken.shape, 1, 1, 1)))
    return torch.stack(found).sum()


class KeptAnswers(NamedTuple):
    """The three terms, unweighted."""

    scores: Tensor
    sides: Tensor
    features: Tensor


def kept_answers(
    detector: Detector, student: Answer, teacher: Answer, objects: Targets | None, *, select: Select, share: float, least: int
) -> KeptAnswers:
    """Return what *student* has lost of *teacher*, at cells chosen by the teacher's answers.

    Args:
        detector: the student, for its geometry.
        student: its answer; the first columns are the teacher's.
        teacher: without gradients.
        objects: pasted old objects; None where there are none.
        select: how cells are chosen.
        share: of the cells, for `topk`.
        least: cells, for `topk`.
    """
    old = teacher.logits.shape[2]
    by_score = choose(teacher.logits.amax(dim=-1), select, share=share, least=least)
    by_sides = choose(teacher.bins.amax(dim=(-1, -2)), select, share=share, least=least)
    scores = score_term(student.logits[..., :old], teacher.logits, by_score)
    sides = side_term(student, teacher, standing(detector, teacher, by_sides, old), old)
    features = scores.new_zeros(()) if objects is None else roi_term(student, teacher, objects, detector.strides)
    return KeptAnswers(scores, sides, features)
