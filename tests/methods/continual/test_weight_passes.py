"""Passes over vectors of all weights: what a method says that they take is the arithmetic that torch is seen to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.methods.continual.by_hand import batch_of, begun
from toolkit.methods.continual.learner import Learner

ONE = ("add", "sub", "rsub", "mul", "div", "neg", "abs", "sqrt", "exp", "square", "pow", "clamp_min", "sum", "mean")
TWO = ("clamp", "addcmul", "addcdiv")


class Arithmetic(TorchDispatchMode):
    """Counts operations on vectors of *size* numbers, one per number and operation; sums count what they add up."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.flops = size, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        count = (name in ONE) + 2 * (name in TWO)
        largest = max((x for x in (*args, found) if isinstance(x, torch.Tensor)), key=torch.Tensor.numel, default=None)
        if count and largest is not None and largest.dim() and largest.shape[-1] == self.size:
            self.flops += count * largest.numel()
            if name == "add" and (kwargs or {}).get("alpha", 1) != 1:
                self.flops += largest.numel()
        return found


def told_and_done(found: Learner, act: Callable[[], object]) -> tuple[float, float]:
    """What the learner was told of passes over its weights while *act* happened, and what torch did; in operations per weight."""
    size = found.net.size
    told: list[tuple[float, float, float]] = []
    plain = type(found.net).over_weights

    def watched(self: Any, *, flops: float, reads: float, writes: float) -> None:
        told.append((flops, reads, writes))
        plain(self, flops=flops, reads=reads, writes=writes)

    with pytest.MonkeyPatch.context() as patch, Arithmetic(size) as seen:
        patch.setattr(type(found.net), "over_weights", watched)
        act()
    for flops, reads, writes in told:
        assert reads >= 1
        assert writes >= 1
        assert flops or reads == writes, "what is only moved is written as often as it is read"
    return math.fsum(flops for flops, _, _ in told), seen.flops / size


def first_task_and_a_step(name: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """`told_and_done` of the end of the first task, and of a step of the second."""
    method, found, state = begun(name, 2)
    end = told_and_done(found, lambda: method.end_task(found, state))
    found.task = 1
    method.begin_task(found, state)
    method.begin_epoch(found, state)
    return end, told_and_done(found, lambda: method.step(found, state, batch_of(found)))


def test_synapses_take_what_they_are_charged() -> None:
    for told, done in first_task_and_a_step("si"):
        assert told == done > 0


@pytest.mark.parametrize(("name", "reported"), [("oewc", 0), ("ewc", 1), ("mas", 1)])
def test_springs_take_what_they_are_charged(name: str, reported: int) -> None:
    """In a step; where the penalty is halved for the report alone, that is a pass which is not charged."""
    _, (told, done) = first_task_and_a_step(name)
    assert told == done - reported > 0


def test_importances_take_what_they_are_charged() -> None:
    """At the end of a task, over the gradients of all its samples; what is left over is the beginning of a sum."""
    (told, done), _ = first_task_and_a_step("ewc")
    assert told == pytest.approx(done, rel=0.01)


@pytest.mark.parametrize("name", ["hal", "cls_er", "gem", "a_gem", "gss", "lwf", "icarl", "e2net", "muc", "etag"])
def test_every_pass_reads_and_writes(name: str) -> None:
    """And what is only moved is written as often as it is read."""
    first_task_and_a_step(name)
