"""What every method keeps: replicas are equal to the bit, bytes are those it says, nothing is lost, and a run can be interrupted."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from tests.methods.distributed.driver import LAYOUT, MATRICES, NAMES, SCHEDULES, make, train
from toolkit.core import statefile
from toolkit.core.local import LocalContext
from toolkit.learning.flat import FlatLayout
from toolkit.learning.plain_state import plain, restored

EVERY = pytest.mark.parametrize("name", NAMES)
WITH_RESIDUAL = {"dgc", "ef_signsgd", "gs_sgd", "gtop_k", "one_bit", "powersgd", "random_k", "sketched_sgd", "top_k"}
"""Methods with error feedback on the workers; others may have it too, but these have to."""


@EVERY
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_replicas_are_equal_to_the_bit(name: str, size: int, schedule: str) -> None:
    run = train(make(name), size, 2, schedule=schedule)
    for weights in run.weights[1:]:
        assert torch.equal(weights, run.weights[0])
    assert torch.isfinite(run.weights[0]).all()
    assert not torch.equal(run.weights[0], run.begin)


@EVERY
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    assert torch.equal(train(make(name), 3, 6).weights[0], train(make(name), 3, 6).weights[0])


@EVERY
@pytest.mark.parametrize("layout", [LAYOUT, FlatLayout(((37, 11), (13,)))], ids=["even", "odd"])
def test_wire_bytes_are_the_bytes_sent(name: str, layout: FlatLayout) -> None:
    """Between two workers, doubling hands over each payload once."""
    method = make(name)
    steps = 4
    run = train(method, 2, steps, layout=layout, schedule="recursive_doubling")
    for context in run.contexts[:2]:
        assert context.sent_bytes == steps * method.wire_bytes(layout)


@EVERY
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_what_was_applied_and_what_is_kept_is_what_came_in(name: str, inside: bool, size: int) -> None:
    """Without momentum: P times all updates and all residuals are the learning rate times all gradients."""
    if inside and "lr_inside" not in type(make(name)).model_fields:
        pytest.skip("has no lr_inside")
    method = make(name, momentum=0.0, **({"lr_inside": True} if inside else {}))
    lr = 0.125
    run = train(method, size, 15, layout=MATRICES, lr=lr)
    errors = [getattr(state, "error", None) for state in run.states[:size]]
    if name not in WITH_RESIDUAL and (errors[0] is None or errors[0].shape != (MATRICES.size,)):
        pytest.skip("keeps no residual of its own")
    applied = size * (run.begin.double() - run.weights[0].double())
    kept = sum(error.double() for error in errors) * (1.0 if inside else lr)
    came = lr * run.gradients
    assert (applied + kept - came).norm() <= 1e-5 * came.norm()


def kept_and_read(state: tuple[Any, torch.Tensor]) -> tuple[Any, torch.Tensor]:
    """Through the bytes of a state file, into a state of the same settings whose numbers are all different."""
    kept = statefile.loads(statefile.dumps(plain(state)))
    other = copy.deepcopy(state[0])
    for each in dataclasses.fields(other):
        if isinstance(getattr(other, each.name), torch.Tensor):
            setattr(other, each.name, torch.full((2,), 7.0))
    return restored(other, kept[0]), kept[1]


@EVERY
@pytest.mark.parametrize("copied", [copy.deepcopy, kept_and_read], ids=["copied", "kept"])
def test_a_run_goes_on_from_a_copy_of_its_state(name: str, copied) -> None:
    whole = train(make(name), 3, 7)
    broken = train(make(name), 3, 7, interrupt=(3, copied))
    for weights in broken.weights:
        assert torch.equal(weights, whole.weights[0]) or name == "local_sgd"
    assert torch.equal(broken.weights[0], whole.weights[0])


@EVERY
def test_a_state_keeps_nothing_of_the_gradient_it_was_given(name: str) -> None:
    """The training loop writes the next gradient into the same memory."""
    assert torch.equal(train(make(name), 3, 6, fresh=True).weights[0], train(make(name), 3, 6).weights[0])


@EVERY
def test_every_step_charges_its_own_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    charged = []
    compute = LocalContext.compute

    def watched(context, work, phase=""):
        charged.append((context.rank, work, phase))
        return compute(context, work, phase)

    monkeypatch.setattr(LocalContext, "compute", watched)
    train(make(name), 2, 3)
    assert all(min(work) >= 0 for _, work, _ in charged)
    for rank in (0, 1):
        own = [work for who, work, phase in charged if who == rank and phase == "compress"]
        assert len(own) >= 3
        assert sum(work.flops for work in own) > 0
        assert sum(work.read_bytes for work in own) >= 3 * 4 * LAYOUT.size
        assert sum(work.write_bytes for work in own) > 0


@EVERY
def test_one_worker_and_several_learn(name: str) -> None:
    rate = 0.02 if name == "signsgd" else 0.06
    for size in (1, 3):
        run = train(make(name, momentum=0.0), size, 70, lr=rate, task="quadratic")
        assert run.loss(run.weights[0]) < 0.2 * run.loss(run.begin)
