"""Laws of continual learning: seeds decide all, the past is gone but for the memory, a run can be interrupted, plans say what is charged.

Each is asked of small runs (`toolkit.laws.small_stream`): two tasks of five digits, a tiny network, a memory of 20 images.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.core import statefile
from toolkit.core.work import Work
from toolkit.laws import require
from toolkit.laws.generators import global_states
from toolkit.laws.small_stream import Run, run_plan, train
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.plan import BETWEEN

SAVE_EVERY = 5
FOUND = ("examined:class_il", "examined:task_il", "examined:per_class", "train_loss")


@lru_cache(maxsize=64)
def whole(part: ContinualMethod) -> Run:
    """The run that others are held against."""
    return train(part, save_every=SAVE_EVERY)


@lru_cache(maxsize=64)
def shut(part: ContinualMethod) -> Run:
    """The same run with a stream that gives no other task's samples, and spoils what it gave when a task is over."""
    return train(part, save_every=SAVE_EVERY, forgets=not part.sees_all)


def a_seed_decides_weights_and_costs(part: ContinualMethod) -> None:
    """Two runs of a seed learn the same and are charged the same, and nothing is drawn from global generators."""
    before = global_states()
    run, again = whole(part), shut(part)
    require(global_states() == before, "it draws from a global generator; draw from learner.generator('…')")
    require(torch.isfinite(run.weights).all() and all(map(math.isfinite, run.context.values("train_loss"))),
            "losses or weights are not finite")
    require(torch.equal(run.weights, again.weights), "two runs of one seed end with different weights")
    for found in FOUND:
        require(np.array_equal(run.context.values(found), again.context.values(found), equal_nan=True), f"{found} differs between two runs")
    for kept in ("work", "counts", "read_bytes", "written_bytes"):
        require(getattr(again.context, kept) == getattr(run.context, kept), f"two runs of one seed are charged different {kept}")


def the_past_is_out_of_reach(part: ContinualMethod) -> None:
    """But for the memory: another task's samples are not there, and what was given is overwritten when a task is over."""
    if not part.sees_all:
        require(torch.equal(shut(part).weights, whole(part).weights),
                "it learns otherwise when the images of a task that is over are overwritten; clone what is kept")


def a_run_goes_on_from_a_checkpoint(part: ContinualMethod) -> None:
    """In the first task, and between tasks, to the same bits."""
    run = whole(part)
    places = [0] if part.sees_all else [0, [statefile.loads(saved)["step"] for saved in run.context.saves].index(0)]
    for place in places:
        resumed = train(part, save_every=SAVE_EVERY, resume=run.context.saves[place])
        require(torch.equal(resumed.weights, run.weights),
                "a run that goes on from a checkpoint ends with other weights; keep in the state all that changes")
        found = resumed.context.values("examined:class_il")
        require(found == run.context.values("examined:class_il")[-len(found):], "a run that goes on from a checkpoint answers otherwise")


def the_memory_keeps_within_its_budget(part: ContinualMethod) -> None:
    """Images that the state holds count as the memory's do; a method that replays fills it, and reads from it."""
    run, plan = whole(part), run_plan(part)
    require(bool(plan.capacity) == part.replays, f"replays is {part.replays}, and the plan has room for {plan.capacity} samples")
    checkpoints = [statefile.loads(saved) for saved in run.context.saves]
    for each in checkpoints:
        buffer, aside = each["learner"]["buffer"], _stored(each["state"], plan.net.map_shape)
        held = (0 if buffer is None else buffer["size"]) + aside
        require(held <= plan.capacity, f"it holds {held} samples where {plan.capacity} are allowed")
        if buffer is not None and buffer["images"] is not None:
            one = sum(tensor[0].nbytes for tensor in (buffer["images"], buffer["labels"], *buffer["extras"].values()))
            require(one == plan.sample_nbytes, f"a sample takes {one} bytes where {plan.sample_nbytes:g} are planned")
            require(held * one <= plan.buffer_bytes, f"samples take {held * one} bytes where {plan.buffer_bytes:g} are allowed")
    if part.replays:
        require(run.context.written_bytes > 0 and run.context.read_bytes > 0, "it never writes to the memory, or never reads from it")
        aside = _stored(checkpoints[-1]["state"], plan.net.map_shape)
        filled = checkpoints[-1]["learner"]["buffer"]["size"]
        require(filled >= 0.8 * (plan.capacity - aside), f"of {plan.capacity} places in the memory {filled} are filled at the end")


