"""DBCAR-O: the opportunistic variant, in which the channel decides who waits how long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple, final

from pydantic import Field

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import BROADCAST, Frame, Packet
from toolkit.acoustic.prediction import Forecast, Predictor
from toolkit.acoustic.routing import LinkHistory, Router, Routing
from toolkit.acoustic.routing.holding import Held, HoldingQueue, pass_over, send_copy
from toolkit.acoustic.routing.link_monitor import LinkMonitor
from toolkit.acoustic.routing.neighbours import Neighbour
from toolkit.core.program import Process
from toolkit.core.work import Work

HEADER_BYTES = 14
"""Type 1, source 2, sequence 2, previous hop 2, depth 2, ttl 1, flags 1, energy 1, CRC 2."""


class DbcarOHeader(NamedTuple):
    """What a data frame says beside source, sequence and depth."""

    has_way_up: bool
    energy: float


@final
class DbcarO(Routing["DbcarORouter"]):
    """Opportunistic DBCAR: packets are broadcast as in DBR, and a receiver waits the less the surer it can pass the packet on.

    A receiver that gained dp of depth holds the packet for T_max (1 - score), score = (dp / R) p, with T_max = 2 R^2 / (v0 delta) as
    DBR's longest holding time and p the predicted success on the best of the receiver's own links upwards. The shallowest node in a
    bad place waits longer than a deeper one that hears a sink well. A copy overheard from above silences, as in DBR; where every link
    is sure, p = 1 and this is DBR.

    Source: this project's reconstruction (an ablation of DBCAR: no acknowledgements, no retries, no chosen next hop). Departures from
    DBCAR: the way back does not enter p, since nothing comes back.
    """

    channel_aware: ClassVar[bool] = True

    prediction: Predictor = Field(description="what foretells the SNR of a link")
    range_m: float = Field(900.0, gt=0, description="nominal radio range R")
    delta_share: float = Field(0.25, gt=0, le=1, description="delta as a share of R, as in DBR")
    threshold_m: float = Field(0.0, ge=0, description="least depth gain d_th")
    speed_m_s: float = Field(1500.0, gt=0, description="sound speed v0 that the holding time assumes")
    beacon_s: float = Field(120.0, gt=0, description="mean beacon period T_b")
    suppress_beacons: bool = Field(True, description="skip a beacon when data were sent within T_b / 2")
    feedback: bool = Field(True, description="use what neighbours report of the forward link; else the reverse link stands in for it")
    reuse_s: float = Field(60.0, ge=0, description="a forecast is used again for this long even if samples came in")
    reciprocity_std_db: float = Field(2.0, ge=0, description="extra doubt where the reverse link stands in for the forward one")
    ttl: int = Field(20, ge=1, le=255, description="transmissions of a copy at most")
    history: int = Field(256, ge=1, description="packets remembered")

    @property
    def longest_s(self) -> float:
        """T_max: the holding time of a score of zero."""
        return 2.0 * self.range_m / (self.speed_m_s * self.delta_share)

    def hold_s(self, gain_m: float, success: float) -> float:
        """The holding time for a depth gain and a success probability; never negative."""
        return max(0.0, self.longest_s * (1.0 - gain_m / self.range_m * success))

    def init(self, node: SeaNode[DbcarORouter]) -> DbcarORouter:
        return DbcarORouter(self, node)


class DbcarORouter(Router):
    """The watch over the links of one node, and the packets held and done with."""

    def __init__(self, spec: DbcarO, node: SeaNode) -> None:
        self.spec = spec
        self.node = node
        self.monitor = LinkMonitor(spec, node)
        self.queue = HoldingQueue(node, spec.history)

    @property
    def neighbours(self) -> dict[int, Neighbour]:
        return self.monitor.neighbours

    def processes(self) -> Iterable[Process]:
        yield self.monitor.beacons()

    def learn(self, history: LinkHistory) -> None:
        self.monitor.learn(history)

    def forecast(self, receiver: int, at_s: float) -> Forecast | None:
        return self.monitor.forecast(receiver, at_s)

    def originate(self, packet: Packet) -> None:
        self.queue.finish(packet.key)
        self._send(packet, 1)

    def on_receive(self, frame: Frame, snr_db: float) -> None:
        node, spec = self.node, self.spec
        neighbour = self.monitor.heard(frame, snr_db)
        packet = frame.packet
        if packet is None or not isinstance(frame.body, DbcarOHeader):
            return
        neighbour.energy = frame.body.energy
        if node.is_sink:
            node.deliver(packet, frame.hops)
            return
        gain_m = frame.depth_m - node.depth_m
        held = self.queue.get(packet.key)
        if held is not None:
            if gain_m < spec.threshold_m:  # somebody shallower, or hardly deeper, has sent it
                self.queue.silence(packet.key)
            else:  # with the success predicted when the packet was taken
                self.queue.hasten(held, node.now + spec.hold_s(gain_m, held.note), self._due)
            return
        if self.queue.is_done(packet.key):
            return
        if gain_m < spec.threshold_m:
            pass_over(packet)
            return
        if frame.hops >= spec.ttl:
            node.tracker.refuse(packet, "ttl")
            return
        success, work = self._best_upwards(HEADER_BYTES + packet.nbytes)
        if work.flops > 0.0:
            node.ctx.compute(work, "prediction")  # charged; the holding time does not wait for it
        self.queue.hold(packet, frame.hops, spec.hold_s(gain_m, success), success, self._due)

    def _best_upwards(self, nbytes: int) -> tuple[float, Work]:
        """Success on the best link upwards as predicted for now, and the work of predicting all of them."""
        node, monitor = self.node, self.monitor
        best, work = 0.0, Work()
        for neighbour in monitor.upward():
            forecast, cost = monitor.forward(neighbour, node.now + node.modem.frame_s(nbytes) + neighbour.delay_s)
            work += cost
            best = max(best, monitor.budget.success(forecast, 8 * nbytes))
        return best, work

    def _due(self, held: Held) -> None:
        self._send(held.packet, held.hops + 1)

    def _send(self, packet: Packet, hops: int) -> None:
        node, monitor = self.node, self.monitor
        monitor.last_sent_s = node.now
        header = DbcarOHeader(node.is_sink or monitor.has_way_up(), node.residual_energy)
        frame = Frame("data", node.id, BROADCAST, HEADER_BYTES + packet.nbytes, packet=packet, hops=hops, depth_m=node.depth_m, body=header)
        node.ctx.process(send_copy(node, frame))
