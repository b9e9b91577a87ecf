"""The world of one run: clock, random streams, ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolkit.core.alarm import Clock
from toolkit.core.checkpoint import Checkpoint
from toolkit.core.ledger import Ledger
from toolkit.core.streams import Streams


@dataclass
class World:
    """Everything that one (arm, seed) run shares. Time is in seconds from the start of the measured part; `duration_s` is infinite
    where the run ends with its programs.
    """

    seed: int
    duration_s: float
    ledger: Ledger = field(default_factory=Ledger)
    env: Clock = field(default_factory=Clock)

    checkpoint: Checkpoint | None = None
    """Where the run may keep its state, if anywhere."""
    share: float = 0.0
    """Share of the run that is done, where a program rather than the clock says so."""
    trace: Path | None = None
    """Where a fabric that traces writes its trace; a stem, to which the fabric adds what it wants to."""

    networks: Path | None = None
    """Where a program leaves the network that it has trained; a stem."""

    def __post_init__(self) -> None:
        self.streams = Streams(self.seed)
        snapshot = self.checkpoint.resumed if self.checkpoint is not None else None
        if snapshot is not None:
            self.env = Clock(initial_time=snapshot.now_s)
            self.ledger.load_state(snapshot.ledger)

    @property
    def now(self) -> float:
        return float(self.env.now)
