"""What a learner's computations ask of its machine: one price list, read by the meter while it learns and by the plan before.

`Prices` knows the work of every call that a method can make of the network. `Meter` adds up the calls that were made. A method's plan adds
up the calls that it says it will make; a law test holds the two against each other, for every method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from toolkit.core.work import Work
from toolkit.learning.work import count as counted_work
from toolkit.learning.work import peak_memory_bytes

if TYPE_CHECKING:
    from toolkit.methods.continual.network import ContinualNet


class Call(nn.Module):
    """One way of calling a network, as a module whose work can be counted."""

    def __init__(self, network: nn.Module, name: str, arguments: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self.network, self.name, self.arguments = network, name, arguments

    def forward(self, tensor: Tensor) -> Tensor:
        found: Tensor = getattr(self.network, self.name)(tensor, *self.arguments)
        return found


class Prices:
    """Work per call, counted once for each shape and mode (`toolkit.learning.work`)."""

    def __init__(self, net: ContinualNet) -> None:
        self.net = net
        self._known: dict[tuple[Any, ...], Work] = {}
        self._kept: dict[tuple[int, int], float] = {}
        self.parameters = sum(weight.numel() for weight in net.parameters() if weight.requires_grad)
        self.feature_size, self.num_classes = net.feature_size, net.num_classes
        self.image_shape = net.image_shape

    def scores(self, count: int, *, training: bool = True) -> Work:
        """The work of the whole network on *count* encoded images, and of the way back where it is *training*."""
        return self.call("plain_scores", (count, *self.net.map_shape), training=training)

    def features(self, count: int, *, training: bool = True) -> Work:
        """The work of the network without its classifier."""
        return self.call("plain_features", (count, *self.net.map_shape), training=training)

    def classify(self, count: int, *, training: bool = True) -> Work:
        """The work of the classifier alone, on features."""
        return self.call("plain_classify", (count, self.net.feature_size), training=training)

    def encode(self, count: int, *, training: bool = False) -> Work:
        """The work of the front end on *count* images; none where there is no front end.

        Where it is *training* this is what it adds to a step: the way back through the trunk to the maps is part of it.
        """
        if not self.net.has_front:
            return Work()
        if not training:
            return self.call("plain_encode", (count, *self.net.image_shape), training=False)
        whole, trunk = self.call("forward", (count, *self.net.image_shape), training=True), self.scores(count)
        return Work(*(all_of_it - rest for all_of_it, rest in zip(whole, trunk, strict=True)))

    def call(self, name: str, shape: tuple[int, ...], *arguments: Any, training: bool) -> Work:
        """The work of calling the network's method *name* on a tensor of *shape*."""
        frozen = tuple(weight.requires_grad for weight in self.net.parameters()) if training else ()
        key = (name, shape, arguments, training, hash(frozen))
        if key not in self._known:
            counted = counted_work(Call(self.net, name, arguments), shape, training=training)
            self._known[key] = Work(counted.flops, counted.read_bytes, counted.write_bytes, counted.kernels)
        return self._known[key]

    def update(self, weights: int | None = None) -> Work:
        """One step of plain SGD on all weights, or on so many: read weights and gradients, write weights."""
        moved = self.parameters if weights is None else weights
        return Work(2.0 * moved, 8.0 * moved, 4.0 * moved)

    def vectors(self, flops: float, reads: float, writes: float = 0.0) -> Work:
        """So many operations, reads and writes for each weight (float32), for methods that do more with gradients than apply them."""
        return Work(flops * self.parameters, 4.0 * reads * self.parameters, 4.0 * writes * self.parameters)

    def activations_bytes(self, count: int) -> float:
        """What the results kept for the way back take at their worst, weights and gradients apart."""
        weights = list(self.net.parameters())
        trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
        key = count, trained
        if key not in self._kept:
            shape = (count, *self.net.map_shape)
            whole = peak_memory_bytes(Call(self.net, "plain_scores"), shape, True, optimiser_state=0.0)
            self._kept[key] = float(whole - sum(weight.nbytes for weight in weights) - trained)
        return self._kept[key]


class Meter:
    """Adds up what was asked since it was last read."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self._sum = Work()

    def add(self, work: Work) -> None:
        self._sum += work

    def take(self) -> Work:
        """Return the sum and begin anew."""
        found, self._sum = self._sum, Work()
        return found
