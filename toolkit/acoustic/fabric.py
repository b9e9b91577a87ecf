"""The acoustic fabric: modems, MAC and routing in a sea that changes with wind, tide and time of day."""

from __future__ import annotations

from typing import final

from toolkit.acoustic.environment import Span
from toolkit.acoustic.network import SeaNetwork
from toolkit.acoustic.phy.wide import WIDE_NODES
from toolkit.acoustic.settings import SeaSettings
from toolkit.acoustic.transport.foresight import refuse_too_much
from toolkit.core.fabric import Behaviour, Sending
from toolkit.core.machines import Machines
from toolkit.core.program import Program
from toolkit.core.words import counted
from toolkit.core.world import World
from toolkit.errors import ScenarioError

MOST_EPOCHS = 1e8
"""States of the sea in one run; more take days."""


@final
class Acoustic(SeaSettings):
    """An underwater acoustic network of sensor nodes and surface sinks, all with the same modem."""

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
