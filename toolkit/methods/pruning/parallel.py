"""Evaluation over real processes of this machine: each counts the mistakes of its share of the masks."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from toolkit.learning.genetic.genome import Mask
from toolkit.learning.pruning.evaluate import Evaluator, best_evaluator
from toolkit.learning.pruning.groups import find_groups
from toolkit.methods.pruning.messages import weights_of
from toolkit.methods.pruning.problem import Numbers, Problem

_KNOWN: dict[str, Evaluator] = {}
"""The evaluator of the present network, in every process."""


def wrong_in_processes(problem: Problem, masks: Mask, processes: int) -> Numbers:
    """Return the mistakes of *masks* (n,), counted by so many processes; the same numbers as in one."""
    import joblib

    images, labels = (tensor.numpy() for tensor in problem.samples.validation)
    only = tuple(group.name for group in problem.groups.groups)
    token = hashlib.blake2b(weights_of(problem.model).numpy().tobytes() + repr(only).encode(), digest_size=16).hexdigest()
    shares = [share for share in np.array_split(masks, processes) if len(share)]
    pool = joblib.Parallel(n_jobs=processes)
    parts = pool(joblib.delayed(_wrong)(token, problem.model, only, images, labels, share) for share in shares)
    return np.concatenate(parts)


def _wrong(token: str, model: Any, only: tuple[str, ...], images: Any, labels: Any, masks: Mask) -> Numbers:
    torch.set_num_threads(1)
    if token not in _KNOWN:
        _KNOWN.clear()
        pixels, classes = torch.from_numpy(np.array(images)), torch.from_numpy(np.array(labels))
        _KNOWN[token] = best_evaluator(model, find_groups(model, tuple(images.shape[1:]), only), pixels, classes)
    return _KNOWN[token].wrong(masks)
