"""Laws of messages at sea: nothing is invented, everything is counted, and order is kept, whatever carries the packets."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.acoustic.routing.conftest import settings
from tests.acoustic.transport.conftest import fabric, numbers, talk
from toolkit.acoustic.network import SeaNetwork
from toolkit.acoustic.routing import Routing
from toolkit.acoustic.routing.way_down import DOWN_BYTES
from toolkit.acoustic.transport.messages import HEADER_BYTES, RECEIPT_BYTES, Announcement
from toolkit.core.context import Context, Torn
from toolkit.core.program import Process

ROUTINGS = [*sorted(Routing.members()), "ideal"]
MESSAGES = 3
ELEMENTS = 70  # 280 bytes, three fragments
NOISY = {"modem": {"profile": "evologics_like", "source_level_db": 141}, "fading": {"kind": "rayleigh"}}


HEADERS = {"flooding": {10}, "shortest_path": {12}, "dbr": {12}, "toolkit.acoustic.ideal_links": {12}}
"""Bytes that a protocol puts in front of a packet."""


class Log:
    """What every rank was given: (receiver, sender) to what came, in order."""

    def __init__(self) -> None:
        self.got: dict[tuple[int, int], list[Any]] = defaultdict(list)

    def says(self, ctx: Context) -> Process:
        """Every node tells the first sink and the next node something; the sink answers."""
        sink, size = ctx.size, ctx.size
        if ctx.is_server:
            if ctx.rank == sink:
                for node in range(size):
                    ctx.process(self.answer(ctx, node))  # type: ignore[attr-defined]
            return
        for number in range(MESSAGES):
            for dst in (sink, (ctx.rank + 1) % size):
                content = numbers(ELEMENTS, 1000 * ctx.rank + 100 * number + 1)
                ctx.send(dst, content.nbytes, "talk", content)
                content.fill_(-1.0)  # what was sent is sent
        for src in ((ctx.rank - 1) % size, sink):
            for _ in range(MESSAGES):
                item = yield ctx.recv(src, numbers(ELEMENTS))
                self.got[ctx.rank, src].append(item)

    def answer(self, ctx: Context, node: int) -> Process:
        for number in range(MESSAGES):
            item = yield ctx.recv(node, numbers(ELEMENTS))
            self.got[ctx.rank, node].append(item)
            content = numbers(ELEMENTS, 9000 + 100 * number + node)
            ctx.send(node, content.nbytes, "answer", content)


def routed(name: str) -> Any:
    return "ideal" if name == "ideal" else settings(name, range_m=1500.0, guard_s=5.0)


def talked(name: str, transport: Any = "reliable", **more: Any) -> tuple[SeaNetwork, Log]:
    log = Log()
    return talk(fabric(routed(name), transport, **more), log.says, survives=transport != "reliable", duration_s=6000.0), log


def is_whole(item: Any, first: int) -> bool:
    return not isinstance(item, Torn) and torch.equal(item, numbers(ELEMENTS, first))


@pytest.mark.parametrize("name", ROUTINGS)
def test_reliable_messages_come_whole_once_and_in_order(name: str) -> None:
    net, log = talked(name)
    rows = net.world.ledger.charges()
    conserved(net, rows)
    got = log.got
    assert sum(map(len, got.values())) >= (36 if name != "carp" else 1)  # CARP takes hours to find its ways here
    for (dst, src), items in got.items():
        for number, item in enumerate(items):
            assert is_whole(item, (9000 + 100 * number + dst) if src == 4 else (1000 * src + 100 * number + 1)), (dst, src, number)


@pytest.mark.parametrize("name", ROUTINGS)
def test_best_effort_never_invents_anything(name: str) -> None:
    net, log = talked(name, {"type": "best_effort", "frame_nbytes": 64}, **NOISY)
    rows = net.world.ledger.charges()
    conserved(net, rows)
    assert not (rows.phase == "receipt").any()
    for (_, src), items in log.got.items():
        for number, item in enumerate(items):
            if src != 4:
                correct(item, 1000 * src + 100 * number + 1)
            elif isinstance(item, Torn):
                assert item.missing or not item.nbytes


def correct(item: Any, first: int) -> None:
    """What came is what was sent, element by element; what did not come is named."""
    if not isinstance(item, Torn):
        assert is_whole(item, first)
        return
    true = numbers(ELEMENTS, first)
    there = np.zeros(ELEMENTS, bool)
    for place, piece in item.pieces:
        assert torch.equal(piece, true[place])
        there[place] = True
    missing = np.zeros(4 * ELEMENTS, bool)
    for begin, end in item.missing:
        missing[begin:end] = True
    if item.nbytes:
        assert (missing.reshape(-1, 4).any(axis=1) == ~there).all()


def conserved(net: SeaNetwork, rows: pd.DataFrame) -> None:
    """Packets, messages, bytes on the air and energy all add up."""
    sends = rows[rows.kind == "send"].set_index("packet")
    packets = net.tracker.packets
    assert sorted(sends.index) == [packet.id for packet in packets]
    assert set(sends.outcome) <= {"delivered", "lost", "in_flight"}
    assert all(packet.copies >= 0 for packet in packets)
    mail = net.service.mail  # type: ignore[union-attr]
    messages = rows[rows.kind == "message"]
    assert sorted(messages.packet) == list(range(len(mail._messages)))
    assert set(messages.outcome) <= {"delivered", "lost", "torn", "in_flight"}
    for packet in packets:
        content = sends.nbytes[packet.id]
        if packet.kind == "receipt":
            assert content == RECEIPT_BYTES + 1
        else:
            message = packet.body.messages[0] if isinstance(packet.body, Announcement) else packet.body.message
            begin, end = message.bytes_of(packet.body.place)
            assert content == HEADER_BYTES + end - begin
    air = rows[(rows.kind == "tx") & (rows.packet >= 0) & rows.phase.isin(["data", "receipt"])]
    headers = air.nbytes.to_numpy() - sends.nbytes.loc[air.packet].to_numpy()
    own = HEADERS.get(net.routing.type_name(), set(range(10, 29)))  # the others' depend on what they have to say
    assert set(headers.tolist()) <= {*own, DOWN_BYTES}
    assert (air.phase.to_numpy() == [packets[each].kind for each in air.packet]).all()
    energy_closes(net, rows)


def energy_closes(net: SeaNetwork, rows: pd.DataFrame) -> None:
    """What the battery has lost is what the ledger says, node by node."""
    kinds = ["tx", "rx", "idle", "compute", "store"]
    for node in net.nodes:
        own = rows[(rows.node == node.id) & rows.kind.isin(kinds)]
        assert net.batteries.spent_j(node) == pytest.approx(own.energy_j.sum(), rel=1e-3), node.id


def test_each_fragment_on_an_ideal_link_is_counted_to_the_byte() -> None:
    """One hop, no loss: bytes on the air are fragments times payload and headers, receipts apart."""
    layout = {"positions_m": [(0, 0, 50)], "sink_positions_m": [(100, 0, 0)], "depth_m": 100}

    def says(ctx: Context) -> Process:
        if not ctx.is_server:
            yield ctx.send(1, 1000, "talk", torch.zeros(250))

    net = talk(fabric("ideal", {"type": "reliable", "per_receipt": 1}, layout=layout), says, duration_s=1000.0)
    rows = net.world.ledger.charges()
    data, receipts = (rows[(rows.kind == "tx") & (rows.phase == phase)] for phase in ("data", "receipt"))
    count = -(-1000 // (128 - HEADER_BYTES))
    assert len(data) == len(receipts) == count
    assert data.nbytes.sum() == 1000 + count * (HEADER_BYTES + 12)
    assert receipts.nbytes.sum() == count * (RECEIPT_BYTES + 1 + 12)


def test_the_same_seed_gives_the_same_ledger() -> None:
    first, second = (talked("dbr", **NOISY)[0].world.ledger.charges() for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_traffic_is_what_it_is_without_a_transport() -> None:
    """A program that only sends packets to any sink meets the same sea, and pays the same, whether or not others could say more."""
    from toolkit.core.world import World
    from toolkit.scenario import Scenario

    def ledger(transport: Any) -> pd.DataFrame:
        program = {"type": "poisson", "interval_s": 60.0}
        scenario = Scenario.build(
            {"name": "small", "duration_s": 3000.0, "program": program, "fabric": fabric(settings("dbr"), transport, **NOISY)}
        )
        world = World(1, 3000.0)
        net = scenario.fabric.build(world)
        net.launch(scenario.program)
        world.env.run(until=3000.0)
        net.finish()
        return world.ledger.charges()

    pd.testing.assert_frame_equal(ledger(None), ledger("reliable"))
