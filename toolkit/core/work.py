"""Work: what a computation asks of a machine, before anybody says how long it takes."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """Floating-point operations and bytes moved; adds, and is never a duration."""

    flops: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0

    def __add__(self, other: object) -> Work:
        if not isinstance(other, Work):
            return NotImplemented
        return Work(self.flops + other.flops, self.read_bytes + other.read_bytes, self.write_bytes + other.write_bytes)

    def times(self, count: float) -> Work:
        """The work of doing this *count* times."""
        return Work(self.flops * count, self.read_bytes * count, self.write_bytes * count)
