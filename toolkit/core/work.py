"""Work: what a computation asks of a machine, before anybody says how long it takes. Imports nothing, so that everybody may import it."""

from __future__ import annotations

from typing import NamedTuple

FLOAT_BYTES = 4
"""Bytes of a float32, the type of weights, gradients and messages."""
CHANNELS = 8
"""Channels that a machine convolves together: a vector of 256 bits on CPUs, the step at which GPU kernels go."""


def padded(channels: int) -> int:
    """Return *channels* rounded up to whole groups of `CHANNELS`."""
    return -(-channels // CHANNELS) * CHANNELS


class Work(NamedTuple):
    """A sum over kernels: operations, bytes moved and kernels started; adds, and is never a duration.

    Convolutions and matrix products are told apart from all else, since machines do them at rates of their own.
    """

    flops: float = 0.0
    """Floating-point operations of all kernels."""
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    launches: float = 0.0
    """Kernels started beyond the first, which every computation pays for; 0 where one call does it all."""
    convolutions: float = 0.0
    """How many of all kernels are convolutions."""
    convolution_flops: float = 0.0
    """Operations of convolutions, among `flops`."""
    padding_flops: float = 0.0
    """Operations that convolutions take beyond those, since machines work on channels in groups of eight."""
    matrix_flops: float = 0.0
    """Operations of matrix products, among `flops`."""

    def __add__(self, other: object) -> Work:
        if not isinstance(other, Work):
            return NotImplemented
        return Work(  # written out: meters add at every call of a network
            self[0] + other[0], self[1] + other[1], self[2] + other[2], self[3] + other[3], self[4] + other[4], self[5] + other[5],
            self[6] + other[6], self[7] + other[7],
        )

    def __sub__(self, other: Work) -> Work:
        return Work(*[one - another for one, another in zip(self, other, strict=True)])

    def times(self, count: float) -> Work:
        """The work of doing this *count* times."""
        return Work(*[each * count for each in self])

    def beyond_first(self) -> Work:
        """The same where `launches` counted every kernel: the first of them is charged for any computation."""
        return self._replace(launches=max(0.0, self.launches - 1))
