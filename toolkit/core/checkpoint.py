"""Checkpoints of a run of one machine: a killed run goes on where it last kept its state, and ends with the same bytes.

A simulation at work cannot be written down, but between two steps of a program that has a machine to itself there is nothing at work: time,
what the machine has done, the ledger so far and the program's own state are all there is. They are kept as data (`core.statefile`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core import statefile
from toolkit.errors import RunDirectoryError


@dataclass
class Snapshot:
    """Everything of a run that stands still between two steps."""

    now_s: float
    machine: dict[str, Any]
    """What the machine's context keeps."""
    ledger: dict[str, Any]
    state: Any
    """What the program gave to `Context.save`."""


FIELDS = frozenset(Snapshot.__dataclass_fields__)


@dataclass
class Checkpoint:
    """Where a run keeps its last snapshot, and the one that it was resumed from."""

    path: Path
    resumed: Snapshot | None = None

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Return the checkpoint at *path*, with what an earlier try left there.

        Raises:
            RunDirectoryError: what it left there cannot be read.
        """
        if not path.exists():
            return cls(path)
        kept = statefile.read(path)
        if not isinstance(kept, dict) or kept.keys() != FIELDS:
            raise RunDirectoryError(f"{path}: cannot be read as a state that was kept (it holds something else)")
        return cls(path, Snapshot(**kept))

    def keep(self, snapshot: Snapshot) -> None:
        """Write *snapshot* whole or not at all."""
        statefile.write(self.path, {name: getattr(snapshot, name) for name in FIELDS})

    def remove(self) -> None:
        """Forget it, once the run is whole."""
        self.path.unlink(missing_ok=True)
