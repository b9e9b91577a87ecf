"""The acoustic fabric: modems, MAC and routing in a sea that changes with wind, tide and time of day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from toolkit.acoustic.channel_record import ChannelRecord
from toolkit.acoustic.environment import Span
from toolkit.acoustic.layout import Layout
from toolkit.acoustic.mac import Mac
from toolkit.acoustic.mobility import Mobility
from toolkit.acoustic.phy.channel import Channel, Floats
from toolkit.acoustic.phy.fading import FastFading, Shadowing
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.phy.room import Interference
from toolkit.acoustic.phy.wide import WIDE_NODES, WideChannel
from toolkit.acoustic.probe import Probe
from toolkit.acoustic.reach import Reach
from toolkit.acoustic.routing import Routing
from toolkit.acoustic.transport import Transport
from toolkit.acoustic.transport.foresight import refuse_too_much
from toolkit.acoustic.water.sea import Sea, SeaState
from toolkit.collectives import Collectives
from toolkit.core.device import Device
from toolkit.core.fabric import Behaviour, Fabric, Sending
from toolkit.core.machines import Machines
from toolkit.core.part import default_part
from toolkit.core.program import Program
from toolkit.core.streams import Streams
from toolkit.core.words import counted
from toolkit.core.world import World
from toolkit.errors import ScenarioError

if TYPE_CHECKING:
    from toolkit.acoustic.network import SeaNetwork

MOST_EPOCHS = 1e8
"""States of the sea in one run; more take days."""


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
        from toolkit.acoustic.network import SeaNetwork

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
