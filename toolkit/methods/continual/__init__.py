"""Continual learning: methods that meet one task after the other and are asked about all of them.

A method is plain torch code. It gets a `Learner`, which holds the network, the replay memory and the samples of the present step, and says
what a step, the beginning and the end of a task do. It never touches the clock and knows no costs: what it asks of network, memory and
weights is counted by the learner, and the program (`toolkit.methods.continual.program`) pays for it on the simulated machine. What a run
will take is found out beforehand by taking a few of these steps with stand-ins (`toolkit.methods.continual.plan`); a law test compares.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Generic, cast

from torch import Generator, Tensor, nn
from typing_extensions import TypeVar

from toolkit.core.part import Part
from toolkit.datasets.streams import Stream
from toolkit.learning.plain_state import plain, restored
from toolkit.methods.continual.batch import Batch
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.network import ContinualNet
from toolkit.models.elastic_resnet import Configuration

__all__ = ["Batch", "ContinualMethod"]

S = TypeVar("S", default=Any)
"""What a method keeps between steps: plain values, tensors and modules."""


class ContinualMethod(Part, Generic[S]):
    """A way of learning tasks one after the other. Frozen; what changes lives in the state S that `init` returns (plain values, tensors
    and modules, so that a run can be stopped and resumed).
    """

    family: ClassVar[str] = "continual learning method"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.methods.continual.{}",)
    replays: ClassVar[bool] = True
    """Whether it uses the learner's replay memory (`Learner.buffer`)."""
    sees_all: ClassVar[bool] = False
    """Whether it learns all tasks at once (the upper bound)."""
    inserts: ClassVar[bool] = False
    """Whether the memory chooses what it keeps of what it is offered (`Learner.insert`), and not the method."""
    blurs: ClassVar[bool] = False
    """Whether it learns streams whose borders blur: it takes no class that comes for a new one, nor labels below any for the known ones."""
    stores_scores: ClassVar[bool] = False
    """Whether each stored sample has the scores (K float32) of the network that saw it, which equal-bytes budgets must count."""
    reshapes: ClassVar[bool] = False
    """Whether it needs a trunk of a certain kind, of which it makes another."""
    takes_maps: ClassVar[bool] = False
    """Whether CLFD can go round it: it replays what the memory stores, and knows no images but by `Learner.passes` and `encode`."""

    plans_within: ClassVar[float] = 0.01
    """Share by which costs may differ from their plan; more where a step's cost hangs on values, of which the plan has the expectation."""
    plans_writes: ClassVar[bool] = True
    """Whether how much goes into the memory is known beforehand, and does not hang on values."""

    def __class_getitem__(cls, parameters: Any) -> Any:
        """The type of a state is for readers and type checkers; it makes no class of its own, which would look like another member."""
        return cls

    def trunk_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return for what height and width, of images of *image_shape*, the network is built that `network` is given."""
        return image_shape

    def network(self, model: nn.Module, image_shape: tuple[int, int, int], weights: Generator) -> ContinualNet:
        """Return the network around *model*; methods that change it begin here, and draw what weights they add from *weights*."""
        return ContinualNet(model, image_shape)

    def shaping(self) -> Hashable:
        """Return what the network's shapes and calls depend on beside its task: where two methods say the same, so are their networks."""
        plain_one = type(self).network is ContinualMethod.network and type(self).trunk_shape is ContinualMethod.trunk_shape
        return () if plain_one else self

    def check(self, stream: Stream, capacity: int) -> None:
        """Raise `ScenarioError` where it cannot learn *stream* with a replay memory of *capacity* samples."""

    def init(self, learner: Learner) -> S:
        """Return the state before the first task; None for a method that has none."""
        return cast("S", None)

    def keep(self, state: S) -> Any:
        """Return *state* as a tree of plain values and tensors (`toolkit.learning.plain_state`), for a checkpoint."""
        return plain(state)

    def resume(self, learner: Learner, begun: S, kept: Any) -> S:
        """Return the state that `keep` made *kept* of; *begun* is what `init` gave, and *learner* is itself again already."""
        return restored(begun, kept)

    def begin_task(self, learner: Learner, state: S) -> None:
        """Get ready for task `learner.task`."""

    def begin_epoch(self, learner: Learner, state: S) -> None:
        """Get ready for epoch `learner.epoch` (from 0) of `learner.epochs`."""

    @abstractmethod
    def step(self, learner: Learner, state: S, batch: Batch) -> Tensor:
        """Take one step on *batch*; return the loss."""

    def end_epoch(self, learner: Learner, state: S) -> None:
        """Close an epoch."""

    def end_task(self, learner: Learner, state: S) -> None:
        """Close a task."""

    def decoder(self, state: S) -> nn.Module | None:
        """Return what makes features of old classes, of a method that has it."""
        return None

    def class_nbytes(self, learner: Learner) -> float:
        """Return the bytes that the method keeps of each class, beside samples in the replay memory."""
        return 0.0

    def predict(self, learner: Learner, state: S, images: Tensor) -> Tensor:
        """Return scores (n, K) of normalised *images*, in eval mode and without gradients; not counted, as evaluations cost nothing."""
        scores: Tensor = learner.net(images)
        return scores

    # What comes out

    def answering(self, learner: Learner, state: S) -> nn.Module:
        """Return the network whose scores of normalised images are what `predict` gives at the end of a run."""
        return learner.net

    def shell(self, net: ContinualNet) -> nn.Module:
        """Return what `answering` does, of the same shape round a new *net*, for weights to be put into."""
        return net

    def subnets(self, learner: Learner, state: S) -> Mapping[str, tuple[Configuration, nn.Module]]:
        """Return smaller networks that come out beside it, by name."""
        return {}
