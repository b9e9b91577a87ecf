"""The work of a loss, read off autograd's graph, against what torch is seen to do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.learning.known_shapes import tensors_in
from toolkit.learning.loss_work import loss_work, place_of
from toolkit.learning.work import moves_nothing


class Seen(TorchDispatchMode):
    """Counts operations that reach a kernel."""

    kernels = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if list(tensors_in(result)) and not moves_nothing(func, func.overloadpacket.__name__):
            self.kernels += 1
        return result


def answer(device: str = "cpu") -> Tensor:
    """Scores that something was counted for."""
    return torch.ones(6, 10, device=device, requires_grad=True) * 1.0


LABELS = torch.zeros(6, dtype=torch.int64)
LOSSES = {
    "cross entropy": lambda scores: functional.cross_entropy(scores, LABELS.to(scores.device)),
    "mean of squares": lambda scores: (scores - 1).square().mean(),
    "two parts": lambda scores: functional.cross_entropy(scores[:3], LABELS[:3].to(scores.device)) + 0.5 * scores[3:].square().mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_kernels_are_those_that_are_seen(name: str) -> None:
    scores = answer()
    with Seen() as seen:
        loss = LOSSES[name](scores)
        torch.autograd.grad(loss, scores)
    work, answers = loss_work(loss, {place_of(scores)})
    assert answers == 1
    assert work.launches == pytest.approx(seen.kernels, abs=3)
    assert work.read_bytes > 0


@pytest.mark.parametrize("name", LOSSES)
def test_stand_ins_cost_what_numbers_do(name: str) -> None:
    found = []
    for device in ("cpu", "meta"):
        scores = answer(device)
        found.append(loss_work(LOSSES[name](scores), {place_of(scores)}))
    assert found[0] == found[1]


def test_the_way_ends_at_what_is_counted() -> None:
    scores = answer()
    deep = scores.exp().exp().exp()
    loss = LOSSES["mean of squares"](deep)
    assert loss_work(loss, {place_of(deep)})[0].launches == loss_work(loss, {place_of(scores)})[0].launches - 6
    both = scores.sum() + deep.sum()
    assert loss_work(both, {place_of(scores), place_of(deep)})[1] == 2
