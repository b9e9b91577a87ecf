"""Checkpoints of a run of one machine: a killed run goes on where it last kept its state, and ends with the same bytes.

A simulation at work cannot be written down, but between two steps of a program that has a machine to itself there is nothing at work: time,
what the machine has done, the ledger so far and the program's own state are all there is.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Snapshot:
    """Everything of a run that stands still between two steps."""

    now_s: float
    machine: dict[str, Any]
    """What the machine's context keeps."""
    ledger: dict[str, Any]
    state: Any
    """What the program gave to `Context.save`."""


@dataclass
class Checkpoint:
    """Where a run keeps its last snapshot, and the one that it was resumed from."""

    path: Path
    resumed: Snapshot | None = None

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Return the checkpoint at *path*, with what an earlier try left there."""
        if not path.exists():
            return cls(path)
        with path.open("rb") as file:
            return cls(path, pickle.load(file))

    def keep(self, snapshot: Snapshot) -> None:
        """Write *snapshot* whole or not at all."""
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            pickle.dump(snapshot, file, protocol=pickle.HIGHEST_PROTOCOL)
        partial.replace(self.path)

    def remove(self) -> None:
        """Forget it, once the run is whole."""
        self.path.unlink(missing_ok=True)
