"""Real processes: the same programs over `torch.distributed`, started with `torchrun`."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from toolkit.collectives import Collectives
from toolkit.core import statefile
from toolkit.core.context import Asking, Context, Delivery
from toolkit.core.ledger import Metric
from toolkit.core.streams import Streams
from toolkit.core.work import Work
from toolkit.errors import RunDirectoryError

ARRIVED = Delivery("delivered", 0.0, 0.0, 1)
PENDING = 64
"""Messages that may be under way before the oldest is waited for."""


class ReceiveFuture:
    """What a call returns: done at once, or when a message has been received."""

    __slots__ = ("_error", "_request", "_thread", "_value", "there")

    def __init__(self, value: Any = None, request: Any = None) -> None:
        self._value = value
        self._request = request
        self._thread: threading.Thread | None = None
        self._error: RuntimeError | None = None
        self.there = request is None
        """Whether it is known to have come; asking gloo itself does not tell before one waits."""

    def wait(self) -> Any:
        """Return the value, once it is there."""
        if self._thread is not None:
            self._thread.join()
        elif self._request is not None:
            self._request.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def watch(self, arrivals: queue.SimpleQueue[None]) -> None:
        """Tell *arrivals* when it is there."""
        if self.there or self._thread is not None:
            return

        def wait() -> None:
            try:
                self._request.wait()
            except RuntimeError as error:  # for whoever asks for the value
                self._error = error
            self.there = True
            arrivals.put(None)

        self._thread = threading.Thread(target=wait, daemon=True)
        self._thread.start()


class AnyFuture(ReceiveFuture):
    """Whichever of several comes first: its place and its value."""

    __slots__ = ("_arrivals", "_futures")

    def __init__(self, futures: Sequence[ReceiveFuture], arrivals: queue.SimpleQueue[None]) -> None:
        super().__init__()
        self._futures = futures
        self._arrivals = arrivals

    def wait(self) -> tuple[int, Any]:
        while True:
            for place, future in enumerate(self._futures):
                if future.there:
                    return place, future.wait()
            self._arrivals.get()


@dataclass
class Checkpoints:
    """Where this rank keeps its states; the last two, since a rank may have been stopped before it kept the last."""

    folder: Path
    rank: int
    processes: int
    resume: bool
    last: int = field(default=0, init=False)

    def keep(self, step: int, state: Any) -> None:
        """Write *state* whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        statefile.write(self._path(step), {"processes": self.processes, "state": state})
        self.last = step
        for old in self.steps()[:-2]:
            self._path(old).unlink(missing_ok=True)

    def steps(self) -> list[int]:
        """Return the steps of which this rank has a state."""
        return sorted(int(path.stem.split("-")[1]) for path in self.folder.glob(f"step-*-rank{self.rank}.npz"))

    def load(self) -> Any:
        """Return the state of the last step that all ranks have, or None.

        Raises:
            RunDirectoryError: it was kept by another number of processes, or cannot be read.
        """
        mine = set(self.steps()) if self.resume else set()
        everybodys: list[Any] = [None] * self.processes
        dist.all_gather_object(everybodys, mine)
        common = set.intersection(*everybodys)
        if not common:
            return None
        self.last = max(common)
        kept = statefile.read(self._path(self.last))
        if kept["processes"] != self.processes:
            raise RunDirectoryError(
                f"{self.folder}: was kept by {kept['processes']} processes, and this run has {self.processes}; start as many as before"
            )
        return kept["state"]

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}-rank{self.rank}.npz"


class DistributedContext(Context):
    """This process as one worker (or server) of a group. No simulated time: `compute` is free, since the real computing takes its time.

    `sent_bytes` counts the payloads handed to `torch.distributed`. A message that is yielded counts as arrived at once: it was copied,
    and the oldest of many is waited for, so that two ranks that send to each other first never wait for ever.
    """

    def __init__(
        self, size: int, servers: int, seed: int, collectives: Collectives, checkpoints: Checkpoints, *, accelerator: str = "cpu"
    ) -> None:
        self.rank = self.node = dist.get_rank()
        self.size = size
        self.servers = servers
        self.collectives = collectives
        self.accelerator = accelerator
        self.metrics: list[Metric] = []
        self.sent_bytes = 0
        self._begun_s = time.perf_counter()
        self._streams = Streams(seed)
        self._checkpoints = checkpoints
        self._sent: deque[tuple[Any, Tensor]] = deque()
        self._arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def now(self) -> float:
        """Wall time in s since this program began."""
        return time.perf_counter() - self._begun_s

    def compute(self, work: Work, phase: str = "") -> ReceiveFuture:
        return ReceiveFuture()

    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> ReceiveFuture:
        return ReceiveFuture()

    def sleep(self, delay_s: float) -> ReceiveFuture:
        return ReceiveFuture()

    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Any = None) -> ReceiveFuture:
        self.sent_bytes += nbytes
        if nbytes:
            copy = payload.detach().clone(memory_format=torch.contiguous_format)
            self._sent.append((dist.isend(copy, dst), copy))
            while len(self._sent) > PENDING:
                self._sent.popleft()[0].wait()
        return ReceiveFuture(ARRIVED)

    def recv(self, src: int, like: Any) -> ReceiveFuture:
        buffer = torch.empty_like(like, memory_format=torch.contiguous_format)
        return ReceiveFuture(buffer, dist.irecv(buffer, src) if buffer.numel() else None)

    def wait_any(self, futures: Sequence[ReceiveFuture]) -> AnyFuture:
        for future in futures:
            future.watch(self._arrivals)
        return AnyFuture(futures, self._arrivals)

    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        self.metrics.append(Metric(self.now, step, name, who, value))

    def rng(self, *name: object) -> np.random.Generator:
        return self._streams.rng(*name, self.node)

    def shared_rng(self, *name: object) -> np.random.Generator:
        return self._streams.shared(*name)

    def save(self, step: int, state: Any) -> None:
        self._checkpoints.keep(step, state)

    def saved(self) -> Any:
        return self._checkpoints.load()

    def run(self, program: Asking) -> None:
        """Run *program* to its end, and wait until all that it sent is received."""
        value: Any = None
        while True:
            try:
                future = program.send(value)
            except StopIteration:
                break
            value = future.wait()
        while self._sent:
            self._sent.popleft()[0].wait()
