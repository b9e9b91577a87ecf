"""Laws of exchanging gradients: replicas are equal to the bit, bytes are those it says, nothing is lost, a run can be interrupted."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from toolkit.core import statefile
from toolkit.core.local import LocalContext
from toolkit.core.work import Work
from toolkit.laws import require
from toolkit.laws.local_training import LAYOUT, MATRICES, SCHEDULES, train
from toolkit.learning.flat import FlatLayout
from toolkit.learning.plain_state import plain, restored
from toolkit.methods.distributed import ExchangeMethod

SIZES = (1, 2, 3, 4, 5, 8)
RATES = (0.06, 0.02)
"""Learning rates, of which one has to do."""


def replicas_are_equal_to_the_bit(part: ExchangeMethod, sizes: Sequence[int] = SIZES, schedules: Sequence[str] = SCHEDULES) -> None:
    """Whatever adds up, however many workers: all end with the same finite weights, and other ones than at the beginning."""
    for size, schedule in ((size, schedule) for size in sizes for schedule in schedules):
        run = train(part, size, 2, schedule=schedule)
        same = all(torch.equal(weights, run.weights[0]) for weights in run.weights[1:])
        require(same, f"{size} workers with {schedule} end with different weights; add what others sent in the order of their ranks")
        require(torch.isfinite(run.weights[0]).all(), f"weights of {size} workers are not finite")
        require(not torch.equal(run.weights[0], run.begin), f"weights of {size} workers stay what they were; change them in place")


def the_same_seed_gives_the_same_weights(part: ExchangeMethod) -> None:
    """All that is random is drawn from the context (`ctx.rng`, `ctx.shared_rng`)."""
    same = torch.equal(train(part, 3, 6).weights[0], train(part, 3, 6).weights[0])
    require(same, "two runs of one seed end with different weights")


def wire_bytes_are_the_bytes_sent(part: ExchangeMethod) -> None:
    """Between two workers, doubling hands over each payload once."""
    steps = 4
    for layout in (LAYOUT, FlatLayout(((37, 11), (13,)))):
        run = train(part, 2, steps, layout=layout, schedule="recursive_doubling")
        for context in run.contexts[:2]:
            said = steps * part.wire_bytes(layout)
            require(context.sent_bytes == said, f"{steps} steps send {context.sent_bytes:g} bytes, and wire_bytes says {said:g}")


def what_was_applied_and_what_is_kept_is_what_came_in(part: ExchangeMethod) -> None:
    """Of a state with a residual `error` (d,), without momentum: all updates and residuals are the rate times all gradients."""
    fields = type(part).model_fields
    for inside in (False, True) if "lr_inside" in fields else (False,):
        chosen = {"momentum": 0.0, "lr_inside": inside}
        method = part.model_copy(update={key: value for key, value in chosen.items() if key in fields})
        for size in (1, 3, 4):
            lr = 0.125
            run = train(method, size, 15, layout=MATRICES, lr=lr)
            errors: list[Any] = [getattr(state, "error", None) for state in run.states[:size]]
            if not all(isinstance(error, Tensor) and error.shape == (MATRICES.size,) for error in errors):
                return
            applied = size * (run.begin.double() - run.weights[0].double())
            kept = sum(error.double() for error in errors) * (1.0 if inside else lr)
            came = lr * run.gradients
            lost = float((applied + kept - came).norm() / came.norm())
            require(lost <= 1e-5, f"of what {size} workers gave, {lost:.2g} is neither applied nor kept in the residual")


def kept_and_read(state: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
    """Return a state through the bytes of a state file, into one of the same settings whose numbers are all different."""
    kept = statefile.loads(statefile.dumps(plain(state)))
    other = copy.deepcopy(state[0])
    for each in dataclasses.fields(other) if dataclasses.is_dataclass(other) else ():
        if isinstance(getattr(other, each.name), Tensor):
            setattr(other, each.name, torch.full((2,), 7.0))
    return restored(other, kept[0]), kept[1]


def a_run_goes_on_from_a_copy_of_its_state(part: ExchangeMethod) -> None:
    """A copy, or what a checkpoint keeps: nothing else is remembered."""
    whole = train(part, 3, 7)
    for copied in (copy.deepcopy, kept_and_read):
        broken = train(part, 3, 7, interrupt=(3, copied))
        same = all(torch.equal(mine, theirs) for mine, theirs in zip(broken.weights, whole.weights, strict=True))
        require(same, "a run that goes on from its state ends with other weights; keep in it all that changes")


def a_state_keeps_nothing_of_the_gradient_it_was_given(part: ExchangeMethod) -> None:
    """The training loop writes the next gradient into the same memory."""
    same = torch.equal(train(part, 3, 6, fresh=True).weights[0], train(part, 3, 6).weights[0])
    require(same, "it keeps the memory of a gradient that it was given; clone what is needed later")


def every_step_charges_its_own_work(part: ExchangeMethod) -> None:
    """Each worker computes, under the phase "compress", and reads its gradient."""
    charged = list[tuple[int, Work, str]]()
    compute = LocalContext.compute

    def watched(context: LocalContext, work: Work, phase: str = "", share: float = 1.0) -> Any:
        charged.append((context.rank, work, phase))
        return compute(context, work, phase)

    with patch.object(LocalContext, "compute", watched):
        train(part, 2, 3)
    require(all(min(work) >= 0 for _, work, _ in charged), "it charges less than nothing")
    for rank in (0, 1):
        own = [work for who, work, phase in charged if who == rank and phase == "compress"]
        require(len(own) >= 3, f"in three steps worker {rank} charges {len(own)} computations (ctx.compute(work, 'compress'))")
        require(sum(work.flops for work in own) > 0, "it computes without operations")
        read = sum(work.read_bytes for work in own)
        require(read >= 12 * LAYOUT.size, f"in three steps it reads {read:g} bytes, less than three gradients")
        require(sum(work.write_bytes for work in own) > 0, "it writes nothing")


def one_worker_and_several_learn(part: ExchangeMethod) -> None:
    """On a bowl, seventy steps without momentum take four fifths of the loss or more."""
    method = part.model_copy(update={"momentum": 0.0}) if "momentum" in type(part).model_fields else part
    for size in (1, 3):
        left = min(_left(method, size))
        require(left < 0.2, f"after seventy steps of {size} workers {left:.2f} of the loss is left")


def _left(part: ExchangeMethod, size: int) -> Iterator[float]:
    for rate in RATES:
        run = train(part, size, 70, lr=rate, task="quadratic")
        yield run.loss(run.weights[0]) / run.loss(run.begin)


LAWS = (
    replicas_are_equal_to_the_bit, the_same_seed_gives_the_same_weights, wire_bytes_are_the_bytes_sent,
    what_was_applied_and_what_is_kept_is_what_came_in, a_run_goes_on_from_a_copy_of_its_state,
    a_state_keeps_nothing_of_the_gradient_it_was_given, every_step_charges_its_own_work, one_worker_and_several_learn,
)
