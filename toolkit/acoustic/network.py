"""A sea at work: its nodes are built, the channel moves on, batteries end, the books are closed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event

from toolkit.acoustic import history
from toolkit.acoustic.batteries import Batteries
from toolkit.acoustic.ideal_links import IdealLinks
from toolkit.acoustic.node import MacInterface, SeaContext, SeaNode
from toolkit.acoustic.packets import ANY_SINK, Frame, NodeBook, PacketTracker, ProtocolWarning
from toolkit.acoustic.phy.medium import Medium
from toolkit.acoustic.prediction import Forecast, Truth
from toolkit.acoustic.reach import Reachability
from toolkit.acoustic.routing import LinkHistory, Routing
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.acoustic.settings import SeaSettings
from toolkit.acoustic.trace import Trace, TracedTracker
from toolkit.acoustic.transport.service import MailContext, TransportService
from toolkit.core.context import Context
from toolkit.core.fabric import Behaviour
from toolkit.core.program import Process, Program
from toolkit.core.world import World
from toolkit.errors import ScenarioError, ToolkitError

OVERDUE_S = 60.0
"""How far over its life a packet may be held before that is called a mistake of the protocol."""
WAY = 0.01, 8 * 64
"""A hop that is part of a way between two nodes carries frames of this length with this success."""
AUDIBLE_SUCCESS, AUDIBLE_BITS = 0.2, 8 * 64
"""Who carries frames of this length with this success hears the other; a node to which no such hops lead over living nodes is cut off."""


class SeaNetwork:
    """The acoustic fabric at work: builds the nodes, lets the channel move on, and closes the books."""

    def __init__(self, spec: SeaSettings, world: World) -> None:
        self.spec = spec
        self.world = world
        self.routing: Routing[Any] = spec.routing if spec.links == "water" else IdealLinks()
        streams = world.streams
        self.channel, self.water = spec.open_channel(streams, world.duration_s)
        self.count = spec.layout.node_count + spec.layout.sink_count
        self.table = spec.modem.success_table()
        past = history.record(
            self.channel, spec.fading, self.table, spec.modem.ebn0_db(0.0), history_s=0.0 if spec.is_wide else spec.history_s,
            step_s=spec.history_step_s, rng=streams.rng("history"),
        )
        self._advance()
        self.tracker = PacketTracker(world)
        self.medium = Medium(world, self.channel, spec.modem, spec.fading, self.tracker, count=self.count, interference=spec.interference)
        charge = 1.0 - (1.0 - spec.least_charge) * streams.rng("battery").random(spec.layout.node_count)
        self.batteries = Batteries(
            world, self.medium, spec.battery_j, charge=charge, dies=spec.dies, epoch_s=spec.epoch_s, last_words=self._bury
        )
        self.trace = self._open_trace() if spec.trace else None
        self.tracker.trace = self.trace
        if self.trace is not None:
            self.medium.observe(self.trace)
        sinks = range(spec.layout.node_count, self.count)
        bounds = spec.reach.model_copy(update={"most_nodes": 0}) if spec.is_wide else spec.reach
        self.reach = Reachability(bounds, LinkBudget(spec.modem, spec.fading), sinks, self.count, world.duration_s - spec.drain_s)
        self._check_range()
        world.env.process(self._epochs())
        self.service: TransportService | None = None
        """Messages with content, where the scenario has any."""
        if spec.transport is not None:
            self.service = TransportService(
                spec.transport, world, self.tracker, routing=self.routing, batteries=self.batteries, airtime_s=spec.modem.frame_s,
                nodes=spec.layout.node_count, sinks=spec.layout.sink_count,
            )
        for name in ("mac", "routing", "traffic"):
            streams.foresee(name, count=self.count)
        self.nodes = [self._node(rank, is_sink=rank >= spec.layout.node_count) for rank in range(self.count)]
        self._describe(past)
        self.batteries.watch(self.nodes)
        for node in self.nodes:
            node.peers = self.nodes
            node.state = self.routing.init(node)
            self.routing.learn(node, past)
            self.medium.listen(node.id, self.routing.listener(node))
        if self.service is not None:
            self.service.wire(self.nodes, self.medium)
        for node in self.nodes:
            spec.mac.serve(node.mac)
            for process in self.routing.processes(node):
                world.env.process(process)
        budget = LinkBudget(spec.modem)
        links = [] if spec.is_wide else spec.probe.choose(history.upward_links(past), past, streams.rng("probe"))
        self._describe_link(past, links, budget)
        world.env.process(spec.probe.run(world, self.channel, links, self._forecast, budget.least_snr_db))

    @property
    def contexts(self) -> list[Context]:
        """The sensor nodes; sinks only listen."""
        return [node.ctx for node in self.nodes if not node.is_sink]

    def launch(self, program: Behaviour) -> Event:
        """Start *program* on every sensor node, and on the sinks where it needs machines; the event fires when all are at their end."""
        needs = program.needs() if isinstance(program, Program) else None
        if self.service is not None and needs is not None:
            self.service.check_ways(self.channel.heard_from(self.reach.level_db(*WAY)))
            if not self.spec.is_wide:
                self.service.meet(self._audible(), self.channel.delay_s)
            return self.service.launch(program, needs, self.spec.collectives)
        return self.world.env.all_of([self.world.env.process(program.run(ctx)) for ctx in self.contexts])

    def deadlock(self) -> ToolkitError:
        return ToolkitError("the sea stands still")

    def finish(self) -> None:
        """Close the books: receptions cut off by the end, idle time, packets in flight."""
        self._pass_epoch()
        for bound, share in self.reach.shares():
            self.world.ledger.metric(self.world.now, "reachable", share, "up" if bound.upward else "any", round(100 * bound.success))
        self.medium.finish()
        self.tracker.finish()
        if self.service is not None:
            self.service.finish()
        self._tell_overdue()
        if self.trace is not None:
            self.trace.close()
        self.world.ledger.metric(self.world.now, "duplicates", self.tracker.duplicates)
        self.world.ledger.metric(self.world.now, "channel_fingerprint", self.channel.fingerprint)

    def send(self, src: int, dst: int, nbytes: int, phase: str) -> Event:
        """Start a packet at *src* towards any sink; the event's value is its Delivery.

        Raises:
            ScenarioError: it is for somebody else, and this sea has no transport.
        """
        if dst != ANY_SINK:
            raise ScenarioError(f"fabric.transport: node {src} sends to node {dst}, and this sea only carries packets to sinks; set one")
        packet = self.tracker.create(src, nbytes)
        if src in self.batteries.dead:
            self.tracker.hold(packet)
            self.tracker.drop(packet, "dead")
        else:
            self.nodes[src].tracker.hold(packet)
            self.routing.originate(self.nodes[src], packet)
        return packet.done

    def _node(self, rank: int, *, is_sink: bool) -> SeaNode[Any]:
        ctx = SeaContext(self.world, rank, self.count, self.spec.device, self.send, channel=self.channel)
        if self.service is not None:
            ctx = MailContext(self.world, rank, self.count, self.spec.device, self.send, channel=self.channel, service=self.service)
        trace = self.trace
        note_drop = _note_drop if trace is None else trace.watch_mac(rank, _note_drop)
        tracker = NodeBook(
            self.tracker if trace is None else TracedTracker(self.tracker, rank, trace), self.routing.type_name(), rank,
            self.world.env,
        )
        mac = MacInterface(rank, ctx, self.medium, self.spec.mac.queue_limit, note_drop)
        node: SeaNode[Any] = SeaNode(
            rank, is_sink, ctx=ctx, mac=mac, channel=self.channel, modem=self.spec.modem, tracker=tracker, truth=self._truth,
            residual=self.batteries.residual, fading=self.spec.fading, sinks=range(self.spec.layout.node_count, self.count),
            addresses=self.routing.addresses, lifetime_s=float(getattr(self.routing, "lifetime_s", np.inf)),
        )
        return node

    def _open_trace(self) -> Trace:
        trace = Trace(self.world, np.arange(self.count) >= self.spec.layout.node_count, self.channel.sound_speed_m_s)
        trace.places(self.channel.position_m)
        return trace

    def _epochs(self) -> Process:
        """Let positions, weather and shadowing move on, whatever the protocols do."""
        while True:
            yield self.world.env.timeout(self.spec.epoch_s)
            self._pass_epoch()
            self._advance()
            self._check_range()
            self.batteries.pass_epoch(self._open_to)
            self.batteries.deafen(self.channel.noise)
            if self.trace is not None:
                self.trace.places(self.channel.position_m)

    def _pass_epoch(self) -> None:
        channel = self.channel
        if self.reach.bounded:
            self.reach.pass_epoch(self.tracker.packets, channel.snr_db, channel.position_m[:, 2], self.world.now)

    def _open_to(self) -> NDArray[np.bool_]:
        """Who can be heard by whom (n, n) now and then: a payload with a success of `AUDIBLE_SUCCESS`."""
        open_to = np.zeros((self.count, self.count), dtype=bool)
        open_to[self._audible()] = True
        return open_to

    def _audible(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.channel.heard_from(self.reach.level_db(AUDIBLE_SUCCESS, AUDIBLE_BITS))

    def _check_range(self) -> None:
        """Refuse a MAC whose slots are too short for nodes that hear each other where they are now."""
        guarded_m = self.spec.mac.guarded_m()
        if guarded_m is None:
            return
        senders, receivers = self._audible()
        way_m = np.sqrt(((self.channel.position_m[senders] - self.channel.position_m[receivers]) ** 2).sum(axis=1))
        if way_m.max(initial=0.0) > guarded_m:
            worst = int(way_m.argmax())
            raise ScenarioError(
                f"fabric.mac.range_m: {guarded_m:g} m is too little for '{self.spec.mac.type_name()}': {self.world.now:.0f} s after the "
                f"start node {receivers[worst]} hears node {senders[worst]} over {way_m[worst]:.0f} m, and frames that come so late fall "
                "into other slots; give at least that, or a layout, level or mobility that keeps nodes nearer"
            )

    def _advance(self) -> None:
        """Let the channel's next epoch begin."""
        now = self.world.now
        self.channel.advance(now, min(now + self.spec.epoch_s, self.world.duration_s))

    def _truth(self, sender: int, receiver: int) -> Truth:
        """The channel's mean SNR of a link at present; NaN for times beyond the present epoch, which nobody knows."""

        def at(at_s: float) -> float:
            ahead_s = at_s - self.channel.t_s
            return self.channel.mean_snr_db(sender, receiver) if ahead_s <= 2.0 * self.spec.epoch_s else float("nan")

        return at

    def _forecast(self, sender: int, receiver: int, at_s: float) -> Forecast | None:
        return self.routing.forecast(self.nodes[sender], receiver, at_s)

    def _bury(self, node: int) -> None:
        """A node has died: it holds nothing any more, and hears nothing."""
        book = self.nodes[node].tracker
        if isinstance(book, NodeBook):
            book.close("dead")
        self.medium.listen(node, _hear_nothing)
        self.batteries.deafen(self.channel.noise)
        self.medium.deafen(node)
        if self.service is not None:
            self.service.bury(node)

    def _tell_overdue(self) -> None:
        """Say it where a protocol seems to have forgotten packets: those held for longer than any may live, not for want of the channel."""
        longest_s = max(self.spec.drain_s, float(getattr(self.routing, "lifetime_s", 0.0))) + OVERDUE_S
        books = [node.tracker for node in self.nodes if isinstance(node.tracker, NodeBook) and not node.mac.backlog]
        told = [told for book in books if (told := book.overdue(longest_s))]
        if told:
            more = f" ({len(told) - 1} more nodes do so)" if len(told) > 1 else ""
            warnings.warn(told[0] + more, ProtocolWarning, stacklevel=2)

    def _describe_link(self, past: LinkHistory, links: list[tuple[int, int]], budget: LinkBudget) -> None:
        """Record the past of the link that is shown as an example, and the SNR that decoding takes."""
        self.world.ledger.metric(0.0, "decode_threshold_db", budget.decode_snr_db)
        for sender, receiver in links[:1]:
            for t_s, snr_db in zip(past.t_s.tolist(), past.snr_db[:, sender, receiver].tolist(), strict=True):
                self.world.ledger.metric(t_s, "link_snr_db", snr_db, f"{sender}->{receiver}")

    def _describe(self, past: LinkHistory) -> None:
        """Record where everybody is, how grey the links are, and the weather."""
        ledger = self.world.ledger
        for node in self.nodes:
            x_m, y_m, depth_m = self.channel.position_m[node.id].tolist()
            who = str(node.id)
            for name, value in (("is_sink", float(node.is_sink)), ("x_m", x_m), ("y_m", y_m), ("depth_m", depth_m)):
                ledger.metric(0.0, name, value, who)
        at_once, ever = history.grey_shares(past, self.table, self.spec.modem.ebn0_db(0.0))
        ledger.metric(0.0, "grey_share_peak", at_once)
        ledger.metric(0.0, "grey_share_ever", ever)
        times_s = np.arange(-self.spec.history_s, self.world.duration_s + 1.0, 1800.0)
        middle_m = self.channel.position_m.mean(axis=0, keepdims=True)
        wind, tide = self.water.wind_m_s(times_s), self.water.tide.height_m(times_s)
        for t_s, wind_m_s, tide_m in zip(times_s.tolist(), wind.tolist(), tide.tolist(), strict=True):
            ledger.metric(t_s, "wind_m_s", wind_m_s, "sea")
            ledger.metric(t_s, "tide_m", tide_m, "sea")
            ledger.metric(t_s, "noise_psd_db", float(self.water.noise_psd_db(t_s, middle_m)[0]), "mid-water")


def _hear_nothing(frame: Frame, snr_db: float) -> None:
    """A dead node listens."""


def _note_drop(frame: Frame, reason: str) -> None:
    """The MAC dropped a frame: its queue was full, or the channel never fell silent."""
    if frame.packet is not None:
        frame.packet.reason = reason
