"""Local contexts: all workers of a program take turns in this process, without clock or costs. The fast way to accuracy."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.core.context import Asking, Context, Delivery, Payload, Schedules
from toolkit.core.ledger import Metric
from toolkit.core.streams import Streams
from toolkit.core.work import Work
from toolkit.errors import ToolkitError


class LocalFuture:
    """What a call returns and a program yields: done already, or done once a message is there."""

    __slots__ = ("done", "value", "waiters", "waiting")

    def __init__(self, value: Any = None, *, done: bool = True) -> None:
        self.value = value
        self.done = done
        self.waiting: Asking | None = None
        self.waiters: list[tuple[LocalFuture, int]] = []
        """Futures that are done with the first of several, and the place of this one among them."""

    def settle(self, value: Any, ready: deque[tuple[Asking, Any]]) -> None:
        """Be done with *value*, and let whoever waits for it go on."""
        self.done, self.value = True, value
        if self.waiting is not None:
            ready.append((self.waiting, value))
        for future, place in self.waiters:
            if not future.done:
                future.settle((place, value), ready)


DONE = LocalFuture()
ARRIVED = LocalFuture(Delivery("delivered", 0.0, 0.0, 1))


class LocalGroup:
    """The mail between the workers of one program, and the turns they take."""

    def __init__(self) -> None:
        self.mail: dict[tuple[int, int], deque[Payload]] = defaultdict(deque)
        self.waiting: dict[tuple[int, int], deque[LocalFuture]] = defaultdict(deque)
        self.ready: deque[tuple[Asking, Any]] = deque()

    def run(self) -> None:
        """Take turns until every program has come to its end.

        Raises:
            ToolkitError: some wait for messages that nobody sends.
        """
        while self.ready:
            program, value = self.ready.popleft()
            try:
                future = program.send(value)
                while future.done:
                    future = program.send(future.value)
            except StopIteration:
                continue
            future.waiting = program
        stuck = sorted(pair for pair, futures in self.waiting.items() if futures)
        if stuck:
            raise ToolkitError("; ".join(f"rank {dst} waits for a message that rank {src} never sends" for src, dst in stuck))


class LocalContext(Context):
    """One worker among others in this process."""

    def __init__(
        self, group: LocalGroup, rank: int, size: int, seed: int, *, servers: int = 0, collectives: Schedules | None = None
    ) -> None:
        self.rank = self.node = rank
        self.size = size
        self.servers = servers
        self.collectives = collectives
        self.metrics: list[Metric] = []
        self.sent_bytes = 0
        self._group = group
        self._streams = Streams(seed)

    @property
    def now(self) -> float:
        return 0.0

    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> LocalFuture:
        return DONE

    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> LocalFuture:
        return DONE

    def sleep(self, delay_s: float) -> LocalFuture:
        return DONE

    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Payload | None = None) -> LocalFuture:
        if payload is None:
            return ARRIVED
        self.sent_bytes += nbytes
        pair = (self.rank, dst)
        copy = payload.clone()
        if self._group.waiting[pair]:
            self._group.waiting[pair].popleft().settle(copy, self._group.ready)
        else:
            self._group.mail[pair].append(copy)
        return ARRIVED

    def recv(self, src: int, like: Payload) -> LocalFuture:
        pair = (src, self.rank)
        if self._group.mail[pair]:
            return LocalFuture(self._group.mail[pair].popleft())
        future = LocalFuture(done=False)
        self._group.waiting[pair].append(future)
        return future

    def wait_any(self, futures: Sequence[LocalFuture]) -> LocalFuture:
        for place, future in enumerate(futures):
            if future.done:
                return LocalFuture((place, future.value))
        ready = LocalFuture(done=False)
        for place, future in enumerate(futures):
            future.waiters.append((ready, place))
        return ready

    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        self.metrics.append(Metric(0.0, step, name, who, value))

    def rng(self, *name: object) -> np.random.Generator:
        return self._streams.rng(*name, self.node)

    def shared_rng(self, *name: object) -> np.random.Generator:
        return self._streams.shared(*name)


def run_local(
    program: Callable[[Context], Asking], size: int, seed: int, *, servers: int = 0, collectives: Schedules | None = None
) -> list[LocalContext]:
    """Run *program* on *size* workers and *servers* servers to its end; return their contexts with what they recorded and sent."""
    group = LocalGroup()
    contexts = [LocalContext(group, rank, size, seed, servers=servers, collectives=collectives) for rank in range(size + servers)]
    group.ready.extend(_programs(program, contexts))
    group.run()
    return contexts


def _programs(program: Callable[[Context], Asking], contexts: list[LocalContext]) -> Iterator[tuple[Asking, None]]:
    for context in contexts:
        yield program(context), None
