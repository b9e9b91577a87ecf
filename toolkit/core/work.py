"""Work: what a computation asks of a machine, before anybody says how long it takes. Imports nothing, so that everybody may import it."""

from __future__ import annotations

from typing import NamedTuple

FLOAT_BYTES = 4
"""Bytes of a float32, the type of weights, gradients and messages."""


class Work(NamedTuple):
    """Floating-point operations, bytes moved and calls made; adds, and is never a duration."""

    flops: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    launches: float = 0.0
    """Kernels started beyond the first, which every computation pays for; 0 where one call does it all."""

    def __add__(self, other: object) -> Work:
        if not isinstance(other, Work):
            return NotImplemented
        return Work(
            self.flops + other.flops, self.read_bytes + other.read_bytes, self.write_bytes + other.write_bytes,
            self.launches + other.launches,
        )

    def times(self, count: float) -> Work:
        """The work of doing this *count* times."""
        return Work(self.flops * count, self.read_bytes * count, self.write_bytes * count, self.launches * count)
