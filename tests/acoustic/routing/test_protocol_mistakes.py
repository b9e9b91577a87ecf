"""A protocol author's mistakes are told with protocol, node, packet and rule."""

from __future__ import annotations

import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.packets import Frame, Packet, ProtocolWarning
from toolkit.acoustic.routing.flooding import Flooding
from toolkit.errors import ScenarioError

PLACES = [(0, 0, 900), (0, 0, 500)]


def test_dropping_what_was_never_held_names_everything(network, monkeypatch) -> None:
    """Relays forget `hold`: this used to end in 'already been triggered'."""
    def on_receive(self, node, frame: Frame, snr_db: float) -> None:
        if not node.is_sink and frame.packet is not None:
            node.tracker.drop(frame.packet, "")

    monkeypatch.setattr(Flooding, "on_receive", on_receive)
    net = network(PLACES, [(0, 60_000, 0)], {"type": "flooding"})
    net.send(0, -1, 64, "data")
    says = r"routing 'flooding', node 1: drops packet 0 \(number 0 of node 0\), of which it holds no copy; .*node\.tracker\.hold\(packet\)"
    with pytest.raises(ScenarioError, match=says):
        finish(net)


def test_dropping_twice_is_the_same_mistake(network) -> None:
    net = network(PLACES, [(0, 60_000, 0)], {"type": "flooding"})
    packet: Packet = net.tracker.create(0, 64)
    book = net.nodes[0].tracker
    book.hold(packet)
    book.drop(packet, "void")
    with pytest.raises(ScenarioError, match="node 0: drops packet 0"):
        book.drop(packet, "void")


def test_what_is_never_dropped_is_told_at_the_end(network, monkeypatch) -> None:
    """The source forgets `drop`: its packets used to be in flight for ever, without a word."""
    monkeypatch.setattr(Flooding, "originate", lambda self, node, packet: None)
    net = network(PLACES, [(0, 60_000, 0)], {"type": "flooding"}, duration_s=1000.0, drain_s=100.0)
    net.send(0, -1, 64, "data")
    net.send(0, -1, 64, "data")
    says = r"routing 'flooding', node 0: still holds packet 0 \(number 0 of node 0\) after 1000 s and 1 more.*node\.tracker\.drop\(packet"
    with pytest.warns(ProtocolWarning, match=says):
        finish(net)


def test_a_state_that_does_nothing_is_told(network, monkeypatch) -> None:
    monkeypatch.setattr(Flooding, "init", lambda self, node: {})
    net = network(PLACES, [(0, 60_000, 0)], {"type": "flooding"})
    says = "routing 'flooding': its state is a dict; return a Router from 'init', or define 'originate'"
    with pytest.raises(ScenarioError, match=says):
        net.send(0, -1, 64, "data")


def test_a_protocol_may_keep_plain_state_and_do_all_itself(network, monkeypatch) -> None:
    """What protocols of one's own were written like before there were routers."""
    monkeypatch.setattr(Flooding, "init", lambda self, node: [])
    monkeypatch.setattr(Flooding, "originate", lambda self, node, packet: (node.state.append(packet), node.tracker.drop(packet, "void")))
    net = network(PLACES, [(0, 60_000, 0)], {"type": "flooding"})
    net.send(0, -1, 64, "data")
    assert len(net.nodes[0].state) == 1
    assert net.tracker.packets[0].reason == "void"
