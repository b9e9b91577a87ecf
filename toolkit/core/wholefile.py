"""Files that are there whole or not at all, also after the power went; and what a file is known again by."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypedDict


class Fingerprint(TypedDict):
    """Size and checksum of a file."""

    nbytes: int
    sha256: str


def write_whole(path: Path, content: bytes) -> None:
    """Write *content* to *path*; whoever looks finds what was there before, or all of it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    settle(partial, path)


def settle(partial: Path, path: Path) -> None:
    """Let a *partial* file that is written take its place at *path*, once the disk has it."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def fingerprint(path: Path) -> Fingerprint:
    """Return what the file at *path* is known again by."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Fingerprint(nbytes=path.stat().st_size, sha256=digest)


def is_whole(path: Path, expected: Fingerprint) -> bool:
    """Whether *path* is the file that was *expected*: there, of that size, with that content."""
    try:
        return path.stat().st_size == expected["nbytes"] and fingerprint(path) == expected
    except OSError:
        return False
