"""The training loop and its state: equality with a loop by hand, resume, divergence, and a family of its own in twenty lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.core.context import Asking, Context, PeerLost
from toolkit.core.local import run_local
from toolkit.errors import DivergenceError, ScenarioError
from toolkit.learning.train_state import TrainState, check_finite
from toolkit.methods.loop import training_loop
from toolkit.methods.objective import Objective
from toolkit.models.condensenet import condensenet

# A new family: least squares, learnt by plain SGD. Its objective, and what a step is.


class Line(Objective[Tensor]):
    def build(self, generator: torch.Generator) -> nn.Module:
        model = nn.Linear(2, 1)
        for weight in model.parameters():
            nn.init.normal_(weight, generator=generator)
        return model

    def batch(self, ctx: Context, step: int, size: int) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(ctx.shared_rng("x", step).normal(size=(size, 2)).astype(np.float32))
        return x, x @ torch.tensor([[2.0], [-1.0]]) + 0.5

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return (model(inputs) - targets).square().mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"error": float((model.weight.detach() - torch.tensor([[2.0, -1.0]])).abs().max())}  # type: ignore[operator]


class Fit:
    who, rate_key = "a line", "program.lr"

    def __init__(self, ctx: Context, state: TrainState[None], lr: float = 0.1) -> None:
        self.ctx, self.state, self.lr, self.steps_taken = ctx, state, lr, 0

    def take_step(self) -> Asking:
        self.state.backward(Line().loss(self.state.model, *Line().batch(self.ctx, self.state.step, 8)), rate=self.lr)
        self.state.weights.add_(self.state.gradient, alpha=-self.lr)
        self.steps_taken += 1
        yield self.ctx.sleep(0)

    def step_done(self) -> None:
        self.ctx.metric("done", float(self.state.step))

    def evaluate(self) -> None:
        self.ctx.metric("error", Line().evaluate(self.state.model)["error"], step=self.state.step)

    def peer_lost(self, lost: PeerLost) -> Asking:
        raise lost


def new_state() -> TrainState[None]:
    return TrainState.create(Line().build(torch.Generator().manual_seed(1)), None)


def test_a_family_of_its_own_learns() -> None:
    def program(ctx: Context) -> Asking:
        state = new_state()
        yield from training_loop(ctx, state, Fit(ctx, state), steps=200, evaluate_every=50, save_every=None)

    (ctx,) = run_local(program, 1, seed=3)
    errors = {metric.step: metric.value for metric in ctx.metrics if metric.name == "error"}
    assert list(errors) == [0, 50, 100, 150]
    assert errors[0] > 0.5
    assert errors[150] < 1e-4
    assert [metric.value for metric in ctx.metrics if metric.name == "done"] == list(range(1, 201))


def test_the_flat_state_steps_as_torch_does() -> None:
    state, model = new_state(), Line().build(torch.Generator().manual_seed(1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)

    def program(ctx: Context) -> Asking:
        for step in range(5):
            optimiser.zero_grad()
            Line().loss(model, *Line().batch(ctx, step, 8)).backward()
            optimiser.step()
        yield from training_loop(ctx, state, Fit(ctx, state), steps=5, evaluate_every=None, save_every=None)

    run_local(program, 1, seed=3)
    for mine, theirs in zip(state.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_a_stopped_training_goes_on_from_what_it_kept_and_ends_alike() -> None:
    kept: list[tuple[int, dict[str, Any]]] = []

    def program(ctx: Context) -> Asking:
        ctx.save = lambda step, state: kept.append((step, state))  # type: ignore[method-assign]
        whole, again = new_state(), new_state()
        yield from training_loop(ctx, whole, Fit(ctx, whole), steps=10, evaluate_every=None, save_every=4)
        assert [step for step, _ in kept] == [4, 8, 10]
        again.load_state_dict(kept[0][1])
        course = Fit(ctx, again)
        yield from training_loop(ctx, again, course, steps=10, evaluate_every=None, save_every=None)
        assert course.steps_taken == 6
        assert torch.equal(again.weights, whole.weights)

    run_local(program, 1, seed=3)


def test_divergence_is_one_sentence_with_setting_step_and_rate() -> None:
    def program(ctx: Context) -> Asking:
        state = new_state()
        yield from training_loop(ctx, state, Fit(ctx, state, lr=1e6), steps=200, evaluate_every=None, save_every=None)

    sentence = r"^program\.lr: training a line diverged in step \d+ at a learning rate of 1e\+06: its .*; use a lower one$"
    with pytest.raises(ScenarioError, match=sentence):
        run_local(program, 1, seed=3)


@pytest.mark.parametrize(("loss", "gradients", "says"), [
    (float("nan"), [[1.0]], "its loss is nan"), (float("inf"), [[1.0]], "its loss is inf"),
    (1.0, [[1.0], [float("nan"), 0.0]], "its gradient is not finite"), (1.0, [[float("-inf")]], "its gradient is not finite"),
])
def test_what_is_not_finite_is_found(loss: float, gradients: list[list[float]], says: str) -> None:
    with pytest.raises(DivergenceError, match=says):
        check_finite(torch.tensor(loss), *map(torch.tensor, gradients), step=3, rate=0.5)


def test_huge_but_finite_is_no_divergence() -> None:
    check_finite(torch.tensor(3e38), torch.tensor([3e38, -3e38]), torch.zeros(0), step=3, rate=0.5)


def test_a_network_that_changes_while_it_trains_goes_on_in_the_same_stage() -> None:
    def state() -> TrainState[None]:
        return TrainState.create(condensenet(growth=(4,), blocks=(2,), in_channels=1, generator=torch.Generator().manual_seed(1)), None)

    first, second = state(), state()
    first.model.advance(0.4)  # type: ignore[operator]
    second.load_state_dict(first.state_dict())
    stages = [[layer.stage for layer in each.model.learned()] for each in (first, second)]  # type: ignore[operator]
    assert stages[0] == stages[1]
    assert max(stages[0]) > 0
    images = torch.rand((3, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    assert torch.equal(first.model.eval()(images), second.model.eval()(images))
