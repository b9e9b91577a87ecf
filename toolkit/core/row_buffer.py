"""Blocks: rows of the ledger that a compiled loop writes by itself, as records in an array.

A tuple per row is cheap for what a program asks for, and dear for a medium in which a million frames end somewhere.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARD_ROWS = 200_000
"""Rows in a file of the ledger."""

BLOCK_ROW = np.dtype([
    ("t0_s", "f8"), ("dur_s", "f8"), ("energy_j", "f8"), ("node", "i4"), ("peer", "i4"), ("nbytes", "i4"), ("packet", "i4"),
    ("kind", "i2"), ("phase", "i2"), ("outcome", "i2"), ("spare", "i2"),
])
"""A row as compiled loops write it: `kind`, `phase` and `outcome` are numbers of strings, its flops are 0."""


class StringTable:
    """Texts by number, so that a compiled loop can name them."""

    def __init__(self, strings: tuple[str, ...] = ()) -> None:
        self.strings = list(strings)
        self._codes = {text: code for code, text in enumerate(strings)}

    def code(self, text: str) -> int:
        """The number of *text*, a new one if need be."""
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.strings)
            self.strings.append(text)
        return code


class RowBuffer:
    """Rows that a compiled loop writes itself, among those that `Ledger.charge` writes.

    The loop writes row `tally[0]` of `rows` and counts `tally[0]` up; when that has reached `tally[1]`, it has to have
    `Ledger.make_room` called first. Both arrays stay the same ones throughout.
    """

    def __init__(self, strings: StringTable, charged: int) -> None:
        self.strings = strings
        self.rows: NDArray[Any] = np.empty(SHARD_ROWS, dtype=BLOCK_ROW)
        self.tally = np.array([0, SHARD_ROWS - charged], dtype=np.int64)
        self.marks = [0] * charged
        """For every row that was charged, how many rows of the buffer come before it."""

    @property
    def is_full(self) -> bool:
        """Whether its rows and those that were charged among them fill a shard."""
        return bool(self.tally[0] >= self.tally[1])

    def mark(self) -> None:
        """A row is being charged."""
        self.marks.append(int(self.tally[0]))
        self.tally[1] -= 1

    def snapshot(self) -> RowBuffer:
        """The rows as they are now, which no loop writes any more."""
        taken = copy.copy(self)
        taken.rows, taken.tally, taken.marks = self.rows[: self.tally[0]].copy(), self.tally.copy(), self.marks.copy()
        return taken

    def clear(self) -> None:
        """Begin a new shard."""
        self.tally[:] = (0, SHARD_ROWS)
        self.marks.clear()

    def among(self, charged: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the columns of *charged* with the rows of this buffer in their places."""
        rows = self.rows[: self.tally[0]]
        strings = np.array(self.strings.strings, dtype=object)
        own = {name: rows[name] for name in BLOCK_ROW.names or ()}
        own |= {name: strings[rows[name]] for name in ("kind", "phase", "outcome")}
        own["flops"] = np.zeros(len(rows))
        total = len(rows) + len(self.marks)
        places = np.arange(len(self.marks)) + np.array(self.marks, dtype=np.int64)
        is_own = np.ones(total, dtype=bool)
        is_own[places] = False
        merged: dict[str, NDArray[Any]] = {}
        for name, column in charged.items():
            merged[name] = np.empty(total, dtype=column.dtype)
            merged[name][places] = column
            merged[name][is_own] = own[name]
        return merged
