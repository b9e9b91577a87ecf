"""Small runs of continual learning in this process, by which methods are held against their laws: two tasks of five digits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from toolkit.core import statefile
from toolkit.core.local import DONE, LocalContext, LocalFuture, LocalGroup
from toolkit.core.work import Work
from toolkit.datasets.streams import Samples, Stream
from toolkit.laws import LawBroken, require
from toolkit.methods.continual import ContinualMethod
from toolkit.methods.continual.learner import Learner
from toolkit.methods.continual.program import Continual
from toolkit.methods.continual.run_plan import RunPlan
from toolkit.methods.continual.settings import StreamSpec


def program(method: ContinualMethod, **settings: Any) -> Continual:
    """Return the program for 2 tasks of 5 digits, one epoch each, a tiny network and a memory of 20 samples of any method."""
    base = {
        "task": {"dataset": "digits", "model": {"name": "resnet", "options": {"nf": 4}}}, "stream": {"tasks": 2}, "batch": 96, "replay": 16,
        "buffer": {"images": 20, "equal": "bytes"}, "budget": {"epochs": 1}, "drop_last": True,
    }
    return Continual.model_validate({**base, **settings, "method": method})


class Watched(LocalContext):
    """A context that keeps what it was charged by phase, and the checkpoints, as their files."""

    def __init__(self, seed: int, resume: bytes | None = None, closed: list[Closed] | None = None) -> None:
        super().__init__(LocalGroup(), 0, 1, seed)
        self.work: dict[tuple[int, str], Work] = defaultdict(Work)
        """Work by task and phase."""
        self.counts: dict[tuple[int, str], int] = defaultdict(int)
        self.read_bytes = self.written_bytes = 0.0
        self.saves: list[bytes] = []
        self._resume, self._closed = resume, closed
        self._task = 0

    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> LocalFuture:
        self.work[self._task, phase] += work
        self.counts[self._task, phase] += 1
        return DONE

    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> LocalFuture:
        self.read_bytes += read_bytes
        self.written_bytes += write_bytes
        return DONE

    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        super().metric(name, value, who, step)
        if name == "examined:per_class" and who == "0":  # the task is over
            self._task += 1
            if self._closed:
                self._closed[0].close()  # the first is the run's own; its plan opens another

    def save(self, step: int, state: Any) -> None:
        self.saves.append(statefile.dumps(state))

    def saved(self) -> Any:
        return None if self._resume is None else statefile.loads(self._resume)

    def values(self, name: str) -> list[float]:
        return [metric.value for metric in self.metrics if metric.name == name]


@dataclass(frozen=True, eq=False)
class Closed(Stream):
    """A stream that gives the samples of the present task alone, and spoils what it gave when the task is over."""

    present: list[int] = field(default_factory=lambda: [0])
    given: list[Samples] = field(default_factory=list)

    def train(self, task: int) -> Samples:
        if task != self.present[0]:
            raise LawBroken(f"in task {self.present[0]} it asks for the samples of task {task}, which are not there")
        found = super().train(task)
        self.given.append(Samples(found.images.clone(), found.labels.clone()))
        return self.given[-1]

    def close(self) -> None:
        self.present[0] += 1
        for samples in self.given:
            samples.images.fill_(255)
            samples.labels.fill_(0)
        self.given.clear()


def closing(opened: list[Closed]) -> Callable[..., Closed]:
    """Return a `StreamSpec.open` whose streams are closed, and kept in *opened*."""
    plain = StreamSpec.open

    def opening(spec: StreamSpec, *arguments: Any) -> Closed:
        stream = plain(spec, *arguments)
        opened.append(Closed(stream.dataset, stream.classes, stream.transforms))
        return opened[-1]

    return opening


@dataclass
class Run:
    """A finished run."""

    context: Watched
    saved: dict[str, Any]
    """The last checkpoint: learner, state, task, step."""

    @property
    def weights(self) -> Tensor:
        """All weights and running statistics, flat."""
        return torch.cat([value.flatten().double() for value in self.saved["learner"]["net"].values()])


def train(method: ContinualMethod, seed: int = 0, *, resume: bytes | None = None, forgets: bool = False, **settings: Any) -> Run:
    """Run a method through `program` and return what was seen; where it *forgets* its stream is `Closed`."""
    course = program(method, **settings)
    if not forgets:
        context = Watched(seed, resume)
        drive(course, context)
    else:
        opened: list[Closed] = []
        context = Watched(seed, resume, opened)
        with patch.object(StreamSpec, "open", closing(opened)):
            drive(course, context)
        require(opened[0].present[0] == opened[0].tasks, "a task did not come to its end")
    return Run(context, statefile.loads(context.saves[-1]))


def drive(course: Continual, context: Watched) -> None:
    """Take *course* to its end; nothing waits here."""
    process = course.run(context)
    value: Any = None
    try:
        while True:
            value = process.send(value).value
    except StopIteration:
        return


def run_plan(method: ContinualMethod, seed: int = 0, **settings: Any) -> RunPlan:
    """Return the plan of the run that `train` would make."""
    return program(method, **settings).run_plan(torch.Generator().manual_seed(seed), np.random.default_rng(seed))


def opening(method: ContinualMethod, seed: int = 0, **settings: Any) -> tuple[Learner, Any]:
    """Return the learner of the run that `train` would make, and the method's state, before the first step."""
    course = program(method, **settings).begin(Watched(seed))
    return course.learner, course.state
