"""Rehearsal: steps of compute and exchange without data, for the price of a network before anything is trained on it."""

from __future__ import annotations

import re
from typing import final

from pydantic import Field, field_validator

from toolkit.core.context import Asking, Context
from toolkit.core.fabric import Fabric
from toolkit.core.machines import Needs
from toolkit.core.part import Spec
from toolkit.core.program import Process, Program
from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.errors import ScenarioError
from toolkit.methods.rehearsal.exchanges import Exchange
from toolkit.methods.rehearsal.measured import ALONE, MeasuredRuns

CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


@final
class Case(Spec):
    """One network to be trained: how large it is, and how long a worker is busy with a step of its own."""

    parameters: int = Field(ge=1, description="number of parameters (d)")
    assumed: bool = Field(False, description="whether that number is an assumption; such a case takes no part in fits across cases")
    gradient_s: float | None = Field(None, ge=0, description="time of a gradient in s; without it that of one worker alone in `measured`")
    local_s: float = Field(0.0, ge=0, description="time in s of what else a worker does in a step: compressing, copying, merging")


@final
class Rehearsal(Program):
    """Makes the messages of a method, with payloads of which only the size matters, and says how long a step takes.

    The cases are gone through one after another, `steps` steps each. A step is a gradient, the local work, and the exchange; they do
    not overlap. `gradient_s` and `local_s` are the times of a machine that reaches `at_flops_per_s`; the device is asked for as many
    operations as that machine does in this time, so one that reaches another rate, or a straggler, takes another time. A
    device's fixed cost of starting a computation comes on top, twice a step.

    Records for each case (mean over workers): ``step_s``, the time from one step to the next, and ``exchange_s``, what of it lies
    between the local work and the next step; with `measured`, also ``measured_step_s``.
    """

    cases: dict[str, Case] = Field(min_length=1, description="networks by name")
    exchange: Exchange = Field(description="what is exchanged after each gradient")
    steps: int = Field(1, ge=1, description="steps of each case")
    at_flops_per_s: float = Field(1e12, gt=0, description="rate of the machine on which gradient_s and local_s hold")
    measured: MeasuredRuns | None = Field(None, description="throughputs of real runs to be held against")

    @field_validator("cases")
    @classmethod
    def _plain_names(cls, cases: dict[str, Case]) -> dict[str, Case]:
        for name in cases:
            if not CASE_NAME.fullmatch(name):
                raise ValueError(f"case name '{name}' must be letters, digits and _ + - only, since metrics are named after it")
        return cases

    def needs(self) -> Needs:
        servers = int(self.exchange.needs_servers)
        return Needs(f"a rehearsal of {self.exchange.type_name()}", servers=(servers, servers), survives=False)

    def check(self, fabric: Fabric) -> None:
        machines = fabric.machines()
        for name, case in self.cases.items():
            try:
                self.exchange.check(case.parameters)
            except ValueError as error:
                raise ScenarioError(f"program.cases.{name}: {error}") from error
            machines.check_memory(2 * FLOAT_BYTES * case.parameters, f"{name} (weights and gradient)")
            self.gradient_s(name)
            if self.measured is not None:
                self.measured.find(name, self.exchange.type_name(), len(machines.workers))

    def gradient_s(self, case: str) -> float:
        """Time of a gradient in s: as given, or that of a worker alone.

        Raises:
            UserError: there is neither.
        """
        given = self.cases[case].gradient_s
        if given is not None:
            return given
        if self.measured is None:
            raise ScenarioError(f"program.cases.{case}.gradient_s: is needed where there is no `measured` to take it from")
        return self.measured.find(case, ALONE, 1).step_s

    def run(self, ctx: Context) -> Process:
        for index, (name, case) in enumerate(self.cases.items()):
            if ctx.is_server:
                for _ in range(self.steps):
                    yield from self.exchange.serve(ctx, case.parameters)
            else:
                yield from self._work(ctx, name, case)
            ctx.progress((index + 1) / len(self.cases))

    def _work(self, ctx: Context, name: str, case: Case) -> Asking:
        begun_s, exchange_s = ctx.now, 0.0
        for _ in range(self.steps):
            yield ctx.compute(Work(self.gradient_s(name) * self.at_flops_per_s), "gradient")
            if case.local_s:
                yield ctx.compute(Work(case.local_s * self.at_flops_per_s), "compress")
            local_s = ctx.now
            yield from self.exchange.run(ctx, case.parameters)
            exchange_s += ctx.now - local_s
        ctx.metric(f"step_s@{name}", (ctx.now - begun_s) / self.steps, who=str(ctx.node))
        ctx.metric(f"exchange_s@{name}", exchange_s / self.steps, who=str(ctx.node))
        if self.measured is not None and ctx.rank == 0:
            ctx.metric(f"measured_step_s@{name}", self.measured.find(name, self.exchange.type_name(), ctx.size).step_s)
