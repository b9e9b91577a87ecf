"""The acoustic fabric: modems, MAC and routing in a sea that changes with wind, tide and time of day."""

from __future__ import annotations

import warnings
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from simpy.events import Event

from toolkit.acoustic import history
from toolkit.acoustic.batteries import Batteries
from toolkit.acoustic.channel_record import ChannelRecord
from toolkit.acoustic.environment import Span
from toolkit.acoustic.ideal_links import IdealLinks
from toolkit.acoustic.layout import Layout
from toolkit.acoustic.mac import Mac
from toolkit.acoustic.mobility import Mobility
from toolkit.acoustic.node import MacInterface, SeaContext, SeaNode
from toolkit.acoustic.packets import ANY_SINK, Frame, NodeBook, PacketTracker, ProtocolWarning
from toolkit.acoustic.phy.channel import Channel, Floats
from toolkit.acoustic.phy.fading import FastFading, Shadowing
from toolkit.acoustic.phy.medium import Medium
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.phy.room import Interference
from toolkit.acoustic.phy.wide import WIDE_NODES, WideChannel
from toolkit.acoustic.prediction import Forecast, Truth
from toolkit.acoustic.probe import Probe
from toolkit.acoustic.reach import Reach, Reachability
from toolkit.acoustic.routing import LinkHistory, Routing
from toolkit.acoustic.routing.neighbours import LinkBudget
from toolkit.acoustic.trace import Trace, TracedTracker
from toolkit.acoustic.transport import Transport
from toolkit.acoustic.transport.foresight import refuse_too_much
from toolkit.acoustic.transport.service import MailContext, TransportService
from toolkit.acoustic.water.sea import Sea, SeaState
from toolkit.collectives import Collectives
from toolkit.core.context import Context
from toolkit.core.device import Device
from toolkit.core.fabric import Behaviour, Fabric, Sending
from toolkit.core.machines import Machines
from toolkit.core.part import default_part
from toolkit.core.program import Process, Program
from toolkit.core.streams import Streams
from toolkit.core.words import counted
from toolkit.core.world import World
from toolkit.errors import ScenarioError, ToolkitError

MOST_EPOCHS = 1e8
"""States of the sea in one run; more take days."""
OVERDUE_S = 60.0
"""How far over its life a packet may be held before that is called a mistake of the protocol."""
WAY = 0.01, 8 * 64
"""A hop that is part of a way between two nodes carries frames of this length with this success."""
AUDIBLE_SUCCESS, AUDIBLE_BITS = 0.2, 8 * 64
"""Who carries frames of this length with this success hears the other; a node to which no such hops lead over living nodes is cut off."""


