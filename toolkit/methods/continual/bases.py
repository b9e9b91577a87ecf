"""What methods without old data ask of a stream."""

from __future__ import annotations

import warnings

from toolkit.datasets.streams import Stream
from toolkit.errors import Note, ScenarioError


class WeakBase(Note):
    """The first task has fewer classes than a later one."""


def check_bases(stream: Stream, method: str) -> None:
    """Raise `ScenarioError` where a class comes back or the first task has one class alone; warn where it is smaller than another."""
    if len({label for labels in stream.classes for label in labels}) < sum(map(len, stream.classes)):
        raise ScenarioError(f"program.stream.kind: a class returns in a later task, and {method} takes a task's classes for new; use class")
    sizes = [len(labels) for labels in stream.classes]
    if sizes[0] < 2 and len(sizes) > 1:
        raise ScenarioError(f"program.stream.tasks: the first task has one class, of which {method} learns no features; give it at least 2")
    if sizes[0] < max(sizes):
        told = f"the first task has {sizes[0]} classes and a later one {max(sizes)}: {method} leans on the features of a strong first task"
        warnings.warn(f"program.stream: {told}", WeakBase, stacklevel=2)
