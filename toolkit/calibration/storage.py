"""What the disk under a folder does when a replay memory lies on it: records written and read a batch at a time, at random places."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

RECORD_BYTES = 12_288
"""A float32 image of 3 x 32 x 32."""
BATCH = 32
RECORDS = 4096
"""50 MB in all."""


def storage_rates(folder: Path, batches: int = 64) -> tuple[float, float]:
    """Return the rates in bytes/s of reading and of writing batches of records at random places of a file in *folder*.

    What is written is forced to the disk after each batch; before reading, the system is asked to forget what it holds of the file. It
    may not: then this is the rate of its memory, as it will be for a program that reads what was written a while ago.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryFile(dir=folder) as file:
        number = file.fileno()
        block = rng.bytes(RECORD_BYTES)
        for _ in range(RECORDS):
            file.write(block)
        file.flush()
        os.fsync(number)
        writes = _timed(number, rng, batches, write=block)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        reads = _timed(number, rng, batches)
    moved = batches * BATCH * RECORD_BYTES
    return moved / reads, moved / writes


def _timed(number: int, rng: np.random.Generator, batches: int, write: bytes | None = None) -> float:
    """Return the wall time in s of reading, or writing, so many batches."""
    begun_s = perf_counter()
    for _ in range(batches):
        for place in rng.integers(RECORDS, size=BATCH).tolist():
            if write is None:
                os.pread(number, RECORD_BYTES, place * RECORD_BYTES)
            else:
                os.pwrite(number, write, place * RECORD_BYTES)
        if write is not None:
            os.fsync(number)
    return perf_counter() - begun_s
