"""Records of finished runs: a run's report rows, and what its files are known again by.

A record is written last, so a sound one means that the run is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.core.network_file import network_paths, part_stem
from toolkit.core.rundir import RunDirectory
from toolkit.core.wholefile import Fingerprint, fingerprint, is_whole, write_whole
from toolkit.errors import RunDirectoryError

FOLDERS = ("ledger", "metrics", "models", "requests", "trace")
"""Where the files of a run lie."""


def write_record(
    directory: RunDirectory, run: str, rows: Sequence[Sequence[object]], *, arm: str, seed: int, files: Mapping[Path, Fingerprint]
) -> None:
    """Write the record of *run*, whose *files* are written; what the fabric traced is added to them.

    Parts of a ledger that an earlier try left and this one did not write are removed.
    """
    known = dict(files)
    for path in files_of(directory, run):
        if path in known:
            continue
        if path.parent == directory.ledger_stem(run).parent:
            path.unlink()
        else:
            known[path] = fingerprint(path)
    named = {path.relative_to(directory.path).as_posix(): known[path] for path in sorted(known)}
    body = {"arm": arm, "seed": seed, "rows": rows, "files": named}
    write_whole(directory.record(run), json.dumps({**body, "sha256": _digest(body)}).encode())


def read_record(directory: RunDirectory, run: str) -> dict[str, Any]:
    """Return the record of *run*.

    Raises:
        RunDirectoryError: it is not as it was written.
    """
    path = directory.record(run)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        body = {key: record[key] for key in ("arm", "seed", "rows", "files")}
        if record["sha256"] != _digest(body):
            raise ValueError("it is not as it was written")
        if not _is_a_body(body):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = "is not whole" if isinstance(error, KeyError | TypeError) else f"cannot be read ({error})"
        raise RunDirectoryError(f"{path}: {why}") from error
    return body


def flaw(directory: RunDirectory, run: str) -> str:
    """Return what keeps *run*, which has a record, from being finished: a file that is missing, damaged or too many; empty if nothing."""
    try:
        files: dict[str, Fingerprint] = read_record(directory, run)["files"]
    except RunDirectoryError as error:
        return str(error).removeprefix(f"{directory.path}/")
    for name, expected in files.items():
        steps = PurePosixPath(name).parts
        if len(steps) != 2 or steps[0] not in FOLDERS or not is_whole(directory.path / name, expected):
            return f"{name} is missing or not as it was written"
    more = {path.relative_to(directory.path).as_posix() for path in files_of(directory, run)} - files.keys()
    return f"{min(more)} does not belong to it" if more else ""


def files_of(directory: RunDirectory, run: str) -> list[Path]:
    """Return the files of *run* that there are, its record apart."""
    ledger, trace = directory.ledger_stem(run), directory.trace_stem(run)
    shards = [path for path in ledger.parent.glob("*.parquet") if _is_shard(path.stem, run)]
    traced = (trace.with_name(f"{run}.parquet"), trace.with_name(f"{run}-nodes.parquet"))
    networks = directory.network_stem(run)
    parts = sorted(networks.parent.glob(f"{part_stem(networks, '*').name}.*"))
    single = (*network_paths(networks), *parts, directory.metrics(run), directory.requests(run), *traced)
    return sorted(shards) + [path for path in single if path.is_file()]


def forget(directory: RunDirectory, run: str) -> None:
    """Remove what *run* left."""
    for path in (directory.record(run), directory.checkpoint(run), *files_of(directory, run)):
        path.unlink(missing_ok=True)


def _is_a_body(body: dict[str, Any]) -> bool:
    """Whether a record says what records say; one that somebody made up may have a sound checksum."""
    return (
        isinstance(body["rows"], list) and all(isinstance(row, list) and len(row) == 3 for row in body["rows"])
        and isinstance(body["files"], dict)
        and all(isinstance(known, dict) and known.keys() == Fingerprint.__annotations__.keys() for known in body["files"].values())
    )


def _is_shard(stem: str, run: str) -> bool:
    name, _, number = stem.rpartition("-")
    return name == run and number.isdecimal()


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()
