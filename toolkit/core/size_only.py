"""Size-only payloads: messages of which only the size matters, so that schedules can be timed without data."""

from __future__ import annotations

from typing import Self


class SizeOnlyPayload:
    """A vector of *count* elements of *itemsize* bytes without values; the schedules of the collectives take it like a tensor."""

    __slots__ = ("count", "itemsize", "nbytes")

    def __init__(self, count: int, itemsize: int = 4) -> None:
        self.count = count
        self.itemsize = itemsize
        self.nbytes = count * itemsize

    def numel(self) -> int:
        return self.count

    def clone(self) -> Self:
        return self

    def __getitem__(self, index: slice) -> Self:
        start, stop, _ = index.indices(self.count)
        return type(self)(max(0, stop - start), self.itemsize)

    def __setitem__(self, index: slice, value: object) -> None:
        """Nothing to keep."""

    def __add__(self, other: object) -> Self:
        return self

    def __mul__(self, other: object) -> Self:
        return self
