"""The meter: adds up what a program asks of its machine, whoever calls.

Counted are calls of networks (any module and method), steps of an optimiser, passes over vectors, and the traffic of a memory on flash.
What a call takes is counted without doing it (`toolkit.learning.work`), once for each method, shape, mode and set of trained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from toolkit.core.work import FLOAT_BYTES, Work
from toolkit.learning.work import Count, count

Loss = Callable[[Tensor], Tensor]
OTHER = "other"
"""The part whose work is counted under no name of its own: losses, updates, loading."""


class Call(nn.Module):
    """One way of calling a network, as a module whose work can be counted."""

    def __init__(self, network: nn.Module, method: str, arguments: Sequence[Any] = ()) -> None:
        super().__init__()
        self.network, self.method, self.arguments = network, method, arguments

    def forward(self, tensor: Tensor) -> Tensor:
        found: Tensor = getattr(self.network, self.method)(tensor, *self.arguments)
        return found


class CallCosts:
    """What calls of one network take, each counted when it is first asked for."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._known: dict[tuple[Any, ...], Count] = {}

    def count(
        self, method: str, shape: Sequence[int], *arguments: Any, training: bool, dtype: torch.dtype = torch.float32,
        loss: Loss | None = None, gradients_held: bool = False,
    ) -> Count:
        """Return the count of calling *method* on a tensor of *shape*, forward and, where it is *training*, backward.

        *arguments* follow the tensor and must be hashable; *gradients_held* as in `toolkit.learning.work.count`.
        """
        trained = tuple(weight.requires_grad for weight in self.network.parameters()) if training else ()
        key = (method, tuple(shape), arguments, training, dtype, loss, gradients_held, hash(trained))
        if key not in self._known:
            module = Call(self.network, method, arguments)
            with _disable_current_modes():  # counting is not part of what happens
                self._known[key] = count(module, shape, training=training, dtype=dtype, loss=loss, gradients_held=gradients_held)
        return self._known[key]

    def work(self, method: str, shape: Sequence[int], *arguments: Any, training: bool) -> Work:
        """Return the work of such a call, every kernel a launch."""
        return self.count(method, shape, *arguments, training=training).work


class Meter:
    """Adds up work and traffic since they were last taken."""

    def __init__(self) -> None:
        self._sum = Work()
        self._parts: dict[str, float] = {}
        self._read_bytes = self._written_bytes = 0.0
        self._factor = 1.0
        self._costs: WeakKeyDictionary[nn.Module, CallCosts] = WeakKeyDictionary()

    def costs(self, network: nn.Module) -> CallCosts:
        """Return what calls of *network* take."""
        if network not in self._costs:
            self._costs[network] = CallCosts(network)
        return self._costs[network]

    # Counting

    def add(self, work: Work, part: str = OTHER) -> None:
        """Count *work* that somebody else knows, under the name of the *part* that does it."""
        self._sum += work if self._factor == 1 else work.times(self._factor)
        self._parts[part] = self._parts.get(part, 0.0) + self._factor * work.flops

    def call(
        self, network: nn.Module, shape: Sequence[int], method: str = "forward", *arguments: Any, training: bool,
        dtype: torch.dtype = torch.float32, loss: Loss | None = None, part: str = OTHER,
    ) -> None:
        """Count a call of *method* of *network* on a tensor of *shape*, with the way back where it is *training*."""
        self.add(self.costs(network).count(method, shape, *arguments, training=training, dtype=dtype, loss=loss).work, part)

    def update(self, size: int, *, momentum: bool = False, nesterov: bool = False, weight_decay: bool = False) -> None:
        """Count a step of SGD on *size* weights; see `update_work`."""
        self.add(update_work(size, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay))

    def elementwise(self, size: float, *, flops: float, reads: float, writes: float, launches: float = 0.0) -> None:
        """Count passes over vectors of *size* numbers (float32): so many operations, reads and writes for each."""
        self.add(elementwise_work(size, flops=flops, reads=reads, writes=writes, launches=launches))

    def traffic(self, read_bytes: float = 0.0, written_bytes: float = 0.0) -> None:
        """Count bytes read from and written to a memory on flash."""
        self._read_bytes += read_bytes * self._factor
        self._written_bytes += written_bytes * self._factor

    @property
    def factor(self) -> float:
        """How often what happens now is counted."""
        return self._factor

    @contextmanager
    def times(self, factor: float) -> Iterator[None]:
        """Count what happens meanwhile *factor* times."""
        before, self._factor = self._factor, self._factor * factor
        try:
            yield
        finally:
            self._factor = before

    # Reading

    def take(self, *, beyond_first: bool = False) -> Work:
        """Return the work counted since this was last asked, and begin anew.

        Every kernel is a launch; with *beyond_first* all but one, which the device charges for any computation.
        """
        found, self._sum = self._sum, Work()
        return found.beyond_first() if beyond_first else found

    def take_parts(self) -> dict[str, float]:
        """Return the FLOPs counted since this was last asked, by the part that does them."""
        found, self._parts = self._parts, {}
        return found

    def take_traffic(self) -> tuple[float, float]:
        """Return the bytes read and written since this was last asked, and begin anew."""
        found = self._read_bytes, self._written_bytes
        self._read_bytes = self._written_bytes = 0.0
        return found


