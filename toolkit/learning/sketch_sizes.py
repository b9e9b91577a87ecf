"""How large the tables and messages of a sketched exchange are: plain numbers, said once for whoever sends or prices them."""

from __future__ import annotations

from toolkit.learning.sketch_hash import LINE

COLUMNS_PER_PICK = 10
"""Columns per chosen coordinate where none are given: recall then is near one on power-law vectors (gs-SGD spec 1.5)."""


def picks(k: int | None, density: float, size: int) -> int:
    """Return how many of *size* coordinates are chosen: *k*, or the share *density* of them, at least one."""
    return max(1, round(density * size)) if k is None else k


def columns(cols: int | None, k: int) -> int:
    """Return *cols*, or the columns that go with *k* picks, in whole lines."""
    return cols if cols is not None else whole_lines(COLUMNS_PER_PICK * k)


def whole_lines(cols: float) -> int:
    """Return *cols* rounded up to whole lines of a sketch, at least one."""
    return max(1, -(-int(cols) // LINE)) * LINE


def candidates(p2: int, k: int, size: int) -> int:
    """Return how many coordinates the second round compares exactly: *p2* for each of *k* picks, at most all."""
    return min(p2 * k, size)


def check_table(rows: int, cols: int | None) -> None:
    """Raise a ValueError for a table that no sketch can have."""
    if rows % 2 == 0:
        raise ValueError(f"rows must be odd (got {rows}): with an even number the lower middle value is biased")
    if cols is not None and cols % LINE:
        near = max(LINE, round(cols / LINE) * LINE)
        raise ValueError(f"cols must be a multiple of {LINE}, the line of the sketch (got {cols}); the nearest is {near}")
