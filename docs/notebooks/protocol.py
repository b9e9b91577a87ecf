# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A routing protocol step by step
#
# A protocol is two classes: a frozen part with its settings, and a router that says what one node does. Here it is written into a file
# beside a scenario, run, and compared. The same as a guide: `docs/guides/protocol.md`.

# %%
import tempfile
from pathlib import Path

import toolkit

folder = Path(tempfile.mkdtemp())
(folder / "gossip.py").write_text('''
"""Gossip: whoever hears a packet for the first time repeats it with probability p."""

from typing import final

from pydantic import Field

from toolkit.acoustic.packets import BROADCAST, Frame
from toolkit.acoustic.routing import Router, Routing


@final
class Gossip(Routing["GossipRouter"]):
    """Repeats what is new with probability `p`."""

    p: float = Field(0.7, gt=0, le=1, description="probability of repeating")

    def init(self, node) -> "GossipRouter":
        return GossipRouter(self, node)


class GossipRouter(Router):
    def __init__(self, settings, node):
        self.settings, self.node, self.known = settings, node, set()

    def originate(self, packet):
        self.known.add(packet.key)
        self.broadcast(packet, 1, 0.0)

    def on_receive(self, frame, snr_db):
        node, packet = self.node, frame.packet
        if packet is None or packet.key in self.known:
            return
        self.known.add(packet.key)
        if node.ends(packet):
            node.deliver(packet, frame.hops)
        elif node.rng.random() < self.settings.p:
            node.tracker.hold(packet)
            self.broadcast(packet, frame.hops + 1, node.rng.random())
        else:
            node.tracker.refuse(packet, "not_repeated")

    def broadcast(self, packet, hops, delay_s):
        node = self.node

        def send(_):
            sent = node.send_frame(Frame("data", node.id, BROADCAST, 10 + packet.nbytes, packet=packet, hops=hops, depth_m=node.depth_m))
            if sent.callbacks is not None:
                sent.callbacks.append(lambda _: node.tracker.drop(packet, "unheard"))

        node.ctx.world.env.call_in(delay_s, send)
''')
(folder / "bay.yaml").write_text('''
name: bay
question: How often must what is heard be repeated?
seeds: 3
duration_s: 1800
fabric:
  type: acoustic
  layout: {nodes: 12, sinks: 2, width_m: 2000, length_m: 2000, depth_m: 200}
  modem: {profile: evologics_like}
  sea: {wind: {type: steady_wind, speed_m_s: 6}}
  mac: csma
  history_s: 7200
  drain_s: 300
  routing: gossip
program: {type: periodic, interval_s: 300, nbytes: 64}
compare:
  often: {fabric.routing.p: 0.9}
  half: {fabric.routing.p: 0.5}
  seldom: {fabric.routing.p: 0.2}
  flooding: {fabric.routing: flooding}
''')
result = toolkit.run(folder / "bay.yaml")
shown = ["delivery_ratio", "energy_per_delivered_j", "transmissions_per_packet"]
result.summary.query("metric in @shown").pivot(index="arm", columns="metric", values="mean").round(3)

# %% [markdown]
# Less gossip costs less and delivers less. Differences within seeds, with their intervals:

# %%
result.differences.query("metric in @shown")[["metric", "other", "mean", "ci95_low", "ci95_high", "n"]].round(3)