def gradient_work(costs: CallCosts, shape: Sequence[int], *, loss: Loss | None = None) -> Work:
    """Return the work of a gradient over a batch of *shape* as `toolkit.learning.train_state` takes it, every kernel a launch.

    The gradient is one vector, set to zero before; each weight's is added to its part; the whole is looked through for what is not
    finite.
    """
    counted = costs.count("forward", shape, training=True, loss=loss, gradients_held=True)
    size = sum(weight.numel() for weight in costs.network.parameters() if weight.requires_grad)
    return elementwise_work(size, flops=0, reads=0, writes=1, launches=1) + counted.work + checking_work(size)


def loading_work(pixels: float, images: int = 1) -> Work:
    """Return the work of making a batch of *images* with so many *pixels* (channels counted) in all, every kernel a launch.

    Bytes and labels are picked out of the data set, turned into float32, scaled and shifted (`toolkit.datasets`).
    """
    return Work(2.0 * pixels, 10.0 * pixels + 8 * images, 13.0 * pixels + 8 * images, 5.0)


def checking_work(size: int) -> Work:
    """Return the work of looking through a gradient of *size* numbers for what is not finite."""
    return elementwise_work(size, flops=2, reads=1, writes=0, launches=1)


def update_work(size: int, *, momentum: bool = False, nesterov: bool = False, weight_decay: bool = False) -> Work:
    """Return the work of a step of SGD on *size* weights held as one vector, every pass over them a launch.

    Passes as (FLOPs, reads, writes) per weight: w - lr g, and before it g + decay w, m u, u + g, and with Nesterov g + m u.
    """
    passes = [(2, 2, 1)]
    if weight_decay:
        passes.append((2, 2, 1))
    if momentum:
        passes += [(1, 1, 1), (1, 2, 1)]
        if nesterov:
            passes.append((2, 2, 1))
    flops, reads, writes = (sum(column) for column in zip(*passes, strict=True))
    return elementwise_work(size, flops=flops, reads=reads, writes=writes, launches=len(passes))


def adam_work(size: int) -> Work:
    """Return the work of a step of Adam on *size* weights in one kernel: both moments and the weight are read and written."""
    return elementwise_work(size, flops=12, reads=4, writes=3, launches=1)


def elementwise_work(size: float, *, flops: float, reads: float, writes: float, launches: float = 0.0) -> Work:
    """Return the work of passes over *size* numbers (float32) that compute, read and write so many for each."""
    return Work(float(flops * size), float(FLOAT_BYTES * reads * size), float(FLOAT_BYTES * writes * size), float(launches))
