"""Saliency: how much the loss would mind if a unit were gone, one number per bit of the mask.

- `taylor`: |dL/dgate| at gate 1, summed over the samples of a fixed batch (first order; Molchanov et al. 2017 for the criterion, there on
  activations). The gate sits where the unit is read, so normalisation and bias are part of it.
- `obd`: one half of H_ii g^2 with g = 1, the curvature H_ii by Gauss-Newton as the sum of squared per-sample gradients (LeCun, Denker,
  Solla 1990 for the criterion; the diagonal there is of weights, here of gates).
- `l1`: sum of the absolute weights of the unit's filters (Li et al. 2017); tied filters are added, and so are the rows of a head.
- `slimming`: |gamma| of the unit's BatchNorm (Liu et al. 2017).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from toolkit.learning.pruning.gates import gated_answer, gates_apart
from toolkit.learning.pruning.groups import Groups, PruningError
from toolkit.learning.pruning.trace import leaves

Saliency = NDArray[np.float64]
CHUNK = 250


def gate_gradients(model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> tuple[Saliency, Saliency]:
    """Return the sums over samples of |dL_n/dgate_i| and of (dL_n/dgate_i)^2, each (units,)."""
    absolute, square = np.zeros(groups.units), np.zeros(groups.units)
    chunk = CHUNK if gates_apart(groups) else 1
    for begin in range(0, len(labels), chunk):
        part = slice(begin, begin + chunk)
        gate = torch.ones((len(labels[part]), groups.units), dtype=next(model.parameters()).dtype, requires_grad=True)
        (scores,) = (item for item in leaves(gated_answer(model, groups, gate, images[part])) if isinstance(item, Tensor))
        loss = functional.cross_entropy(scores, labels[part], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, gate)
        each = gradient.double().numpy()
        absolute += np.abs(each).sum(axis=0)
        square += (each**2).sum(axis=0)
    return absolute, square


def taylor(model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> Saliency:
    """Return the first-order Taylor saliency (units,) on a calibration batch."""
    return gate_gradients(model, groups, images, labels)[0]


def obd(model: nn.Module, groups: Groups, images: Tensor, labels: Tensor) -> Saliency:
    """Return the second-order saliency (units,) on a calibration batch."""
    return 0.5 * gate_gradients(model, groups, images, labels)[1]


def l1(model: nn.Module, groups: Groups) -> Saliency:
    """Return the L1 norm of each unit's filters (units,)."""
    weights = dict(model.named_parameters())
    total = np.zeros(groups.units)
    for sources in groups.sources:
        for name in sources:
            dim = groups.made_along[name]
            owner = groups.owners[name, dim]
            norm = weights[name].detach().abs().movedim(dim, 0).flatten(1).sum(1).double().numpy()
            np.add.at(total, owner[owner >= 0], norm[owner >= 0])
    return total


def slimming(model: nn.Module, groups: Groups) -> Saliency:
    """Return |gamma| of each unit's BatchNorm (units,), infinite for units without one.

    Raises:
        PruningError: no unit has BatchNorm.
    """
    found = np.full(groups.units, np.inf)
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (f"{path}.weight", 0) in groups.owners:
            owner = groups.owners[f"{path}.weight", 0]
            gamma = module.weight.detach().abs().double().numpy()
            for unit, value in zip(owner[owner >= 0].tolist(), gamma[owner >= 0].tolist(), strict=True):
                found[unit] = value if np.isinf(found[unit]) else found[unit] + value
    if np.isinf(found).all():
        raise PruningError(f"{type(model).__name__}: network slimming ranks by BatchNorm, and no prunable layer has one")
    return found


def per_group(saliency: Saliency, groups: Groups) -> Saliency:
    """Return *saliency* with mean 1 within every group; a group of zeros gets ones."""
    scaled = np.ones(groups.units)
    for group in groups.groups:
        mean = saliency[group.part].mean()
        if np.isfinite(mean) and mean > 0:
            scaled[group.part] = saliency[group.part] / mean
    return scaled
