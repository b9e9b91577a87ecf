"""Rules that pick a mask without a search: by rank until a budget is met, alike in every layer, at random; and weights by magnitude."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.learning.pruning.costs import Costs
from toolkit.learning.pruning.groups import Groups, Mask
from toolkit.learning.pruning.saliency import Saliency


@dataclass(frozen=True)
class SizeBudget:
    """What may be left; None where there is no limit."""

    conv_macs: float | None = None
    params: float | None = None

    def met(self, costs: Costs, mask: Mask) -> bool:
        """Return whether *mask* leaves no more than that."""
        params, (convolutions, _) = costs.params(mask)[0], costs.macs(mask)
        return (self.params is None or params <= self.params) and (self.conv_macs is None or convolutions[0] <= self.conv_macs)


def removal_order(saliency: Saliency, groups: Groups) -> list[int]:
    """Return the units from the least to the most salient, without the most salient of each group, which always stays."""
    stays = {group.start + int(np.argmax(saliency[group.part])) for group in groups.groups}
    return [int(unit) for unit in np.argsort(saliency, kind="stable") if int(unit) not in stays]


def by_rank(saliency: Saliency, groups: Groups, costs: Costs, budget: SizeBudget) -> Mask:
    """Remove unit after unit, the least salient of the whole network first, until *budget* is met or nothing is left to remove.

    A unit whose going no longer serves is passed over: one that no limit still exceeded would gain from.
    """
    mask = groups.dense()
    for unit in removal_order(saliency, groups):
        if budget.met(costs, mask):
            break
        trial = mask.copy()
        trial[unit] = False
        if _helps(costs, mask, trial, budget):
            mask = trial
    return mask


def _helps(costs: Costs, before: Mask, after: Mask, budget: SizeBudget) -> bool:
    """Whether a limit that is still exceeded comes nearer."""
    both = np.stack([before, after])
    params, (convolutions, _) = costs.params(both), costs.macs(both)
    over = (budget.params is not None and params[0] > budget.params, budget.conv_macs is not None and convolutions[0] > budget.conv_macs)
    return bool((over[0] and params[1] < params[0]) or (over[1] and convolutions[1] < convolutions[0]))


def alike(
    order_of: Callable[[slice], np.ndarray[tuple[int], np.dtype[np.int64]]], groups: Groups, costs: Costs, budget: SizeBudget
) -> Mask:
    """Remove the same share of every group, the first of each group's order, the smallest share that meets *budget* (Li et al. 2017).

    *order_of* returns for the bits of a group the places within it from the first to go to the last.
    """
    orders = {group.name: order_of(group.part) for group in groups.groups}
    mask = groups.dense()
    for share in np.linspace(0, 1, 201):
        mask = groups.dense()
        for group in groups.groups:
            gone = orders[group.name][: min(round(share * group.size), group.size - 1)]
            mask[group.start + gone] = False
        if budget.met(costs, mask):
            return mask
    return mask


def filters_by_norm(saliency: Saliency, groups: Groups, costs: Costs, budget: SizeBudget) -> Mask:
    """Remove the same share of every group, the smallest norms first."""
    return alike(lambda part: np.argsort(saliency[part], kind="stable"), groups, costs, budget)


def at_random(rng: np.random.Generator, groups: Groups, costs: Costs, budget: SizeBudget) -> Mask:
    """Remove the same share of every group, drawn at random."""
    return alike(lambda part: rng.permutation(part.stop - part.start), groups, costs, budget)


def magnitude_masks(model: nn.Module, share: float, *, per_layer: bool) -> dict[str, Tensor]:
    """Return masks by name that zero the smallest *share* of all weights of convolutions and linear layers, biases apart (Han et al. 2015).

    The threshold is one for the whole network, or one per layer with the same share of each. Only storage is saved: a dense machine
    multiplies zeros as fast as anything else.
    """
    weights = {
        f"{path}.weight": module.weight.detach() for path, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    if per_layer:
        return {name: (weight.abs() > _quantile(weight.abs().flatten(), share)).to(weight.dtype) for name, weight in weights.items()}
    threshold = _quantile(torch.cat([weight.abs().flatten() for weight in weights.values()]), share)
    return {name: (weight.abs() > threshold).to(weight.dtype) for name, weight in weights.items()}


def _quantile(values: Tensor, share: float) -> Tensor:
    """The value at and below which *share* of *values* lies; below all of them for 0."""
    count = round(share * values.numel())
    return values.kthvalue(count).values if count else values.new_tensor(-1.0)


def weights_left(model: nn.Module, masks: Mapping[str, Tensor]) -> int:
    """Return how many parameters are not zeroed: what a sparse format would store, indices not counted."""
    return sum(int(masks[name].sum()) if name in masks else weight.numel() for name, weight in model.named_parameters())
