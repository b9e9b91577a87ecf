"""Kernels of the Count-Sketch for CUDA: what `sketch_gpu.add` and `sketch_gpu.estimate` do in plain torch, in one pass each.

Not exercised on machines without a GPU; `tests/learning/test_sketch.py` compares them with plain torch where there is one.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor

from toolkit.learning.sketch_hash import LINE, MULTIPLIERS, SHIFTS

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

triton: Any = importlib.import_module("triton")
tl: Any = importlib.import_module("triton.language")

Keys = tuple[tuple[int, int], ...]

ROWS = (1, 3, 5)
"""Numbers of rows that `estimate_kernel` knows; others take plain torch."""

GROUPS = 64
"""Groups of 16 coordinates per program."""

M0, M1 = tl.constexpr(MULTIPLIERS[0]), tl.constexpr(MULTIPLIERS[1])
S0, S1, S2 = (tl.constexpr(shift) for shift in SHIFTS)
WIDTH = tl.constexpr(LINE)


@triton.jit
def hash_groups(keys, row, groups):
    a = tl.load(keys + 2 * row).to(tl.uint64, bitcast=True)
    b = tl.load(keys + 2 * row + 1).to(tl.uint64, bitcast=True)
    x = groups.to(tl.uint64) * a + b
    x = (x ^ (x >> S0)) * M0
    x = (x ^ (x >> S1)) * M1
    return x ^ (x >> S2)


@triton.jit
def places(keys, row, groups, lane, lines):
    """Return cells (int64) and negative signs (bool) of *groups* (n, 1) in all lanes (1, 16)."""
    x = hash_groups(keys, row, groups)
    line = ((x >> 32) * lines.to(tl.uint64)) >> 32
    moved = lane ^ ((x >> 16) & 15).to(tl.int64)
    return line.to(tl.int64) * WIDTH + moved, ((x >> lane.to(tl.uint64)) & 1) != 0


@triton.jit(do_not_specialize=["size", "offset", "lines"])
def encode_kernel(values, keys, table, size, offset, lines, N: tl.constexpr):
    row = tl.program_id(1)
    lane = tl.arange(0, WIDTH)[None, :].to(tl.int64)
    groups = offset.to(tl.int64) // WIDTH + tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)[:, None]
    place = groups * WIDTH + lane - offset
    inside = (place >= 0) & (place < size)
    value = tl.load(values + place, mask=inside, other=0)
    cell, negative = places(keys, row, groups, lane, lines)
    tl.atomic_add(table + row * lines.to(tl.int64) * WIDTH + cell, tl.where(negative, -value, value), mask=inside, sem="relaxed")


@triton.jit
def look(table, keys, row, groups, lane, lines, scale):
    cell, negative = places(keys, row, groups, lane, lines)
    value = tl.load(table + row * lines.to(tl.int64) * WIDTH + cell).to(tl.float32) * scale
    return tl.where(negative, -value, value)


@triton.jit
def middle(a, b, c):
    return tl.maximum(tl.minimum(a, b), tl.minimum(tl.maximum(a, b), c))


@triton.jit(do_not_specialize=["size", "lines"])
def estimate_kernel(table, keys, out, size, lines, scale, R: tl.constexpr, N: tl.constexpr):
    lane = tl.arange(0, WIDTH)[None, :].to(tl.int64)
    groups = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)[:, None]
    found = look(table, keys, 0, groups, lane, lines, scale)
    if R >= 3:
        second = look(table, keys, 1, groups, lane, lines, scale)
        third = look(table, keys, 2, groups, lane, lines, scale)
        if R == 3:
            found = middle(found, second, third)
        else:
            fourth = look(table, keys, 3, groups, lane, lines, scale)
            fifth = look(table, keys, 4, groups, lane, lines, scale)
            # The least of the first four and the greatest cannot be the median of five: it is that of the fifth and the other two.
            low = tl.maximum(tl.minimum(found, second), tl.minimum(third, fourth))
            high = tl.minimum(tl.maximum(found, second), tl.maximum(third, fourth))
            found = middle(low, high, fifth)
    place = groups * WIDTH + lane
    tl.store(out + place, found, mask=place < size)


@cache
def on_device(keys: Keys, device: torch.device) -> Tensor:
    return torch.tensor(keys, dtype=torch.int64, device=device)


def encode(values: Tensor, keys: Keys, table: Tensor, offset: int) -> None:
    """Add *values*, signed, to a *table* of their own type (float32, or int64)."""
    if not len(values):
        return
    groups = (offset + len(values) - 1) // LINE - offset // LINE + 1
    grid = (triton.cdiv(groups, GROUPS), len(table))
    with torch.cuda.device(values.device):
        encode_kernel[grid](values, on_device(keys, values.device), table, len(values), offset, table.shape[1] // LINE, N=GROUPS)


def estimate(table: Tensor, keys: Keys, scale: float, size: int) -> Tensor:
    """Return the estimates of coordinates 0 to size - 1, float32."""
    out = torch.empty(size, dtype=torch.float32, device=table.device)
    grid = (triton.cdiv(triton.cdiv(size, LINE), GROUPS),)
    with torch.cuda.device(table.device):
        estimate_kernel[grid](table, on_device(keys, table.device), out, size, table.shape[1] // LINE, scale, R=len(table), N=GROUPS)
    return out
