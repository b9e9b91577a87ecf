"""Mine: traffic to begin with. Nodes report several messages at once, and then are silent for a while.

    toolkit check ./mine.py
    toolkit simulate SCENARIO.yaml --set program=mine        with this file beside the scenario
"""

from __future__ import annotations

from typing import final

from pydantic import Field

from toolkit.acoustic.packets import ANY_SINK
from toolkit.core.context import Context
from toolkit.core.program import Process, Program


@final
class Mine(Program):
    """Bursts: at random moments a node sends `burst` messages, `gap_s` apart.

    Settings are fields like these, with bounds and a description; what changes during a run is local to `run`.
    """

    interval_s: float = Field(1800.0, gt=0.001, description="mean time from one burst of a node to the next")
    burst: int = Field(3, ge=1, le=1000, description="messages in a burst")
    gap_s: float = Field(5.0, ge=0, description="time between two messages of a burst")
    nbytes: int = Field(64, ge=1, le=65_535, description="payload of a message")

    def run(self, ctx: Context) -> Process:
        """Act as one node: sleep, send, for as long as the run lasts. All that is random is drawn from `ctx.rng`."""
        rng = ctx.rng("traffic")
        while True:
            yield ctx.sleep(self.interval_s * rng.standard_exponential())
            for _ in range(self.burst):
                ctx.send(ANY_SINK, self.nbytes)
                yield ctx.sleep(self.gap_s)
