"""Losses between what a frozen network sees in the teacher's and in the student's images.

Source: RDD (arXiv 2410.07679) and RCFD as their public code has them. Maps are (n, channels, height, width), pooled vectors (n, channels);
the teacher's side never gets a gradient, since it is made without one. All are mean Kullback-Leibler divergences of softmaxes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Pairs = Literal["all", "same"]


def divergence(teacher: Tensor, student: Tensor, dim: int = -1) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) along *dim*, of every row."""
    log_teacher, log_student = teacher.log_softmax(dim), student.log_softmax(dim)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim)


def class_loss(teacher: Tensor, student: Tensor, temperature: float = 0.9) -> Tensor:
    """Return CFD's loss of pooled vectors; *temperature* sharpens the teacher's alone."""
    return divergence(teacher / temperature, student).mean()


def pixels(maps: Tensor) -> Tensor:
    """Return unit vectors (n, places, channels) of the places of *maps*."""
    return functional.normalize(maps.flatten(2).transpose(1, 2), dim=-1)


def relation_loss(teacher: Tensor, student: Tensor, pairs: Pairs = "all", temperature: float = 1.0) -> Tensor:
    """Return the loss of how alike places are: of each image's with every image's (``all``), or with its own (``same``).

    Images b and d have the similarities of d and b, transposed, so each pair is multiplied once and taken along both axes.
    """
    images, places = len(student), student[0, 0].numel()
    one, other, apart = _pairs(images, pairs)
    taught, learnt = ((maps[one] @ maps[other].transpose(1, 2)) / temperature for maps in (pixels(teacher), pixels(student)))
    total = divergence(taught, learnt).sum()
    if pairs == "same":
        return total / (images * places)
    return (total + divergence(taught[apart], learnt[apart], dim=1).sum()) / (images**2 * places)


def _pairs(images: int, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first and the second image of every pair, and the places of pairs of two; each pair once."""
    one, other = np.triu_indices(images) if pairs == "all" else (np.arange(images), np.arange(images))
    return torch.from_numpy(one), torch.from_numpy(other), torch.from_numpy(np.flatnonzero(one != other))


def memory_loss(teacher: Tensor, student: Tensor, keys: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the loss of how alike places are with *keys* (count, channels), unit vectors."""
    taught, learnt = (pixels(maps).flatten(0, 1) @ keys.T / temperature for maps in (teacher, student))
    return divergence(taught, learnt).mean()
