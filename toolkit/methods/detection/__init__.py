"""Incremental detection: methods that meet new classes without the images of the old ones.

A method is plain torch code that says what a step's loss is, what of the network moves, and what it wants of old classes: nothing, objects
that the old detector is made to show, noise, or crops that were stored. It never touches the clock and knows no costs; the program
(`toolkit.methods.detection.program`) counts the very same loss on tensors without values and pays for it on the simulated machine.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from toolkit.core.part import Part
from toolkit.datasets.detection.targets import Targets
from toolkit.models.detection.detector import Answer, Detector

Source = Literal["none", "inverted", "noise", "real"]
"""Where objects of old classes come from."""


class Batch(NamedTuple):
    """What one step learns from."""

    images: Tensor
    """(b, 3, side, side), values from 0 to 1, with whatever was laid into them."""
    targets: Targets
    """New objects, and in whole replayed images old ones; labels count all classes."""
    pasted: Targets
    """Old objects that were laid into the images; none of them valid where there are none."""
    chances: Tensor
    """(b, cells) uniform numbers, for what a method draws."""


class DetectionMethod(Part):
    """A way of learning new classes. Frozen, and without state: all of it is in student and teacher."""

    family: ClassVar[str] = "detection method"
    modules: ClassVar[tuple[str, ...]] = ("toolkit.methods.detection.{}",)
    sees_all: ClassVar[bool] = False
    """Whether it learns all classes at once from all images (the upper bound)."""
    teaches: ClassVar[bool] = True
    """Whether the old detector answers beside the student in each step."""
    source: ClassVar[Source] = "none"
    """What objects it is given."""

    def replayed(self, batch: int) -> int:
        """Return how many images of a batch are whole replayed ones, instead of their objects being laid into new images."""
        return 0

    def prepare(self, student: Detector, old: int) -> None:
        """Freeze what is not to move, of a student that knew *old* classes before it was widened."""

    @abstractmethod
    def loss(self, student: Detector, answer: Answer, taught: Answer | None, batch: Batch) -> Tensor:
        """Return the loss of a step.

        Args:
            student: under training.
            answer: its answer to the batch.
            taught: the old detector's, without gradients; None where the method has no teacher.
            batch: what was asked.
        """
