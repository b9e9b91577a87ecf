"""Workers and servers of a simulated cluster: contexts whose messages are flows, and the loop that drives their programs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy
from simpy.events import Event, Timeout

from toolkit.cluster.ideal import IdealCollectives
from toolkit.cluster.messages import Mail
from toolkit.cluster.settings import ClusterSettings
from toolkit.cluster.slowness import Slowness
from toolkit.core.call_trace import CallTrace, Request
from toolkit.core.context import Asking, Payload, PeerLost
from toolkit.core.crowd import WAKING, Crowd
from toolkit.core.device import Device
from toolkit.core.ledger import kept_rows, rows_of
from toolkit.core.simulated import SimulatedContext
from toolkit.core.work import Work
from toolkit.core.world import World
from toolkit.errors import ToolkitError

CRASH = "crash"


class WorkerContext(SimulatedContext):
    """A machine of a cluster. Its rank may change when the group is formed anew; its `node` does not."""

    crowd: Crowd | None = None
    """A server's clients, where they are no nodes."""

    def __init__(
        self, node: int, spec: ClusterSettings, world: World, *, device: Device, mail: Mail, ideal: IdealCollectives, slowness: Slowness
    ) -> None:
        super().__init__(world, node, spec.workers, device, _refuse)
        self.spec = spec
        self.mail = mail
        self.ideal = ideal
        self.slowness = slowness
        self.servers = spec.servers
        self.collectives = spec.collectives
        self.may_lose_peers = mail.may_lose_peers
        self.call_trace = CallTrace(node)
        self.process_handle: simpy.Process | None = None
        self._busy_when_sent_s = 0.0
        """What `busy_s` was when it last sent a message."""
        checkpoint = world.checkpoint
        if checkpoint is not None and checkpoint.resumed is not None:
            self.call_trace.rows = [Request(*row) for row in rows_of(checkpoint.resumed.machine["script"])]

    @property
    def alive(self) -> bool:
        return self.process_handle is not None and self.process_handle.is_alive

    @property
    def may_save(self) -> bool:
        """A machine alone, to which nothing happens at a set time."""
        spec, failures = self.spec, self.spec.failures
        return spec.workers == 1 and not spec.servers and not (failures.crashes or failures.outages or failures.degradations)

    def machine_state(self) -> dict[str, Any]:
        return {**super().machine_state(), "script": kept_rows(self.call_trace.rows, Request)}

    def idle_again(self) -> None:
        """Forget what the processor was doing."""
        self._busy_until_s = min(self._busy_until_s, self.world.now)

    @property
    def in_collective(self) -> bool:
        return self.call_trace.depth > 0

    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> Timeout:
        event = super().compute(work, phase, share)
        if not self.call_trace.depth:
            asked = {name: float(each) for name, each in zip(Work._fields, work, strict=True)}
            self.call_trace.add("compute", event, phase=phase, value=float(share), **asked)
        return event

    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> Timeout:
        event = super().store(read_bytes, write_bytes, phase)
        if not self.call_trace.depth:
            self.call_trace.add("store", event, phase=phase, read_bytes=float(read_bytes), write_bytes=float(write_bytes))
        return event

    def stretched_s(self, start_s: float, dur_s: float) -> float:
        return dur_s if self.slowness.nowhere else self.slowness.stretched_s(self.node, start_s, dur_s)

    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Payload | None = None) -> Event:
        mail = self.mail
        event = mail.transfer(self.node, mail.members[dst], nbytes, phase, payload, self.woken_s())
        if not self.call_trace.depth:
            count, itemsize = _shape(payload, nbytes)
            self.call_trace.add("send", event, phase=phase, elements=count, itemsize=itemsize, peer=dst)
        return event

    def woken_s(self) -> float:
        """Return how long what sends takes to wake, if it slept."""
        wake_s = self.device.waking_s(self.busy_s - self._busy_when_sent_s)
        if wake_s:
            self._occupy(self.now, wake_s, WAKING)
            wake_s = self.stretched_s(self.now, wake_s)
        self._busy_when_sent_s = self.busy_s
        return wake_s

    def recv(self, src: int, like: Payload) -> Event:
        mail = self.mail
        event = mail.claim(mail.members[src], self.node)
        if not self.call_trace.depth:
            count, itemsize = _shape(like, like.nbytes)
            self.call_trace.add("recv", event, elements=count, itemsize=itemsize, peer=src)
        return event

    def sleep(self, delay_s: float) -> Timeout:
        event = super().sleep(delay_s)
        self.call_trace.add("sleep", event, value=float(delay_s))
        return event

    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        super().metric(name, value, who, step)
        self.call_trace.add("metric", name=name, who=who, step=step, value=float(value))

    def _collective(self, kind: str, x: Payload, phase: str, schedule: Asking, root: int = 0) -> Asking:
        count, itemsize = _shape(x, x.nbytes)
        self.call_trace.add(kind, phase=phase, elements=count, itemsize=itemsize, peer=root)
        self.call_trace.depth += 1
        try:
            if self.spec.pricing == "ideal":
                if woken_s := self.woken_s():
                    yield Timeout(self.world.env, woken_s)
                return (yield self.ideal.join(self, kind, x, phase, root))
            return (yield from schedule)
        finally:
            self.call_trace.depth -= 1


def _refuse(*_: object) -> Event:
    raise ToolkitError("a worker's messages go through WorkerContext.send")


def _shape(x: Payload | None, nbytes: int) -> tuple[int, int]:
    count = x.numel() if x is not None else nbytes
    return count, nbytes // count if count else 0


def drive(ctx: WorkerContext, program: Asking) -> Generator[Event, Any, None]:
    """Run *program* as a process: write down what it waits for, and tell it when another worker is gone."""
    call_trace = ctx.call_trace
    value: Any = None
    lost: PeerLost | None = None
    while True:
        try:
            event = program.throw(lost) if lost is not None else program.send(value)
        except StopIteration:
            return
        if not call_trace.depth:
            call_trace.waits(event)
        value = lost = None
        try:
            value = yield event
        except simpy.Interrupt as interrupt:
            if interrupt.cause == CRASH or interrupt.cause is None:
                program.close()
                return
            lost = PeerLost(int(interrupt.cause), ctx.spec.failures.restart_s)
