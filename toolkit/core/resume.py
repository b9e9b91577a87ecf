"""Resuming: which runs of a directory are finished, and may the rest be made by this software."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from toolkit.core.checkpoint import Checkpoint
from toolkit.core.record import flaw, forget
from toolkit.core.rundir import RunDirectory, versions
from toolkit.core.wholefile import is_whole
from toolkit.errors import RunDirectoryError

COMPARED = ("toolkit", "python", "simpy", "numpy", "scipy", "numba", "torch", "pyarrow")
"""What the bytes of a run depend on."""


def other_versions(directory: RunDirectory) -> dict[str, str] | None:
    """Return what of the software that began the run is another version now; None where that cannot be told."""
    try:
        begun = json.loads((directory.path / "versions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(begun, dict) or "toolkit" not in begun:
        return None
    now = versions()
    return {name: str(begun[name]) for name in COMPARED if name in begun and begun[name] != now[name]}


def refuse_other_versions(directory: RunDirectory, others: Mapping[str, str]) -> None:
    """Raise a RunDirectoryError where the run was begun with other versions."""
    if others:
        now = versions()
        listed = ", ".join(f"{name} {version} (here {now[name]})" for name, version in others.items())
        raise RunDirectoryError(f"{directory.path}: was begun with {listed}; use the same again, or --mix-versions to finish it with these")


def mend(directory: RunDirectory, runs: Sequence[str]) -> Iterator[str]:
    """Remove what is damaged of *runs*, so that it is made again; say each in a sentence.

    A run that has a sound record and all of its files is finished. A checkpoint that cannot be read, or whose part of the ledger is gone,
    is no place to go on from.
    """
    for run in runs:
        if directory.record(run).exists():
            why = flaw(directory, run)
            if why:
                forget(directory, run)
                yield f"{run} is not finished: {why}; it is run again"
        elif directory.checkpoint(run).exists():
            why = _flaw_of_checkpoint(directory, run)
            if why:
                forget(directory, run)
                yield f"{run} cannot go on from its checkpoint: {why}; it is run again from its beginning"


def _flaw_of_checkpoint(directory: RunDirectory, run: str) -> str:
    try:
        resumed = Checkpoint.open(directory.checkpoint(run)).resumed
        shards = resumed.ledger["shards"] if resumed is not None else []
        stem = directory.ledger_stem(run)
        for number, expected in enumerate(shards):
            path = stem.with_name(f"{stem.name}-{number:03d}.parquet")
            if not is_whole(path, expected):
                return f"ledger/{path.name} is missing or not as it was written"
    except RunDirectoryError as error:
        return str(error).removeprefix(f"{directory.path}/")
    except (KeyError, TypeError, AttributeError):
        return "it holds something else"
    return ""
