"""Periodic reports: every node sends one message per interval."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.packets import ANY_SINK
from toolkit.core.context import Context
from toolkit.core.program import Process, Program


@final
class Periodic(Program):
    """Every node reports once per interval, at a moment of its own in the interval, with some jitter."""

    interval_s: float = Field(1800.0, ge=1e-3, description="time between two reports of a node")
    jitter: float = Field(0.1, ge=0, le=1, description="share of the interval by which a report may be late")
    nbytes: int = Field(64, ge=1, le=65_535, description="payload of a report")

    def run(self, ctx: Context) -> Process:
        rng = ctx.rng("traffic")
        due_s = self.interval_s * rng.random()
        while True:
            yield ctx.sleep(max(0.0, due_s + self.interval_s * self.jitter * rng.random() - ctx.now))
            ctx.send(ANY_SINK, self.nbytes)
            due_s += self.interval_s