def _stored(state: Any, shape: tuple[int, ...]) -> int:
    """How many samples of *shape* a state holds."""
    if isinstance(state, Tensor):
        return len(state) if tuple(state.shape[1:]) == shape else 0
    if dataclasses.is_dataclass(state):
        return sum(_stored(getattr(state, each.name), shape) for each in dataclasses.fields(state))
    if isinstance(state, dict):
        return sum(_stored(value, shape) for value in state.values())
    return sum(_stored(value, shape) for value in state) if isinstance(state, list | tuple) else 0


def what_is_charged_was_planned(part: ContinualMethod, bn: str = "concat") -> None:
    """Kernels, operations and bytes within `plans_within`: of the steps of the last task, and between the steps of every task."""
    run = run_plan(part, bn=bn)
    context = (whole(part) if bn == "concat" else train(part, bn=bn)).context
    last = run.tasks - 1
    _close("the steps of the last task", context.work[last, "step"], run.plan(last).work("step"), part.plans_within)
    for task in range(run.tasks):
        between = sum((context.work[task, phase] for phase in BETWEEN), Work())
        _close(f"what lies between the steps of task {task}", between, run.plan(task).work(*BETWEEN), part.plans_within)


def _close(what: str, charged: Work, planned: Work, tolerance: float) -> None:
    for name, found, said in zip(Work._fields, charged, planned, strict=True):
        near = math.isclose(found, said, rel_tol=tolerance, abs_tol=1.0)
        require(near, f"{what} take {found:.6g} {name}, and {said:.6g} were planned; branch on nothing but shapes and the task's number")


def every_phase_is_paid_for_as_often_as_planned(part: ContinualMethod) -> None:
    """As many steps, the same beginnings and ends."""
    run, context = run_plan(part), whole(part).context
    for task in range(run.tasks):
        for phase in ("step", *BETWEEN):
            said = sum(each.times for each in run.plan(task).of(phase) if any(each.each.work))
            found = context.counts[task, phase]
            require(said == found, f"task {task} has {found} times '{phase}', and {said} were planned")


def traffic_of_the_memory_was_planned(part: ContinualMethod) -> None:
    """Reads but for the first steps, which find it empty, and writes within the spread of a reservoir of 20 places."""
    run, context = run_plan(part), whole(part).context
    phases = ("step", *BETWEEN)
    read = sum(run.plan(task).read_bytes(*phases) for task in range(run.tasks))
    written = sum(run.plan(task).written_bytes(*phases) for task in range(run.tasks))
    require(math.isclose(context.read_bytes, read, rel_tol=0.1), f"it reads {context.read_bytes:g} bytes, and {read:g} were planned")
    if part.plans_writes:
        near = math.isclose(context.written_bytes, written, rel_tol=0.3)
        require(near, f"it writes {context.written_bytes:g} bytes, and {written:g} were planned")


def a_plan_has_room_for_what_a_method_keeps(part: ContinualMethod) -> None:
    """At least what its state holds at the end (networks, vectors, scores), the gradients, and the samples of the task."""
    run = run_plan(part)
    last = run.tasks - 1
    state, gradients = whole(part).saved["state"], 4 * run.net.size
    least = held(state, run.net.map_shape) + gradients + run.samples(last) * math.prod(run.net.image_shape)
    room = run.plan(last).working_bytes
    require(least <= room * 1.001 + 1000, f"at the end it holds {least:g} bytes, and {room:g} were planned")


def held(state: Any, sample: tuple[int, ...]) -> float:
    """Return the bytes of tensors and trainable weights in a method's state, samples of shape *sample* apart."""
    if isinstance(state, nn.Module):
        return sum(weight.nbytes for weight in state.parameters())
    if isinstance(state, Tensor):
        return 0.0 if tuple(state.shape[1:]) == sample else state.nbytes
    if dataclasses.is_dataclass(state):
        return sum(held(getattr(state, each.name), sample) for each in dataclasses.fields(state))
    if isinstance(state, dict):
        return sum(held(value, sample) for value in state.values())
    return sum(held(value, sample) for value in state) if isinstance(state, list | tuple) else 0.0


LAWS = (
    a_seed_decides_weights_and_costs, the_past_is_out_of_reach, a_run_goes_on_from_a_checkpoint, the_memory_keeps_within_its_budget,
    what_is_charged_was_planned, every_phase_is_paid_for_as_often_as_planned, traffic_of_the_memory_was_planned,
    a_plan_has_room_for_what_a_method_keeps,
)
