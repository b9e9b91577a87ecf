"""Saliencies against their definitions, and the rules that use them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.learning.pruning.networks import seeded
from toolkit.learning.pruning.costs import Costs
from toolkit.learning.pruning.finetune import FineTuning, train, wrong
from toolkit.learning.pruning.gates import gated_answer
from toolkit.learning.pruning.groups import PruningError, find_groups
from toolkit.learning.pruning.saliency import l1, obd, per_group, slimming, taylor
from toolkit.learning.pruning.select import SizeBudget, at_random, by_rank, filters_by_norm, magnitude_masks, weights_left
from toolkit.models.lenet import lenet5

MODEL = lenet5(filters=(4, 6), hidden=8, batch_norm=True).eval()
GROUPS = find_groups(MODEL, (1, 28, 28))
COSTS = Costs.of(GROUPS)
IMAGES = torch.randn((7, 1, 28, 28), generator=seeded(0))
LABELS = torch.randint(10, (7,), generator=seeded(1))


def test_taylor_and_obd_are_slopes_of_the_loss_at_the_gates() -> None:
    step, model, images = 1e-6, copy.deepcopy(MODEL).double(), IMAGES.double()

    def loss_of(gate: torch.Tensor, sample: int) -> float:
        with torch.no_grad():
            scores = gated_answer(model, GROUPS, gate, images[sample : sample + 1])
            return float(functional.cross_entropy(scores, LABELS[sample : sample + 1]))

    slopes = np.zeros((7, GROUPS.units))
    for unit in range(GROUPS.units):
        for sample in range(7):
            high, low = (torch.ones(GROUPS.units, dtype=torch.float64) for _ in range(2))
            high[unit] += step
            low[unit] -= step
            slopes[sample, unit] = (loss_of(high, sample) - loss_of(low, sample)) / (2 * step)
    assert np.allclose(taylor(model, GROUPS, images, LABELS), np.abs(slopes).sum(0), rtol=1e-4, atol=1e-6)
    assert np.allclose(obd(model, GROUPS, images, LABELS), 0.5 * (slopes**2).sum(0), rtol=1e-4, atol=1e-6)


def test_l1_and_slimming_by_hand() -> None:
    assert l1(MODEL, GROUPS)[1] == pytest.approx(float(MODEL.conv1.weight[1].detach().abs().sum()))
    assert l1(MODEL, GROUPS)[4 + 6 + 2] == pytest.approx(float(MODEL.hidden.weight[2].detach().abs().sum()))
    assert slimming(MODEL, GROUPS)[:10].tolist() == [1.0] * 10
    assert np.isinf(slimming(MODEL, GROUPS)[10:]).all()
    with pytest.raises(PruningError, match="BatchNorm"):
        slimming(lenet5(), find_groups(lenet5(), (1, 28, 28)))


def test_means_are_one_per_group() -> None:
    scaled = per_group(np.concatenate([np.arange(4.0), np.zeros(6), np.arange(8.0) + 1]), GROUPS)
    assert scaled[:4].tolist() == [0, 2 / 3, 4 / 3, 2]
    assert scaled[4:10].tolist() == [1] * 6
    assert scaled[10:].mean() == pytest.approx(1)


def test_rules_meet_budgets_and_empty_no_layer() -> None:
    params, (conv_macs, _) = COSTS.params(GROUPS.dense())[0], COSTS.macs(GROUPS.dense())
    rng = np.random.default_rng(0)
    value = rng.random(GROUPS.units)
    for budget in (SizeBudget(conv_macs=conv_macs[0] / 5), SizeBudget(params=params / 4), SizeBudget(conv_macs[0] / 5, params / 4)):
        drawn = at_random(rng, GROUPS, COSTS, budget)
        for mask in (by_rank(value, GROUPS, COSTS, budget), filters_by_norm(value, GROUPS, COSTS, budget), drawn):
            GROUPS.check(mask)
            assert budget.met(COSTS, mask)
    hopeless = by_rank(value, GROUPS, COSTS, SizeBudget(params=1))
    assert GROUPS.kept(hopeless) == (1, 1, 1)


def test_ranking_takes_the_least_first_and_only_what_helps() -> None:
    value = np.arange(GROUPS.units, dtype=float)[::-1]  # hidden units last in the mask are the least
    half = COSTS.macs(GROUPS.dense())[0][0] / 2
    mask = by_rank(value, GROUPS, COSTS, SizeBudget(conv_macs=half))
    assert mask[10:].all()  # hidden units do not help a budget of convolutions
    assert not mask[9]  # the least of conv2


def test_magnitude_by_hand() -> None:
    model = lenet5(filters=(2, 2), hidden=3)
    total = sum(weight.numel() for name, weight in model.named_parameters() if name.endswith("weight"))
    for per_layer in (True, False):
        masks = magnitude_masks(model, 0.9, per_layer=per_layer)
        zeros = sum(int((mask == 0).sum()) for mask in masks.values())
        assert zeros == pytest.approx(0.9 * total, abs=4)
        for name, mask in masks.items():
            weight = model.get_parameter(name).abs()
            if mask.any() and (mask == 0).any():
                assert weight[mask == 0].max() <= weight[mask == 1].min()
        assert weights_left(model, masks) == sum(weight.numel() for weight in model.parameters()) - zeros
    assert all(mask.all() for mask in magnitude_masks(model, 0.0, per_layer=True).values())


def test_training_learns_repeats_and_keeps_zeros() -> None:
    labels = torch.arange(60) % 3
    images = torch.randn((3, 1, 28, 28), generator=seeded(3))[labels] + 0.5 * torch.randn((60, 1, 28, 28), generator=seeded(4))
    first, second = (lenet5(filters=(4, 6), hidden=8) for _ in range(2))
    recipe = FineTuning(epochs=6, lr=3e-3, batch=20)
    for model in (first, second):
        train(model, images, labels, recipe, np.random.default_rng(5))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert wrong(first, images, labels) < 10
    sparse = lenet5(filters=(4, 6), hidden=8)
    alive = magnitude_masks(first, 0.8, per_layer=True)
    train(sparse, images, labels, recipe, np.random.default_rng(5), teacher=first, alive=alive)
    assert all(not sparse.get_parameter(name)[mask == 0].any() for name, mask in alive.items())
    assert not torch.equal(sparse.classifier.weight, first.classifier.weight)
