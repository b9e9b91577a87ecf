"""A node inside the simulator: the calls of its context as events, and what they cost as rows of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event, Timeout
from simpy.exceptions import Interrupt

from toolkit.core.checkpoint import Snapshot
from toolkit.core.context import Asking, Context, Payload
from toolkit.core.device import Device
from toolkit.core.network_file import part_stem, write_network
from toolkit.core.work import Work
from toolkit.core.world import World
from toolkit.errors import ScenarioError

NOTHING = Work()
Sender = Callable[[int, int, int, str], Event]


def _tell(ready: Event, place: int) -> Callable[[Event], None]:
    def happened(future: Event) -> None:
        if not ready.triggered:
            ready.succeed((place, future.value))

    return happened


class SimulatedContext(Context):
    """A node inside the simulator: `compute` and `send` return its events and write the ledger."""

    def __init__(self, world: World, rank: int, size: int, device: Device, sender: Sender) -> None:
        self.world = world
        self.rank = self.node = rank
        self.size = size
        self.device = device
        self._sender = sender
        self.busy_s = 0.0
        """Time in s that the processor has computed so far."""
        self.stored_s = 0.0
        """Time in s that the storage has been read and written so far."""
        self._busy_until_s = 0.0
        self._stored_until_s = 0.0
        checkpoint = world.checkpoint
        if checkpoint is not None and checkpoint.resumed is not None:
            self.__dict__.update({name: value for name, value in checkpoint.resumed.machine.items() if name != "script"})

    @property
    def now(self) -> float:
        """Simulated time in s."""
        return self.world.now

    def compute(self, work: Work, phase: str = "", share: float = 1.0) -> Timeout:
        """Run *work* on this node's processor, after whatever it is already doing; the event fires when it is done.

        What a collective adds up is done at once, beside that: communication has a thread (gloo) or kernels (NCCL) of its own. As the
        machine's power is that of all it does, the time in which it computes anyway costs no more energy for that.
        """
        now, device = self.world.env.now, self.device
        if self.in_collective:  # whose phase is that of what it adds up, not of a computation that was measured
            return self._occupy(now, device.duration_s(work), phase, work)
        return self._occupy(max(now, self._busy_until_s), device.duration_s(work, phase, share), phase, work)

    def _occupy(self, start_s: float, plain_s: float, phase: str, work: Work = NOTHING) -> Timeout:
        """Let the processor do what takes *plain_s*; the event fires when it is done."""
        world, busy_until_s = self.world, self._busy_until_s
        dur_s = self.stretched_s(start_s, plain_s)
        end_s = start_s + dur_s
        busier_s = dur_s if start_s >= busy_until_s else max(0.0, end_s - busy_until_s)
        self._busy_until_s = max(busy_until_s, end_s)
        self.busy_s += busier_s
        world.ledger.charge(
            start_s, dur_s, self.node, self.node, "compute", phase=phase, flops=work.flops,
            nbytes=int(work.read_bytes + work.write_bytes), energy_j=busier_s * self.device.busy_w, outcome="done",
        )
        return Timeout(world.env, end_s - world.env.now)

    @property
    def in_collective(self) -> bool:
        """Whether what is asked for now is asked by a collective, not by the program."""
        return False

    def store(self, read_bytes: float = 0, write_bytes: float = 0, phase: str = "") -> Timeout:
        """Use this node's storage; the event fires when it is done. One row of the ledger per direction."""
        world, device = self.world, self.device
        now = world.env.now
        start_s = max(now, self._stored_until_s)
        read_s, write_s = device.storage_s(read_bytes=read_bytes), device.storage_s(write_bytes=write_bytes)
        for nbytes, dur_s, way in ((read_bytes, read_s, "read"), (write_bytes, write_s, "written")):
            if nbytes:
                world.ledger.charge(
                    start_s, dur_s, self.node, self.node, "store", phase=phase, nbytes=int(nbytes), energy_j=dur_s * device.storage_w,
                    outcome=way,
                )
                start_s += dur_s
                self.stored_s += dur_s
        self._stored_until_s = start_s
        return Timeout(world.env, start_s - now)

    def stretched_s(self, start_s: float, dur_s: float) -> float:
        """How long a computation of *dur_s* takes that begins at *start_s*; longer where a fabric has slow or absent machines."""
        return dur_s

    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Payload | None = None) -> Event:
        """Send a message of *nbytes* to node *dst* (or to the fabric's ``ANY_SINK``); the event's value is a `Delivery`."""
        return self._sender(self.rank, dst, nbytes, phase)

    def recv(self, src: int, like: Payload) -> Event:
        raise ScenarioError(f"program: node {self.rank} waits for a message of node {src}, and this fabric only carries messages to sinks")

    def wait_any(self, futures: Sequence[Event]) -> Event:
        ready = Event(self.world.env)
        for place, future in enumerate(futures):
            if future.processed:
                return ready.succeed((place, future.value))
        for place, future in enumerate(futures):
            future.callbacks.append(_tell(ready, place))
        return ready

    def sleep(self, delay_s: float) -> Timeout:
        return self.world.env.timeout(delay_s)

    def save(self, step: int, state: Any) -> None:
        """Keep *state*, if the run may be resumed from here: one machine, nothing under way."""
        checkpoint = self.world.checkpoint
        if checkpoint is not None and self.may_save:
            checkpoint.keep(Snapshot(self.world.now, self.machine_state(), self.world.ledger.state(), state))

    def saved(self) -> Any:
        checkpoint = self.world.checkpoint
        return checkpoint.resumed.state if checkpoint is not None and checkpoint.resumed is not None else None

    @property
    def may_save(self) -> bool:
        """Whether a run can be resumed from between two steps of this node's program."""
        return False

    def machine_state(self) -> dict[str, Any]:
        """Return what this node has done so far, by the names of its attributes."""
        return {name: getattr(self, name) for name in ("busy_s", "stored_s", "_busy_until_s", "_stored_until_s")}

    def hand_out(self, weights: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any], part: str = "") -> None:
        if self.world.networks is not None:
            write_network(part_stem(self.world.networks, part), weights, facts)

    def metric(self, name: str, value: float, who: str = "", step: int = -1) -> None:
        self.world.ledger.metric(self.world.now, name, value, who, step)

    def progress(self, share: float) -> None:
        self.world.share = share

    def rng(self, *name: object) -> np.random.Generator:
        return self.world.streams.rng(*name, self.node)

    def shared_rng(self, *name: object) -> np.random.Generator:
        return self.world.streams.shared(*name)

    def process(self, generator: Any) -> Event:
        """Start another process of this node."""
        return self.world.env.process(generator)

    def beside(self, generator: Asking) -> Callable[[], None]:
        """Start another process of this node, and return what ends it."""
        process = self.world.env.process(_until_stopped(generator))

        def stop() -> None:
            if process.is_alive:
                process.interrupt()

        return stop


def _until_stopped(generator: Asking) -> Asking:
    try:
        yield from generator
    except Interrupt:
        return
