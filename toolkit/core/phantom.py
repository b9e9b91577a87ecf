"""Phantoms: payloads of which only the size matters, so that schedules can be timed without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Phantom:
    """A vector of *count* elements of *itemsize* bytes without values; the schedules of the collectives take it like a tensor."""

    count: int
    itemsize: int = 4

    @property
    def nbytes(self) -> int:
        return self.count * self.itemsize

    def numel(self) -> int:
        return self.count

    def clone(self) -> Self:
        return self

    def __getitem__(self, index: slice) -> Self:
        return type(self)(len(range(*index.indices(self.count))), self.itemsize)

    def __setitem__(self, index: slice, value: Any) -> None:
        """Nothing to keep."""

    def __add__(self, other: Any) -> Self:
        return self
