"""The world of one run: clock, random streams, ledger."""

from __future__ import annotations

from dataclasses import dataclass, field

import simpy

from toolkit.core.ledger import Ledger
from toolkit.core.streams import Streams


@dataclass
class World:
    """Everything that one (arm, seed) run shares. Time is in seconds from the start of the measured part."""

    seed: int
    duration_s: float
    ledger: Ledger = field(default_factory=Ledger)
    env: simpy.Environment = field(default_factory=simpy.Environment)

    def __post_init__(self) -> None:
        self.streams = Streams(self.seed)

    @property
    def now(self) -> float:
        return float(self.env.now)
