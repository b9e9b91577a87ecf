"""A glider that learns a stream of tasks with what power it has to spare, and sends changes of its network ashore."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from pydantic import Field

from toolkit.core.context import Asking, Context
from toolkit.core.fabric import Fabric, Sending
from toolkit.core.machines import Needs
from toolkit.core.part import default_part
from toolkit.core.program import Process, Program
from toolkit.core.simulated import SimulatedContext
from toolkit.errors import ScenarioError
from toolkit.learning.random import torch_generator
from toolkit.methods.continual.program import Continual, ContinualState
from toolkit.methods.continual.run_plan import unweighted
from toolkit.methods.glider.ashore import Examiner, size_of, vector_of
from toolkit.methods.glider.changes import Change

FRAME_BITS = 8 * 384
"""Of the frame whose chance is asked for."""


@final
class Glider(Program):
    """Node 0 learns `learner`'s stream, and every `interval_s` it sends the difference between its network and what is ashore.

    With `least_success` it sends only while the forecast of its best link to a sink gives a frame at least that chance, looks again every
    `look_s`, and after `patience_s` sends all the same. With `power_w` it computes only so fast that its board draws no more than that on
    the mean since the beginning. The first sink takes changes up, whichever sink they came to. Other nodes are relays.

    The metric `ashore_accuracy` is what the copy ashore answers, on the test samples of all tasks and among all classes, each time that a
    change has come; `test_accuracy` is the same of the glider's own network. Examinations cost nothing.
    """

    report_at_sea: ClassVar[str] = "toolkit.methods.glider.report"

    learner: Continual = Field(description="what the glider learns, continually")
    change: Change = default_part("quantised", "code of what it sends ashore")
    interval_s: float = Field(3600.0, ge=1, description="least time between two changes that are sent")
    least_success: float | None = Field(None, gt=0, lt=1, description="forecast chance of a frame to send at; none: when due")
    look_s: float = Field(600.0, ge=1, description="time between two looks at the forecast")
    patience_s: float = Field(6 * 3600.0, ge=0, description="longest wait for a good forecast")
    least_change: float = Field(0.01, ge=0, lt=1, description="nothing is sent for less than this share of the network's norm")
    power_w: float | None = Field(None, gt=0, description="mean power that computing may draw; none: as much as it wants")

    def needs(self) -> Needs:
        return Needs("a glider that ships what it learns", workers=(1, None), servers=(1, None))

    def check(self, fabric: Fabric) -> None:
        if fabric.ends_by_itself:
            raise ScenarioError(f"program: a glider goes on until the run is over, and '{fabric.type_name()}' ends with its programs")
        if not self.learner.learn:
            raise ScenarioError("program.learner.learn: what a glider sends is what it has learnt; leave it true")
        unforeseen = fabric.machines().unforeseen
        if self.least_success is not None and unforeseen:
            raise ScenarioError(f"program.least_success: {self.least_success:g} needs forecasts, and {unforeseen} makes none; take dbcar")
        self.learner.check(fabric)

    def sending(self, fabric: Fabric) -> Sending | None:
        return Sending(self.change.nbytes(self._size()), 1, f"a change of {self.learner.task.model.name}, {self.change.type_name()}")

    def _size(self) -> int:
        """Numbers of the network, running statistics among them, as a plan without weights tells."""
        return size_of(unweighted(self.learner).net)

    def run(self, ctx: Context) -> Process:
        torch.set_num_threads(self.learner.threads)
        if ctx.rank == 0:
            assert isinstance(ctx, SimulatedContext)
            yield from self._learn_and_send(ctx)
        elif ctx.rank == ctx.size:
            yield from self._take_up(ctx)

    # At the glider

    def _learn_and_send(self, ctx: SimulatedContext) -> Asking:
        course = self.learner.begin(ctx)
        stop = ctx.beside(self._send(ctx, course))
        try:
            yield from self._paced(ctx, self.learner.go_on(ctx, course))
            ctx.metric("learnt_s", ctx.now)
            while True:  # what is left to be sent is sent beside this
                yield ctx.sleep(self.interval_s)
        finally:
            stop()

    def _paced(self, ctx: SimulatedContext, learning: Asking) -> Asking:
        """Go on with *learning* no faster than the power that it may draw allows."""
        begun_s, value = ctx.now, None
        while True:
            try:
                value = yield learning.send(value)
            except StopIteration:
                return
            if self.power_w is not None:
                due_s = begun_s + ctx.busy_s * ctx.device.busy_w / self.power_w
                if due_s > ctx.now:
                    yield ctx.sleep(due_s - ctx.now)

    def _send(self, ctx: SimulatedContext, course: ContinualState) -> Asking:
        """Send what the shore lacks, again and again."""
        examiner = Examiner(self.learner, ctx)
        ashore, count = examiner.begun.clone(), 0
        while True:
            yield ctx.sleep(self.interval_s)
            waited_s = yield from self._await_water(ctx)
            mine = vector_of(self.learner.method.answering(course.learner, course.state))
            if len(mine) != len(ashore):
                raise ScenarioError(
                    f"program.learner.method: the network of '{self.learner.method.type_name()}' has {len(mine)} numbers by now and had "
                    f"{len(ashore)}; a glider sends changes of networks that keep their size"
                )
            change = mine - ashore
            if float(change.norm()) <= self.least_change * float(mine.norm()):
                continue
            count += 1
            yield ctx.compute(self.change.work(len(change)), "encode")
            code = self.change.encode(change, torch_generator(ctx.shared_rng("change", count)))
            ctx.metric("waited_s", waited_s, step=count)
            ctx.metric("test_accuracy", examiner.accuracy(mine), step=count)
            delivery = yield ctx.send(ctx.size, code.numel(), "change", code)
            ctx.metric("change_s", delivery.t1_s - delivery.t0_s, who=delivery.outcome, step=count)
            if delivery.outcome == "delivered":
                ashore += self.change.decode(code, len(change))

    def _await_water(self, ctx: SimulatedContext) -> Asking:
        """Wait for a good forecast, and no longer than patience lasts; return how long it was waited for."""
        if self.least_success is None:
            return 0.0
        begun_s = ctx.now
        while True:
            chance, work = ctx.chance_of_frame(FRAME_BITS)
            if any(work):
                yield ctx.compute(work, "predict")
            ctx.metric("chance", chance)
            left_s = begun_s + self.patience_s - ctx.now
            if chance >= self.least_success or left_s <= 0:
                break
            yield ctx.sleep(min(self.look_s, left_s))
            if left_s <= self.look_s:  # what is left of a patience may be too little for the clock to move
                break
        return ctx.now - begun_s

    # Ashore

    def _take_up(self, ctx: Context) -> Asking:
        examiner = Examiner(self.learner, ctx)
        ashore, count = examiner.begun.clone(), 0
        like = torch.zeros(self.change.nbytes(len(ashore)), dtype=torch.uint8)
        ctx.metric("ashore_accuracy", examiner.accuracy(ashore), step=count)
        while True:
            code = yield ctx.recv(0, like)
            ashore += self.change.decode(code, len(ashore))
            count += 1
            ctx.metric("ashore_accuracy", examiner.accuracy(ashore), step=count)
