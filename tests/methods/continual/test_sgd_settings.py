"""Momentum, weight decay, schedules and a validation split: as torch's optimiser has them, planned as they are charged, and resumed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.methods.continual.driver import make, opening, run_plan, train
from toolkit.core import statefile
from toolkit.datasets import digits
from toolkit.datasets.own import held_out
from toolkit.methods.continual.settings import Sgd

MOVED = {"momentum": 0.9, "weight_decay": 0.01, "schedule": "cosine"}


def test_steps_are_those_of_torch() -> None:
    learner, _ = opening(make("er"), sgd={"momentum": 0.9, "weight_decay": 0.01})
    twin = nn.ParameterList([nn.Parameter(weight.detach().clone()) for weight in learner.parameters])
    optimiser = torch.optim.SGD(twin, lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(4):
        learner.begin_step(0.1 / (step + 1))
        optimiser.param_groups[0]["lr"] = learner.lr
        for place, (ours, theirs) in enumerate(zip(learner.parameters, twin, strict=True)):
            gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(100 * step + place))
            ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        learner.apply_gradient()
        optimiser.step()
    for ours, theirs in zip(learner.parameters, twin, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_rates_of_schedules() -> None:
    assert [Sgd().rate(2.0, share) for share in (0, 0.9)] == [2.0, 2.0]
    cosine = Sgd(schedule="cosine")
    assert [cosine.rate(2.0, share) for share in (0, 0.5, 1)] == pytest.approx([2.0, 1.0, 0.0])
    steps = Sgd(schedule="steps", milestones=[0.5, 0.8], factor=0.1)
    assert [steps.rate(1.0, share) for share in (0.49, 0.5, 0.79, 0.8)] == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("name", ["er", "oewc", "e2net"])
def test_a_run_with_them_is_resumed_and_planned(name: str) -> None:
    run = train(name, sgd=MOVED, save_every=5)
    first = next(place for place, saved in enumerate(run.context.saves) if statefile.loads(saved)["step"])
    assert torch.equal(train(name, sgd=MOVED, save_every=5, resume=run.context.saves[first]).weights, run.weights)
    plain = train(name, save_every=5)
    assert not torch.equal(run.weights, plain.weights)
    more = [run_plan(make(name), sgd=sgd).plan(0).work("step") for sgd in (MOVED, {})]
    charged = [each.context.work[0, "step"] for each in (run, plain)]
    assert charged[0].flops > charged[1].flops
    assert more[0].flops - more[1].flops == pytest.approx(charged[0].flops - charged[1].flops)
    assert more[0].read_bytes - more[1].read_bytes == pytest.approx(charged[0].read_bytes - charged[1].read_bytes)


@pytest.mark.parametrize("name", ["si", "oewc", "ewc", "mas"])
def test_the_penalty_is_in_the_loss_and_told(name: str) -> None:
    """Without a task behind it there is none; after one it is part of what is descended."""
    run = train(make(name, strength=100.0), lr=0.02)
    losses, penalties = run.context.values("train_loss"), run.context.values("train_penalty")
    assert len(losses) == 2
    assert len(penalties) in {1, 2}  # SI has one of 0 in the first task
    assert 0 < penalties[-1] < losses[-1]
    if len(penalties) == 2:
        assert penalties[0] == 0


def test_a_validation_split_takes_the_place_of_the_test_samples() -> None:
    whole = digits.load()
    split = held_out(whole, 0.25)
    assert len(split.train_labels) + len(split.test_labels) == len(whole.train_labels)
    shares = torch.bincount(split.test_labels) / torch.bincount(whole.train_labels)
    assert all(math.isclose(float(share), 0.25, abs_tol=0.01) for share in shares)
    assert torch.equal(held_out(whole, 0.25).test_images, split.test_images)
    learner, _ = opening(make("sgd"), stream={"tasks": 2, "validation": 0.25})
    assert len(learner.stream.test(0)) + len(learner.stream.test(1)) == len(split.test_labels)
