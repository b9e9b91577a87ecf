"""The Count-Sketch in plain torch, for whatever device its tensors lie on; on CUDA with the kernels of `sketch_triton`, if it can.

It computes what `sketch_hash` says and what `sketch_cpu` computes: the same cells and signs always, the same int32 tables always,
float32 tables up to the order of additions, which is the order of coordinates on the CPU and unspecified on a GPU.

torch has no arithmetic on unsigned 64-bit integers: products wrap the same way in signed ones, and shifts to the right are masked.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor

from toolkit.learning.sketch_hash import LINE, MULTIPLIERS, SHIFTS, exchanges, signed_keys

CHUNK = 1 << 22
"""Coordinates handled at once: bounds the temporaries to some 100 MB."""
INT32_MAX = 2**31 - 1


@cache
def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def shifted(x: Tensor, bits: int) -> Tensor:
    """Shift to the right without copies of the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def hash_groups(groups: Tensor, a: int, b: int) -> Tensor:
    x = groups * a + b
    x = (x ^ shifted(x, SHIFTS[0])) * MULTIPLIERS[0]
    x = (x ^ shifted(x, SHIFTS[1])) * MULTIPLIERS[1]
    return x ^ shifted(x, SHIFTS[2])


def places(indices: Tensor, a: int, b: int, cols: int) -> tuple[Tensor, Tensor]:
    """Return cells (int64) and signs (int8) of *indices* (int64) in the row with keys *a*, *b*."""
    x, lane = hash_groups(indices // LINE, a, b), indices % LINE
    cells = shifted(shifted(x, 32) * (cols // LINE), 32) * LINE + (lane ^ ((x >> 16) & 15))
    return cells, (1 - 2 * ((x >> lane) & 1)).to(torch.int8)


def encode(values: Tensor, seed: int, table: Tensor, offset: int, scale: float) -> bool:
    """Add *values* (float32), the first being coordinate *offset*, to *table*; return True if it went wrong.

    An int32 table takes round(scale x value), half to even; wrong are NaN and a value or a sum beyond int32, and then the table is
    left as it was. *scale* is 0 for a float32 table.
    """
    if not scale:
        add(values, seed, table, offset)
        return False
    scaled = torch.round(values * scale)
    if len(values) and not bool((scaled.abs() < 2.0**31).all()):
        return True
    total = table.to(torch.int64)
    add(scaled.to(torch.int64), seed, total, offset)
    if int(total.abs().max()) > INT32_MAX:
        return True
    table.copy_(total)
    return False


def add(values: Tensor, seed: int, table: Tensor, offset: int) -> None:
    """Add *values*, signed, to a *table* of their own type."""
    rows, cols = table.shape
    if values.is_cuda and has_triton():
        from toolkit.learning import sketch_triton

        sketch_triton.encode(values, signed_keys(seed, rows), table, offset)
        return
    for begin in range(0, len(values), CHUNK):
        part = values[begin : begin + CHUNK]
        indices = torch.arange(offset + begin, offset + begin + len(part), device=part.device)
        for row, (a, b) in zip(table, signed_keys(seed, rows), strict=True):
            cells, signs = places(indices, a, b, cols)
            row.index_add_(0, cells, part * signs)


def estimate(table: Tensor, seed: int, scale: float, size: int) -> Tensor:
    """Return the estimates (float32, (size,)) of coordinates 0 to size - 1; an int32 table counts in units of *scale*."""
    if table.is_cuda and has_triton():
        from toolkit.learning import sketch_triton

        if len(table) in sketch_triton.ROWS:
            return sketch_triton.estimate(table, signed_keys(seed, len(table)), scale, size)
    starts = range(0, size, CHUNK)
    parts = [estimate_at(table, seed, scale, torch.arange(begin, min(begin + CHUNK, size), device=table.device)) for begin in starts]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def estimate_at(table: Tensor, seed: int, scale: float, indices: Tensor) -> Tensor:
    """Return the estimates (float32) at *indices*: the medians over rows."""
    rows, cols = table.shape
    estimates: list[Tensor] = []
    for row, (a, b) in zip(table, signed_keys(seed, rows), strict=True):
        cells, signs = places(indices, a, b, cols)
        estimates.append(row[cells].to(torch.float32) * (signs * scale))
    return median(estimates)


def median(values: list[Tensor]) -> Tensor:
    """Return the medians, element by element, of an odd number of tensors; the list is spent."""
    for p, q in exchanges(len(values)):
        values[p], values[q] = torch.minimum(values[p], values[q]), torch.maximum(values[p], values[q])
    return values[len(values) // 2]
