"""What an underwater network is made of, and the channel that follows from it."""

from __future__ import annotations

from typing import Literal

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
from toolkit.acoustic.water.sea import Sea, SeaState
from toolkit.collectives import Collectives
from toolkit.core.device import Device
from toolkit.core.fabric import Fabric
from toolkit.core.part import default_part
from toolkit.core.streams import Streams


class SeaSettings(Fabric):
    """What an underwater network is made of; `toolkit.acoustic.fabric.Acoustic` puts it to work."""

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
