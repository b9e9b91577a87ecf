"""Laws of routing protocols: packets are conserved, loops end, the same seed gives the same run."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.acoustic.node import SeaNode
from toolkit.acoustic.packets import Frame
from toolkit.acoustic.routing import Routing
from toolkit.laws import require
from toolkit.laws.small_sea import COLUMN, SINKS, finish, hurried, network, start, with_traffic


def packets_are_conserved(part: Routing) -> None:
    """Every packet ends once: delivered, lost for a reason that is told, or under way with a copy in somebody's care."""
    net, rows = with_traffic(
        COLUMN, SINKS, hurried(part), shadowing={"sigma_db": 4.0}, modem={"profile": "evologics_like", "source_level_db": 128}
    )
    sends = rows[rows.kind == "send"]
    count = len(net.tracker.packets)
    require(len(sends) == sends.packet.nunique() == count > 40, f"{count} packets were born and {len(sends)} ends of packets written")
    require(set(sends.outcome) <= {"delivered", "lost", "in_flight"}, f"packets end as {set(sends.outcome)}")
    require((sends.dur_s >= 0).all(), "a packet arrives before it was sent")
    require(all(packet.copies >= 0 for packet in net.tracker.packets), "a packet was let go more often than it was held")
    require((sends[sends.outcome == "lost"].phase != "").all(), "a packet was lost for no reason; node.tracker.drop(packet, reason) tells")
    in_flight = {packet.id for packet in net.tracker.packets if packet.copies > 0 and not packet.delivered}
    require(set(sends[sends.outcome == "in_flight"].packet) == in_flight, "who is in flight at the end is not who is held")


def good_links_deliver_everything(part: Routing) -> None:
    """In calm water over loud modems more than 0.93 of the packets arrive."""
    _, rows = with_traffic(COLUMN, SINKS, hurried(part), duration_s=900.0)
    share = (rows.query("kind == 'send' and t0_s < 800").outcome == "delivered").mean()
    require(share > 0.93, f"over good links it delivers {share:.3f} of the packets")


def a_network_without_a_past_begins_to_talk(part: Routing) -> None:
    """Nobody has heard anybody before the run, and something is delivered all the same."""
    _, rows = with_traffic(COLUMN, SINKS, hurried(part), history_s=0.0, probe={"links": 4})
    require((rows.query("kind == 'send'").outcome == "delivered").any(), "without a history of the links it delivers nothing")


def states_of_every_node_fill_the_run(part: Routing) -> None:
    """A modem sends, receives or idles, at every moment one of them."""
    _, rows = with_traffic(COLUMN, SINKS, hurried(part))
    mac = rows[rows.kind.isin(["tx", "rx", "idle"])]
    for node, own in mac.groupby("node"):
        require(abs(own.dur_s.sum() - 600.0) < 1e-6, f"the modem of node {node} is busy and idle for {own.dur_s.sum():.6f} s of 600")
        require((own.dur_s >= 0).all(), f"node {node} has a state of less than no time")


def the_same_seed_gives_the_same_run(part: Routing) -> None:
    """All that is random is drawn from the node's own stream (`node.rng`)."""
    first, second = (with_traffic(COLUMN, SINKS, hurried(part), fading={"kind": "rayleigh"})[1] for _ in range(2))
    require(first.equals(second), "two runs of one seed differ; draw from node.rng and let no set decide an order")


def the_sea_is_the_same_for_all_protocols(part: Routing) -> None:
    """The channel depends on the seed alone, not on what is sent in it."""
    prints = {
        with_traffic(COLUMN, SINKS, routing, shadowing={"sigma_db": 3.0})[0].channel.fingerprint for routing in (hurried(part), "flooding")
    }
    require(len(prints) == 1, "the channel is another than under flooding; a protocol may draw from its own stream alone")


def no_packet_outruns_sound(part: Routing) -> None:
    """Nothing arrives before distance / c."""
    net, rows = with_traffic([(0, 0, 900)], [(0, 0, 0)], hurried(part))
    sends = rows.query("kind == 'send' and outcome == 'delivered'")
    require(len(sends) >= 9, f"of ten packets to a sink in reach {len(sends)} arrive")
    require(sends.dur_s.min() > 900.0 / net.water.sound_speed_m_s, f"a packet takes {sends.dur_s.min():.3f} s over 900 m")


def a_packet_that_nobody_can_carry_on_is_lost_for_a_reason(part: Routing) -> None:
    """The only neighbour is deeper, and no sink in reach: a packet that it does not repeat is lost to a void, any other for some reason."""
    net, _ = network([(0, 0, 1000), (300, 0, 1400)], [(0, 60_000, 0)], hurried(part, lifetime_s=200.0))
    net.send(0, -1, 64, "data")
    rows = finish(net)
    (end,) = rows.query("kind == 'send'").to_dict("records")
    carried = bool(((rows.kind == "tx") & (rows.phase == "data") & (rows.node != 0)).any())
    require(end["outcome"] == "lost", f"it is {end['outcome']} at the end of the run, long after it was sent")
    require(end["phase"] == "void" or (carried and end["phase"]), f"it is lost to '{end['phase']}', and 'void' is what nobody carries on")


def no_packet_circles_and_sinks_never_forward(part: Routing) -> None:
    """A node takes a packet into its care once: all its frames of it have travelled equally far, and no farther than there are nodes."""
    rng = np.random.default_rng(3)
    places = [(*rng.uniform(0, 1200, 2), rng.uniform(100, 1500)) for _ in range(12)]
    net, scenario = network(
        places, [(300, 300, 0), (900, 900, 0)], hurried(part, hello_s=100.0), fading={"kind": "rayleigh"},
        shadowing={"sigma_db": 4.0, "correlation_s": 60.0}, modem={"profile": "evologics_like", "source_level_db": 134},
    )
    hops: dict[tuple[int, int], set[int]] = {}

    def watch(node: SeaNode) -> None:
        send = node.send_frame

        def spy(frame: Frame) -> Any:
            if frame.packet is not None:
                require(not node.is_sink, f"sink {node.id} sends a packet on")
                hops.setdefault((node.id, frame.packet.id), set()).add(frame.hops)
            return send(frame)

        node.send_frame = spy  # type: ignore[method-assign]

    for node in net.nodes:
        watch(node)
    start(net, scenario.program)
    rows = finish(net)
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    require(data.node.max() < len(places), "a sink sends data")
    twice = [key for key, own in hops.items() if len(own) > 1]
    require(not twice, f"node {twice[0][0]} sends packet {twice[0][1]} with several counts of hops (Frame.hops)" if twice else "")
    travelled = [hop for own in hops.values() for hop in own]
    require(min(travelled) >= 1, "the first frame of a packet has hops=1, and each next one more")
    require(max(travelled) <= len(places), f"a packet travels {max(travelled)} hops among {len(places)} nodes: it circles")
    require(max(travelled) > 1, "nobody sends a packet on for another")


LAWS = (
    packets_are_conserved, good_links_deliver_everything, a_network_without_a_past_begins_to_talk, states_of_every_node_fill_the_run,
    the_same_seed_gives_the_same_run, the_sea_is_the_same_for_all_protocols, no_packet_outruns_sound,
    a_packet_that_nobody_can_carry_on_is_lost_for_a_reason, no_packet_circles_and_sinks_never_forward,
)
