"""Small seas whose nodes tell each other something, and a wire of which every delay and loss is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from simpy.events import Event
from torch import Tensor

from toolkit.acoustic.network import SeaNetwork
from toolkit.acoustic.transport.incoming import Incoming
from toolkit.acoustic.transport.messages import Fragment, Message, Outgoing, Receipt
from toolkit.acoustic.transport.reliable import Reliable
from toolkit.core.alarm import Clock
from toolkit.core.context import Context, Delivery
from toolkit.core.machines import Needs
from toolkit.core.program import Process, Program
from toolkit.core.world import World
from toolkit.scenario import Scenario

PLACES = [(0, 0, 180), (700, 100, 120), (200, 800, 250), (900, 900, 60)]
SINKS = [(300, 300, 0), (800, 500, 0)]
DBCAR = {"type": "dbcar", "prediction": "persistence", "beacon_s": 600}


def fabric(routing: Any = DBCAR, transport: Any = "reliable", **more: Any) -> dict[str, Any]:
    """The settings of a calm sea; with *routing* ``ideal`` its links are."""
    ideal = routing == "ideal"
    return {
        "type": "acoustic", "layout": {"positions_m": PLACES, "sink_positions_m": SINKS, "depth_m": 300},
        "modem": {"profile": "evologics_like", "source_level_db": 150}, "sea": {}, "mobility": "static", "shadowing": {"sigma_db": 0.0},
        "fading": {"kind": "none"}, "mac": "csma", "routing": "flooding" if ideal else routing, "links": "ideal" if ideal else "water",
        "history_s": 36_000, "probe": {"links": 0}, "transport": transport, "device": "raspberry_pi_5", **more,
    }


class Talk(Program):
    """A program that a test writes: a generator per rank, and whether it lives with losses."""

    says: Callable[[Context], Process]
    survives: bool = False

    def run(self, ctx: Context) -> Process:
        yield from self.says(ctx)

    def needs(self) -> Needs:
        return Needs("the talk", servers=(0, None), survives_loss=self.survives, accepts_partial=True)


def sea(settings: dict[str, Any], *, duration_s: float = 20_000.0, seed: int = 1) -> SeaNetwork:
    """Build the network; nothing has begun."""
    scenario = Scenario.build({"name": "small", "duration_s": duration_s, "program": {"type": "periodic"}, "fabric": settings})
    network = scenario.fabric.build(World(seed, duration_s))
    assert isinstance(network, SeaNetwork)
    return network


def talk(settings: dict[str, Any], says: Callable[[Context], Process], *, survives: bool = False, **more: Any) -> SeaNetwork:
    """Let *says* run on every node and sink to the end of the run."""
    network = sea(settings, **more)
    program = Talk.model_construct(says=says, survives=survives)
    program.needs().check(network.spec.machines(), "acoustic")
    network.launch(program)
    network.world.env.run(until=network.world.duration_s)
    network.finish()
    return network


def numbers(count: int, start: int = 1) -> Tensor:
    """A vector in which no element is zero and no two are alike."""
    return torch.arange(start, start + count, dtype=torch.float32)


class Wire:
    """A courier whose fragments and receipts take set times, and lose those that a test names."""

    def __init__(
        self, spec: Reliable, *, there_s: float = 10.0, back_s: float = 10.0, lost: Iterable[tuple[int, int]] = (),
        lost_receipts: Iterable[int] = (),
    ) -> None:
        """*lost* names (fragment, try), tries from 1; *lost_receipts* the receipts by the order in which they are sent, from 0."""
        self.env = Clock()
        self.there_s, self.back_s = there_s, back_s
        self.lost, self.lost_receipts = set(lost), set(lost_receipts)
        self.sent: list[tuple[float, int]] = []
        """When which fragment was sent."""
        self.receipts: list[tuple[float, int, tuple[int, ...]]] = []
        """When a receipt was sent, before which fragment all had come, and which beyond it."""
        self.ends: list[tuple[float, int, str, str]] = []
        self.told: list[tuple[float, int, str]] = []
        self.outgoing: Outgoing = spec.outgoing(self, 0, 1)
        self.incoming = Incoming(self, 0, 1, rule=spec.receipts(), waits_s=spec.waits_s())
        self._tries: dict[tuple[int, int], int] = {}
        self._spec = spec
        self._count = 0

    def airtime_s(self, nbytes: float) -> float:
        return 0.0

    def message(self, payload: Tensor) -> Message:
        """Push a message with *payload*."""
        message = Message(
            self.env, 0, 1, number=self._count, id=self._count, nbytes=payload.nbytes, room_nbytes=self._spec.room_nbytes, phase="data",
            payload=payload,
        )
        self._count += 1
        self.outgoing.push(message)
        return message

    def send_fragment(self, message: Message, index: int) -> Event:
        number = self._tries[message.id, index] = self._tries.get((message.id, index), 0) + 1
        self.sent.append((self.env.now, index))
        if (index, number) not in self.lost:
            self.env.call_in(self.there_s, lambda _: self.incoming.take(Fragment(message, index)))
        return self.env.event()

    def send_receipt(self, receipt: Receipt, window: int) -> None:
        place = len(self.receipts)
        self.receipts.append((self.env.now, receipt.before, tuple(sorted(receipt.beyond))))
        if place not in self.lost_receipts:
            self.env.call_in(self.back_s, lambda _: self.outgoing.take(receipt))

    def tell(self, message: Message, outcome: str) -> None:
        self.told.append((self.env.now, message.id, outcome))

    def end(self, message: Message, outcome: str, reason: str) -> None:
        self.ends.append((self.env.now, message.id, outcome, reason))
        message.succeed(Delivery(outcome, message.begun_s, self.env.now, 1, reason))

    def lose(self, message: Message, reason: str) -> None:
        self.end(message, "lost", reason)
