"""Distributed SGD: what the workers tell each other after each gradient, one method per file.

`program.py` is the training loop that they share. A method works on flat float32 vectors and changes the weights in place; whatever it
sends goes through its context, so every byte it needs is on the ledger, and whatever it computes beyond the gradient is charged
as `Work` (phase ``compress``).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from typing_extensions import TypeVar

from toolkit.core.context import Asking, Context
from toolkit.core.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from toolkit.learning.flat import FlatLayout


@dataclass(frozen=True, slots=True)
class Step:
    """Which step of the training it is."""

    index: int
    """From 0."""
    lr: float
    arriving: tuple[tuple[tuple[slice, ...], Any], ...] = ()
    """Parts of the gradient (runs of its coordinates) in the order in which the backward pass gives them, each with what is to be waited
    for; at a server with None. Empty where all of it is there.
    """
    part: int = 0
    """Which part of the gradient it is for, where a method takes each by itself."""

    @property
    def key(self) -> tuple[int, ...]:
        """What names the random draws of this step."""
        return (self.index, self.part) if self.part else (self.index,)


State = TypeVar("State", default=Any)
"""What a method keeps at one worker or server: a dataclass of plain values and tensors, so that it can be saved and copied."""


class ExchangeMethod(Part, Generic[State]):
    """How workers make one step together out of their own gradients."""

    family: ClassVar[str] = "method"
    needs_servers: ClassVar[bool] = False
    partial: ClassVar[bool] = False
    """Whether it goes on where a sum is that of some workers, scaled, and a list holds what some sent: what the others sent is lost."""
    overlaps: ClassVar[bool] = False
    """Whether parts of the gradient are exchanged while the backward pass works on others."""

    @property
    def by_part(self) -> bool:
        """Whether a part of the gradient (some of its tensors) can be exchanged by itself, as if it were all.

        Such a method has a state for each part, and `step` is called for each. The first thing that it asks of its context is all that it
        computes before it sends, so that no message begins before its part is there.
        """
        return False

    @property
    def cycle(self) -> int:
        """Steps after which what is sent repeats."""
        return 1

    @property
    def settles_after(self) -> int:
        """Steps before what is sent repeats; a warm-up, where there is one."""
        return 0

    @abstractmethod
    def init(self, ctx: Context, layout: FlatLayout) -> State:
        """Return this worker's (or server's) state."""

    @abstractmethod
    def step(self, ctx: Context, state: State, weights: Tensor, gradient: Tensor, step: Step) -> Asking:
        """Exchange *gradient* ((d,), this worker's mean over its batch) and change *weights* ((d,)) in place.

        All workers start and end with the same weights, to the bit (`local_sgd` excepted between its averages).
        """

    def serve(self, ctx: Context, state: State, layout: FlatLayout, step: Step) -> Asking:
        """A server's part in one step, for methods that have servers."""
        raise NotImplementedError(f"{self.type_name()} has no server part")

    @abstractmethod
    def wire_bytes(self, layout: FlatLayout) -> float:
        """Bytes of the payloads that one worker hands over per step, before any schedule multiplies them (mean over many steps)."""
