"""The way down: along the neighbours that packets of a node came up by, by flood where none is known, over the sinks ashore."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.acoustic.transport.conftest import fabric, numbers, talk
from toolkit.acoustic.packets import EVERYBODY
from toolkit.acoustic.routing.way_down import DOWN_BYTES
from toolkit.core.context import Context
from toolkit.core.program import Process

COLUMN = {"layout": {"positions_m": [(0, 0, 2400), (0, 0, 1300)], "sink_positions_m": [(0, 0, 0), (90_000, 0, 0)], "depth_m": 3000}}
"""Node 0 reaches sink 2 through node 1 alone, and sink 3 is far away."""
LEVEL = {"modem": {"profile": "evologics_like", "source_level_db": 140}}
DBR = {"type": "dbr", "range_m": 1500}


def sent(net: Any, kind: str = "data") -> pd.DataFrame:
    rows: pd.DataFrame = net.world.ledger.charges()
    return rows[(rows.kind == "tx") & (rows.phase == kind)]


def hops_down(net: Any) -> set[tuple[int, int]]:
    """Sender and next hop of every frame with the header of the way down, -1 for a flood."""
    rows, content = sent(net), {packet.id: packet.nbytes for packet in net.tracker.packets}
    down = rows[[nbytes - content[packet] == DOWN_BYTES for nbytes, packet in zip(rows.nbytes, rows.packet, strict=True)]]
    return set(zip(down.node, down.peer, strict=True))


def spoken(says: Any, **more: Any) -> Any:
    return talk(fabric(DBR, {"type": "reliable", **more}, **COLUMN, **LEVEL), says, duration_s=600.0)


def test_an_answer_takes_the_way_that_the_question_came() -> None:
    got: list[float] = []

    def says(ctx: Context) -> Process:
        if ctx.rank == 0:
            ctx.send(2, 40, "question", numbers(10))
            got.extend((yield ctx.recv(2, numbers(10))).tolist())
        elif ctx.rank == 2:
            yield ctx.recv(0, numbers(10))
            yield ctx.send(0, 40, "answer", numbers(10, 50))

    net = spoken(says)
    assert got == numbers(10, 50).tolist()
    assert hops_down(net) == {(2, 1), (1, 0)}
    assert net.service._down[2].way_to(0).neighbour == 1
    assert net.service._down[2].way_to(0).hops == 2
    assert net.service._down[1].way_to(0).hops == 1


@pytest.mark.parametrize(("ttl", "arrives"), [(1, False), (2, True)])
def test_where_no_way_is_known_a_packet_is_flooded_so_many_hops(ttl: int, arrives: bool) -> None:
    got: list[Any] = []

    def says(ctx: Context) -> Process:
        if ctx.rank == 2:
            ctx.send(0, 40, "call", numbers(10))
        elif ctx.rank == 0:
            got.append((yield ctx.recv(2, numbers(10))))
        yield ctx.sleep(0.0)

    net = spoken(says, ways={"ttl": ttl}, first_timeout_s=500.0)
    assert bool(got) == arrives
    assert {hop for _, hop in hops_down(net)} == {-1}


def test_sinks_hand_packets_over_ashore_which_costs_nothing_but_time() -> None:
    """Node 0 writes to the sink that is 90 km away: its packets surface at sink 2, and are there 0.1 s later; no sink sends anything."""
    at_s: list[float] = []

    def says(ctx: Context) -> Process:
        if ctx.rank == 1:
            ctx.send(3, 40, "letter", numbers(10))
        elif ctx.rank == 3:
            yield ctx.recv(1, numbers(10))
            at_s.append(ctx.now)
        yield ctx.sleep(0.0)

    net = spoken(says, ways={"shore_s": 7.0})
    rows = sent(net)
    assert set(rows.node) == {1}
    assert at_s[0] == pytest.approx(7.0 + rows.dur_s.iloc[0] + 1300.0 / net.channel.sound_speed_m_s, abs=1e-6)


def test_neighbours_that_hear_each_other_need_no_sink() -> None:
    def says(ctx: Context) -> Process:
        if ctx.rank == 0:
            yield ctx.sleep(100.0)
            ctx.send(1, 40, "word", numbers(10))
        elif ctx.rank == 1:
            ctx.send(2, 40, "hello", numbers(10))  # overheard by node 0, which knows node 1 from then on
            yield ctx.recv(0, numbers(10))

    net = spoken(says)
    assert {hop for hop in hops_down(net) if hop[0] == 0} == {(0, 1)}
    assert set(sent(net)[lambda rows: rows.node == 0].peer) == {1}


def test_what_is_announced_is_sent_once_for_all_who_hear_it() -> None:
    layout = {"positions_m": [(0, 0, 100), (200, 0, 100), (0, 200, 100)], "sink_positions_m": [(0, 0, 0)], "depth_m": 300}
    got: dict[int, Any] = {}

    def says(ctx: Context) -> Process:
        if ctx.is_server:
            yield ctx.announce(range(3), 40, "news", numbers(10))
        else:
            got[ctx.rank] = (yield ctx.recv(3, numbers(10))).tolist()

    mac = {"type": "tdma", "slot_nbytes": 160}  # else the answers, all at once, collide, and it is sent again to whose was lost
    net = talk(fabric(DBR, layout=layout, mac=mac), says, duration_s=300.0)
    assert got == {rank: numbers(10).tolist() for rank in range(3)}
    assert [packet.dst for packet in net.tracker.packets if packet.kind == "data"] == [EVERYBODY]
    assert sent(net).node.tolist() == [3]
    assert len(set(sent(net, "receipt").packet)) == 3