@final
class Acoustic(Fabric):
    """An underwater acoustic network of sensor nodes and surface sinks, all with the same modem."""

    layout: Layout = Field(Layout(), description="where nodes and sinks are deployed")
    modem: Modem = Field(Modem(), description="the modem of every node and sink")
    sea: Sea = Field(description="water, wind, tide and noise")
    mobility: Mobility = default_part("static", "how nodes move")
    shadowing: Shadowing = Field(Shadowing(), description="slow fading of each link, correlated in time")
    channel_record: ChannelRecord | None = Field(None, description="links' SNR from a measured log instead of the model")
    fading: FastFading = Field(FastFading(), description="fast fading of each frame")
    interference: Interference = Field("piecewise", description="SINR per constant piece of a frame, or at the mean")
    mac: Mac = default_part("csma", "medium access: when a modem may send")
    routing: Routing = Field(description="which node carries a packet on")
    links: Literal["water", "ideal"] = Field("water", description="ideal: every packet arrives by the shortest way; no routing")
    transport: Transport | None = Field(None, description="messages with content between nodes; none: only packets to any sink")
    collectives: Collectives = Field(Collectives(), description="how nodes add up vectors, for programs that do, over a transport")
    device: Device = Field(Device(), description="the processor of every node, which pays for computing")
    battery_j: float | None = Field(None, gt=0, description="battery of a node; none: one that lasts, and shares are told of 50 kJ")
    least_charge: float = Field(1.0, gt=0, le=1, description="nodes begin with shares of the battery drawn evenly from here up to 1")
    dies: bool = Field(True, description="a node whose battery_j is empty falls silent")
    epoch_s: float = Field(60.0, ge=0.01, description="levels and noise stand still this long; nodes move on evenly")
    history_s: float = Field(3 * 86_400.0, ge=0, description="link history before the measured part")
    history_step_s: float = Field(1800.0, ge=1, description="beacon period of the history")
    drain_s: float = Field(1800.0, ge=0, description="packets created later than this before the end do not count")
    probe: Probe = Field(Probe(), description="forecasts scored inside the run, for which nothing is paid")
    reach: Reach = Field(Reach(), description="how much any protocol could have delivered, to be told beside the results")
    trace: bool = Field(False, description="write every transmission, reception and drop to the run directory, for toolkit.replay")

    @property
    def is_wide(self) -> bool:
        """Whether the network is so large that only the links in reach are kept."""
        return self.layout.node_count + self.layout.sink_count > WIDE_NODES

    def build(self, world: World) -> SeaNetwork:
        return SeaNetwork(self, world)

    def machines(self) -> Machines:
        """Return the boards of the nodes as workers and those of the sinks as servers, where messages have content."""
        if self.transport is None:
            return Machines(missing="fabric: cluster, or a sea whose fabric.transport is reliable")
        workers = {f"node{place}": self.device for place in range(self.layout.node_count)}
        servers = {f"sink{place}": self.device for place in range(self.layout.sink_count)}
        blind = self.links == "water" and not self.routing.forecasts()
        return Machines(
            workers, servers, idle_servers=True, lossy=self.transport.lossy, inexact=self.collectives.inexact,
            unforeseen=f"fabric.routing '{self.routing.type_name()}'" if blind else "",
        )

    def check_sending(self, sending: Sending, duration_s: float) -> None:
        if self.transport is not None:
            refuse_too_much(sending, self.transport, self.modem, duration_s=duration_s, battery_j=self.battery_j if self.dies else None)

    def open_channel(self, streams: Streams, duration_s: float) -> tuple[Channel, SeaState]:
        """Return the channel of one run, before its first step, and the sea it lies in: all that a run's surroundings are."""
        water = self.sea.init(-self.history_s, duration_s, self.modem.carrier_hz, streams, self.modem.bandwidth_hz)
        homes_m = self.layout.place_nodes(streams.rng("layout"))
        sinks_m = self.layout.place_sinks()
        span = Span(water.origin, -self.history_s, duration_s)
        drift = self.mobility.start(homes_m, span, water.tide, streams.rng("mobility"), depth_m=self.layout.depth_m)

        def move(t_s: float) -> Floats:
            return np.concatenate([drift(t_s), sinks_m])

        if self.is_wide:
            return WideChannel(water, self.modem, move, self.shadowing.init_pairs(streams.rng("shadowing"))), water
        shadowing = self.shadowing.init(len(homes_m) + len(sinks_m), streams.rng("shadowing"))
        measured = None if self.channel_record is None else self.channel_record.init(span, len(homes_m) + len(sinks_m))
        return Channel(water, self.modem, move, shadowing, measured), water

    def check(self, duration_s: float) -> None:
        if self.drain_s >= duration_s:
            raise ScenarioError(
                f"fabric.drain_s: {self.drain_s:g} s is not below duration_s = {duration_s:g} s, so no packet would count; "
                "let the run last longer, or set a smaller drain_s"
            )
        epochs = duration_s / self.epoch_s + self.history_s / self.history_step_s
        if epochs > MOST_EPOCHS:
            raise ScenarioError(
                f"fabric.epoch_s: {self.epoch_s:g} s, with {self.history_step_s:g} s in the history, make {epochs:.2g} states of the sea "
                f"in this run, above {MOST_EPOCHS:.0e}; take longer ones or a shorter run"
            )
        if self.links == "ideal" and (self.trace or self.is_wide):
            raise ScenarioError(f"fabric.links: ideal ones have no frames to trace, and know at most {WIDE_NODES} nodes; use water")
        self.mobility.check(self.layout.depth_m)
        if self.is_wide and (self.routing.looks_back() or self.channel_record is not None):
            what = "a channel record has" if self.channel_record is not None else f"routing '{self.routing.type_name()}' learns from"
            raise ScenarioError(
                f"fabric.layout: of {self.layout.node_count + self.layout.sink_count} nodes and sinks only the links in reach are kept, "
                f"without a history, and {what} all of them; use at most {WIDE_NODES}"
            )
        self.sea.check(-self.history_s, duration_s, self.modem.carrier_hz, self.modem.bandwidth_hz)
        if self.channel_record is not None:
            for start in self.sea.starts():
                self.channel_record.check(Span(start, -self.history_s, duration_s), self.layout.node_count + self.layout.sink_count)

    def report_of(self, program: Behaviour) -> str:
        if self.transport is None or not isinstance(program, Program) or program.needs() is None:
            return ""
        return program.report_at_sea

    def extras(self) -> dict[str, str]:
        told = {} if self.transport is None else {
            "messages": f"{self.transport.type_name()}, packets of up to {self.transport.frame_nbytes} bytes; "
            f"{self.collectives.all_reduce.type_name()} all-reduce, {self.collectives.all_gather.type_name()} all-gather",
            "boards": f"{self.device.profile or 'as described'}, {self.device.busy_w:g} W while computing and off otherwise",
        }
        return {
            **told,
            "nodes": f"{self.layout.node_count} and {counted(self.layout.sink_count, 'surface sink')}",
            "modem": f"{self.modem.carrier_hz / 1e3:g} kHz, {self.modem.rate_bps:g} bit/s, source level "
            f"{self.modem.source_level_db:g} dB re 1 µPa at 1 m, {self.modem.tx_w:g} W sending",
            "link history": f"{self.history_s / 3600:g} h before the measured part",
        }


class SeaNetwork:
    """The acoustic fabric at work: builds the nodes, lets the channel move on, and closes the books."""

    def __init__(self, spec: Acoustic, world: World) -> None:
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
