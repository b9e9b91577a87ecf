"""One run of a comparison: what a process is given to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run: an arm's resolved scenario and a seed."""

    arm: str
    seed: int
    tree: dict[str, Any]
    directory: Path
    call_trace: Path | None = None
    """The requests of a finished run that are priced again instead of running the program."""
    own: tuple[tuple[str, str], ...] = ()
    """Modules of the user's own that this run may import (`toolkit.core.trust`)."""

    @property
    def name(self) -> str:
        return f"{self.arm}-s{self.seed}"
