"""Poisson traffic: every node sends at moments that have no memory."""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.packets import ANY_SINK
from toolkit.core.context import Context
from toolkit.core.program import Process, Program


@final
class Poisson(Program):
    """Every node sends with exponential gaps of mean `interval_s`, independent of the others."""

    interval_s: float = Field(1800.0, ge=1e-3, description="mean time between two messages of a node")
    nbytes: int = Field(64, ge=1, le=65_535, description="payload of a message")

    def run(self, ctx: Context) -> Process:
        rng = ctx.rng("traffic")
        while True:
            yield ctx.sleep(self.interval_s * rng.standard_exponential())
            ctx.send(ANY_SINK, self.nbytes)
