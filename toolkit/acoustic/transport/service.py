"""Messages with content in one network: mail, ways down, and programs on nodes and sinks that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import simpy
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order
from simpy.events import Event

from toolkit.acoustic.batteries import Batteries
from toolkit.acoustic.ideal_links import IdealLinks
from toolkit.acoustic.node import SeaContext, SeaNode
from toolkit.acoustic.packets import ANY_SINK, Frame, Packet, PacketTracker
from toolkit.acoustic.phy.channel import Channel
from toolkit.acoustic.phy.medium import Medium
from toolkit.acoustic.routing import Routing
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.acoustic.routing.way_down import DownRouter, Shore
from toolkit.acoustic.transport import Transport
from toolkit.acoustic.transport.mail import SeaMail
from toolkit.acoustic.transport.messages import Message
from toolkit.collectives import Collectives
from toolkit.core.context import Payload
from toolkit.core.device import Device
from toolkit.core.fabric import Behaviour
from toolkit.core.machines import Needs
from toolkit.core.program import Process
from toolkit.core.simulated import Sender
from toolkit.core.work import Work
from toolkit.core.world import World
from toolkit.errors import ScenarioError

NEAREST = 3
"""Neighbours that a node chooses for itself."""


class MailContext(SeaContext):
    """The context of a node or sink that sends and receives messages with content. Ranks are ids: nodes first, then sinks.

    ``send`` to another rank gives an event that fires when the sender knows that all of the message has come (best effort: when nothing of
    it is under way). ``send`` to `ANY_SINK` is one packet without content, as ever.
    """

    def __init__(
        self, world: World, rank: int, size: int, device: Device, sender: Sender, *, channel: Channel, service: TransportService
    ) -> None:
        super().__init__(world, rank, size, device, sender, channel=channel)
        self._service = service

    @property
    def neighbours(self) -> Mapping[int, int]:
        around = self._service.around
        return {rank: len(around[rank]) for rank in sorted(around[self.rank])}

    @property
    def leads(self) -> bool:
        return self.rank == self._service.leader

    def send(self, dst: int, nbytes: int, phase: str = "data", payload: Payload | None = None) -> Event:
        if dst == ANY_SINK:
            return super().send(dst, nbytes, phase, payload)
        return self._service.mail.send(self.rank, dst, nbytes, phase, payload)

    def announce(self, ranks: Sequence[int], nbytes: int, phase: str, payload: Payload) -> Event:
        if not self._service.is_ashore(self.node):
            sent: Event = super().announce(ranks, nbytes, phase, payload)
            return sent
        return self.world.env.all_of(self._service.mail.announce(self.rank, ranks, nbytes, phase, payload))

    def chance_of_frame(self, bits: int) -> tuple[float, Work]:
        """Return the chance that a frame of *bits* is decoded by the best of those nearer to the surface, and the work of forecasting it.

        By what the routing protocol forecasts; 1 where links are ideal, 0 where nobody is known.
        """
        return self._service.chance_of_frame(self.node, bits)

    def recv(self, src: int, like: Payload) -> Event:
        return self._service.mail.claim(src, self.rank)

    def withdraw(self, sent: Event) -> None:
        if isinstance(sent, Message):
            self._service.mail.withdraw(sent)


class TransportService:
    """What a sea needs beyond its packets so that programs can tell each other something."""

    def __init__(
        self, spec: Transport, world: World, tracker: PacketTracker, *, routing: Routing, batteries: Batteries, nodes: int, sinks: int,
        airtime_s: Callable[[float], float],
    ) -> None:
        self.spec = spec
        self.mail = SeaMail(spec, world, tracker, nodes=nodes, sinks=sinks, route=self._route, airtime_s=airtime_s)
        self.leader = 0
        """The first node that lives."""
        self.around: list[set[int]] = [set() for _ in range(nodes)]
        """The nodes near each node when the program began: the `NEAREST` that it has a way to over one hop, and those that it is one of."""
        self._world, self._tracker, self._routing, self._batteries = world, tracker, routing, batteries
        self._workers, self._sinks = nodes, sinks
        self._nodes: Sequence[SeaNode] = ()
        self._down: list[DownRouter] = []
        self._shore: Shore | None = None
        self._running: dict[int, simpy.Process] = {}
        self._budget: LinkBudget | None = None
        self._needs_all = ""
        """What waits for every node for ever; empty where programs go on without those that die."""

    def wire(self, nodes: list[SeaNode], medium: Medium) -> None:
        """Let ways down be learnt from what *nodes* hear, where the routing protocol only knows the way up."""
        self._nodes = nodes
        if isinstance(self._routing, IdealLinks):
            self.mail.tell_all = self._tell_all_ideally
        if self._routing.addresses:
            return
        self._down = [DownRouter(self.spec.ways, node, self.mail.heard) for node in nodes]
        self._shore = shore = Shore(self.spec.ways, nodes, self._down)
        self.mail.tell_all = lambda packet: shore.announce(nodes[packet.src], packet)
        for node, down in zip(nodes, self._down, strict=True):
            medium.listen(node.id, partial(self._hear, node, down))
            if node.is_sink:
                node.onward = partial(self._shore.come_ashore, node)

    def check_ways(self, links: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        """Raise a ScenarioError where a node has no way to a sink, or none leads from a sink to it; *links* are senders and receivers."""
        shore = self._workers + self._sinks  # one more node, which all sinks are joined to
        sinks = np.arange(self._workers, shore)
        senders, receivers = (np.concatenate([ends, *joined]) for ends, joined in zip(
            links, ((sinks, np.full(len(sinks), shore)), (np.full(len(sinks), shore), sinks)), strict=True
        ))
        graph = csr_matrix((np.ones(len(senders)), (senders, receivers)), shape=(shore + 1, shore + 1))
        both = [breadth_first_order(way, shore, return_predecessors=False) for way in (graph, graph.T.tocsr())]
        alone = np.setdiff1d(np.arange(self._workers), np.intersect1d(*both))
        if len(alone):
            node, more = int(alone[0]), len(alone) - 1
            raise ScenarioError(
                f"fabric.layout: there is no way between node {node} and any sink{f', nor for {more} more' if more else ''} when the run "
                "begins, over however many hops; move them nearer, add relays, or raise modem.source_level_db"
            )

    def meet(self, links: tuple[NDArray[np.int64], NDArray[np.int64]], delay_s: NDArray[np.float64]) -> None:
        """Let nodes know who is near; *links* are senders and receivers, *delay_s* (n, n) what sound takes."""
        both = set(zip(*(ends.tolist() for ends in links), strict=True))
        for node in range(self._workers):
            near = [other for other in range(self._workers) if {(node, other), (other, node)} <= both]
            for other in sorted(near, key=lambda other: (float(delay_s[node, other]), other))[:NEAREST]:
                self.around[node].add(other)
                self.around[other].add(node)

    def launch(self, program: Behaviour, needs: Needs, collectives: Collectives) -> Event:
        """Start *program* on all nodes and sinks, and the hub of a star at the first sink; the event fires when all are at their end."""
        schedules = collectives.all_reduce, collectives.all_gather
        self.mail.may_tear = lambda message: needs.survives_loss or message.dst == self.mail.hub
        waiting = [schedule.type_name() for schedule in schedules if schedule.exact]
        if waiting and not needs.survives_loss and self._workers > 1:
            self._needs_all = waiting[0]
        by_hub = [schedule for schedule in schedules if schedule.by_hub]
        for node in self._nodes:
            ctx = node.ctx
            ctx.size, ctx.servers, ctx.collectives = self._workers, self._sinks, collectives
            ctx.hub = self.mail.hub if by_hub else None
            self._running[node.id] = self._world.env.process(_to_its_end(program.run(ctx)))
        if by_hub:
            self._world.env.process(by_hub[0].serve(self._hub_context()))
        return self._world.env.all_of(list(self._running.values()))

    def bury(self, node: int) -> None:
        """A node has died, and so has its program.

        Raises:
            ScenarioError: the others would wait for it for ever.
        """
        self.mail.bury(node)
        process = self._running.get(node)
        if process is not None and process.is_alive:
            if self._needs_all:
                raise ScenarioError(
                    f"fabric.battery_j: node {node} has died {self._world.now:.0f} s after the start, and '{self._needs_all}' waits for "
                    "every node for ever; take collectives.all_reduce and all_gather: star with a deadline_s, or a larger battery"
                )
            process.interrupt("dead")
        living = [each for each in range(self._workers) if each not in self._batteries.dead]
        self.leader = living[0] if living else -1

    def finish(self) -> None:
        """Write down what messages are still under way."""
        self.mail.finish()

    def is_ashore(self, node: int) -> bool:
        """Whether *node* is a sink, and so can tell many at once."""
        return node >= self._workers

    def chance_of_frame(self, node: int, bits: int) -> tuple[float, Work]:
        """See `MailContext.chance_of_frame`."""
        if isinstance(self._routing, IdealLinks):
            return 1.0, Work()
        me, best, total = self._nodes[node], 0.0, Work()
        budget = self._budget = self._budget or LinkBudget(me.modem, me.fading)
        for other in self._nodes:
            if other.id != node and (other.is_sink or other.depth_m < me.depth_m):
                forecast, work = self._routing.priced_forecast(me, other.id, self._world.now)
                best, total = max(best, budget.success(forecast, bits)), total + work
        return best, total

    def _hub_context(self) -> MailContext:
        sink = self._nodes[self._workers].ctx
        assert isinstance(sink, MailContext)
        hub = MailContext(
            self._world, self.mail.hub, self._workers, sink.device, sink._sender, channel=self._nodes[self._workers].channel, service=self
        )
        hub.node = self._workers
        return hub

    def _route(self, packet: Packet) -> None:
        """Let a new packet go: by the routing protocol, or by a way that is known."""
        if packet.src in self._batteries.dead:
            self._tracker.hold(packet)
            self._tracker.drop(packet, "dead")
            return
        node = self._nodes[packet.src]
        node.tracker.hold(packet)
        if self._shore is None:
            self._routing.originate(node, packet)
        elif node.is_sink:
            self._shore.send_on(node, packet, 0)
        elif not self._nodes[packet.dst].is_sink and self._down[node.id].way_to(packet.dst) is not None:
            self._down[node.id].carry(packet, 0)
        else:
            self._routing.originate(node, packet)

    def _tell_all_ideally(self, packet: Packet) -> None:
        for sink in self._nodes[self._workers :]:
            sink.state.announce(packet, self.mail.heard)

    def _hear(self, node: SeaNode, down: DownRouter, frame: Frame, snr_db: float) -> None:
        if not down.on_receive(frame):
            self._routing.on_receive(node, frame, snr_db)


def _to_its_end(program: Process) -> Process:
    """Run a node's program until it is at its end, or the node at its."""
    try:
        yield from program
    except simpy.Interrupt:
        return
