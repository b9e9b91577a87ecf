"""Real processes: the same programs over `torch.distributed`, started with `torchrun`."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from toolkit.cluster.gloo_threads import computing_goes_first
from toolkit.collectives import Collectives
from toolkit.core import statefile
from toolkit.core.context import Asking, Context, Delivery
from toolkit.core.ledger import Metric
from toolkit.core.streams import Streams
from toolkit.core.work import Work
from toolkit.errors import RunDirectoryError, ToolkitError

ARRIVED = Delivery("delivered", 0.0, 0.0, 1)
PENDING = 64
"""Messages that may be under way before the oldest is waited for."""
KEPT = frozenset(("processes", "settings", "state", "sent_bytes", "wall_s"))
"""What a checkpoint of a rank holds."""


class ProcessLost(ToolkitError):  # noqa: N818 - like PeerLost, of which it is the real thing
    """Another process is gone, or silent for longer than is waited."""


@contextmanager
def losing_processes() -> Iterator[None]:
    """Make of what `torch.distributed` says when the other side is gone a `ProcessLost`; it says it as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(str(error)) from error


class ReceiveFuture:
    """What a call returns: done at once, or when a message has been received."""

    __slots__ = ("_error", "_request", "_thread", "_value", "there")

    def __init__(self, value: Any = None, request: Any = None) -> None:
        self._value = value
        self._request = request
        self._thread: threading.Thread | None = None
        self._error: ProcessLost | None = None
        self.there = request is None
        """Whether it is known to have come; asking gloo itself does not tell before one waits."""

    def wait(self) -> Any:
        """Return the value, once it is there."""
        if self._thread is not None:
            self._thread.join()
        elif self._request is not None:
            with losing_processes():
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
                with losing_processes():
                    self._request.wait()
            except ProcessLost as error:  # for whoever asks for the value
                self._error = error
            self.there = True
            arrivals.put(None)

        self._thread = threading.Thread(target=wait, daemon=True)
        self._thread.start()


class Sending:
    """A message on its way out, with the copy that must not be changed until it is gone."""

    __slots__ = ("_copy", "_request")

    def __init__(self, request: Any, copy: Tensor) -> None:
        self._request = request
        self._copy = copy

    def wait(self) -> None:
        """Wait until it is gone, however often one asks; gloo would count each wait as one for another message."""
        if self._request is not None:
            self._request.wait()
            self._request = None


class Sent(ReceiveFuture):
    """What `send` returns: done at once, though the message may still be on its way out."""

    __slots__ = ("sending",)

    def __init__(self, sending: Sending) -> None:
        super().__init__(ARRIVED)
        self.sending = sending


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
    """Where this rank keeps its states; the last two, since a rank may have been stopped before it kept the last.

    What is there already is gone on from with *resume*, and removed without.
    """

    folder: Path
    rank: int
    processes: int
    resume: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What is trained; only a state of the same is gone on from."""
    last: int = field(default=0, init=False)

    def keep(self, step: int, state: Any, *, sent_bytes: int = 0, wall_s: float = 0.0) -> None:
        """Write *state*, and what it took to get there, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {"processes": self.processes, "settings": dict(self.settings), "state": state, "sent_bytes": sent_bytes, "wall_s": wall_s}
        statefile.write(self._path(step), kept)
        self.last = step
        for old in self.steps()[:-2]:
            self._path(old).unlink(missing_ok=True)

    def steps(self) -> list[int]:
        """Return the steps of which this rank has a state."""
        numbers = (path.stem.split("-")[1] for path in self.folder.glob(f"step-*-rank{self.rank}.npz"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def load(self) -> dict[str, Any] | None:
        """Return what `keep` kept of the last step that all ranks have, or None.

        Raises:
            RunDirectoryError: it was kept by another number of processes or with other settings, or cannot be read, by whichever rank;
                all ranks raise the same.
        """
        if not self.resume:
            for step in self.steps():
                self._path(step).unlink()
        common = set.intersection(*self._of_all_ranks(set(self.steps())))
        if not common:
            return None
        self.last = max(common)
        kept: dict[str, Any] = {}
        flaw: RunDirectoryError | None = None
        try:
            kept = self._read(self.last)
        except RunDirectoryError as error:  # for all ranks to stop with
            flaw = error
        for found in self._of_all_ranks(flaw):
            if found is not None:
                raise found
        return kept

    def _read(self, step: int) -> dict[str, Any]:
        path = self._path(step)
        kept = statefile.read(path)
        if not isinstance(kept, dict) or kept.keys() != KEPT:
            raise RunDirectoryError(f"{path}: cannot be read as a state that was kept (it holds something else)")
        if kept["processes"] != self.processes:
            raise RunDirectoryError(
                f"{self.folder}: was kept by {kept['processes']} processes, and this run has {self.processes}; start as many as before"
            )
        check_same_settings(str(self.folder), kept["settings"], self.settings)
        return kept

    def _of_all_ranks(self, own: Any) -> list[Any]:
        """Give *own* to all ranks, and return what each of them gave."""
        everybodys: list[Any] = [None] * self.processes
        with losing_processes():
            dist.all_gather_object(everybodys, own)
        return everybodys

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}-rank{self.rank}.npz"


def check_same_settings(place: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse what was made with other settings, and say which differ.

    Raises:
        RunDirectoryError: they do.
    """
    old, new = dict(_leaves(before)), dict(_leaves(now))
    different = [
        f"{name} {old.get(name, 'not there')} (now {new.get(name, 'not there')})"
        for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name) or (name in old) != (name in new)
    ]
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise RunDirectoryError(
            f"{place}: was made with {', '.join(different[:3])}{more}; --resume goes on with the same settings only: set them as they "
            "were, give another --out, or leave out --resume to begin anew"
        )


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested mapping with its dotted path."""
    if isinstance(tree, Mapping) and tree:
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree


class DistributedContext(Context):
    """This process as one worker (or server) of a group. No simulated time: `compute` is free, since the real computing takes its time.

    `sent_bytes` counts the payloads handed to `torch.distributed`, and `now` the time, of all parts of a run that was resumed. A message
    that is yielded counts as arrived at once: it was copied, and the oldest of many is waited for, so that two ranks that send to each
    other first never wait for ever.
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
        self._sent: deque[Sending] = deque()
        self._arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def now(self) -> float:
        """Wall time in s since this program began; of a run that was resumed, what had passed at its checkpoint included."""
        return time.perf_counter() - self._begun_s

    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> ReceiveFuture:
        return ReceiveFuture()

    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> ReceiveFuture:
        return ReceiveFuture()

    def sleep(self, delay_s: float) -> ReceiveFuture:
        return ReceiveFuture()

    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Any = None) -> ReceiveFuture:
        self.sent_bytes += nbytes
        if nbytes:
            copy = payload.detach().clone(memory_format=torch.contiguous_format)
            with losing_processes():
                sending = Sending(dist.isend(copy, dst), copy)
                self._sent.append(sending)
                while len(self._sent) > PENDING:
                    self._sent.popleft().wait()
            return Sent(sending)
        return ReceiveFuture(ARRIVED)

    def handed_over(self, sent: ReceiveFuture) -> ReceiveFuture:
        return ReceiveFuture(ARRIVED, sent.sending) if isinstance(sent, Sent) else sent

    def recv(self, src: int, like: Any) -> ReceiveFuture:
        buffer = torch.empty_like(like, memory_format=torch.contiguous_format)
        with losing_processes():
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
        self._checkpoints.keep(step, state, sent_bytes=self.sent_bytes, wall_s=self.now)

    def saved(self) -> Any:
        """Return the state to go on from, if there is one; the bytes and the time that it took to get there count on."""
        kept = self._checkpoints.load()
        if kept is None:
            return None
        self.sent_bytes += kept["sent_bytes"]
        self._begun_s -= kept["wall_s"]
        return kept["state"]

    def run(self, program: Asking) -> None:
        """Run *program* to its end, and wait until all that it sent is received."""
        computing_goes_first()  # by now gloo's threads have their names
        value: Any = None
        while True:
            try:
                future = program.send(value)
            except StopIteration:
                break
            value = future.wait()
        with losing_processes():
            while self._sent:
                self._sent.popleft().wait()
