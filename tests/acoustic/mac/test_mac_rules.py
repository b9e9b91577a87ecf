"""The rules of single MACs, on cases worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from toolkit.acoustic.mac import Mac
from toolkit.acoustic.mac.aloha import Aloha
from toolkit.acoustic.mac.broadcast import Broadcast
from toolkit.acoustic.mac.csma_aloha import CsmaAloha
from toolkit.acoustic.mac.sfama import CONTROL_BYTES, Sfama
from toolkit.acoustic.mac.slotted_aloha import SlottedAloha
from toolkit.acoustic.mac.tdma import Tdma
from toolkit.acoustic.packets import BROADCAST, Frame
from toolkit.errors import ScenarioError
from toolkit.laws.mac import poisson

PAIR = [(0, 0, 10), (750, 0, 10)]  # half a second apart
BYTE_S = 8 / 10_000


def sendings(net) -> list[tuple[int, float, float]]:
    """(node, begin, end) of everything sent, in order of time."""
    rows = net.pool.world.ledger.charges()
    rows = rows[rows.kind == "tx"].sort_values("t0_s")
    return [(int(node), float(t), float(t + d)) for node, t, d in zip(rows.node, rows.t0_s, rows.dur_s, strict=True)]


def test_aloha_without_a_process_is_aloha(cell, monkeypatch) -> None:
    """It serves the queue by calls; the rule, as `run` states it, gives the same run to the row, and tells the same senders the same."""

    def told(part: Aloha) -> tuple:
        net = cell(part, PAIR, duration_s=100.0)
        frames = net.offer(poisson(np.random.default_rng(5), 30.0, 90.0, 2))
        for number, frame in enumerate(frames):
            frame.hops = number
        net.pool.run()
        return net.pool.world.ledger.charges(), [frame.sent.value for frame in frames], [(frame.hops, why) for frame, why in net.drops]

    by_calls = told(Aloha(queue_limit=2))
    monkeypatch.setattr(Aloha, "serve", Mac.serve)
    by_process = told(Aloha(queue_limit=2))
    assert by_calls[0].equals(by_process[0])
    assert by_calls[1:] == by_process[1:]
    assert by_calls[2], "some are dropped"


def test_slotted_aloha_begins_at_slots(cell) -> None:
    net = cell(SlottedAloha(frame_nbytes=50, range_m=1500), PAIR, duration_s=100.0)
    net.offer([(t, Frame("data", i % 2, BROADCAST, 50)) for i, t in enumerate((0.2, 1.7, 9.36, 9.361))])
    net.pool.run()
    assert [begin for _, begin, _ in sendings(net)] == pytest.approx([1.04, 2.08, 9.36, 10.40])


def test_tdma_never_collides_and_uses_the_slot_to_the_full(cell) -> None:
    rng = np.random.default_rng(4)
    places = rng.uniform(0, 800, (6, 3)).tolist()
    net = cell(Tdma(slot_nbytes=250, range_m=1400, queue_limit=1000), places, duration_s=900.0)
    frames = net.offer(poisson(rng, 1.0, 700.0, 6, broadcast=True))
    heard = net.pool.run()
    assert len(heard) == 5 * len(frames) > 3000
    slot_s = 250 * BYTE_S + 1400 / 1500
    per_slot: dict[int, int] = {}
    for node, begin, end in sendings(net):
        slot = int(begin / slot_s + 1e-9)
        assert slot % 6 == node
        assert end <= slot * slot_s + 250 * BYTE_S + 1e-9
        per_slot[slot] = per_slot.get(slot, 0) + 1
    assert max(per_slot.values()) > 1


def test_tdma_reuses_slots(cell) -> None:
    net = cell(Tdma(slots=2, slot_nbytes=50, range_m=1500), [*PAIR, (1500, 0, 10)], duration_s=50.0)
    net.offer([(0.1, Frame("data", node, BROADCAST, 50)) for node in range(3)])
    net.pool.run()
    assert sorted(sendings(net))[0][1] == pytest.approx(2.08)
    assert [begin for node, begin, _ in sendings(net) if node == 1] == pytest.approx([1.04])
    assert [begin for node, begin, _ in sendings(net) if node == 2] == pytest.approx([2.08])


def test_tdma_says_when_a_slot_is_too_small(cell) -> None:
    net = cell(Tdma(slot_nbytes=60), PAIR)
    net.offer([(0.1, Frame("data", 0, 1, 61))])
    with pytest.raises(ScenarioError, match="slot_nbytes: 60 bytes have no room for a data frame of 61 bytes; at least 61"):
        net.pool.run()


def test_the_broadcast_mac_backs_off_and_gives_up(cell) -> None:
    """A neighbour talks for 0.8 s: who comes at its beginning has four looks within 0.3 s and gives up; who comes late gets through."""
    for comes_s, drops in ((1.51, 1), (2.28, 0)):
        net = cell(Broadcast(), PAIR, duration_s=20.0)
        net.offer([(1.0, Frame("data", 0, BROADCAST, 1000)), (comes_s, Frame("data", 1, BROADCAST, 50))])
        net.pool.run()
        assert [reason for _, reason in net.drops] == ["channel_busy"] * drops
        begun = [begin for node, begin, _ in sendings(net) if node == 1]
        assert len(begun) == 1 - drops
        assert all(begin >= 2.3 for begin in begun), "not before the frame that arrives has ended"


def test_csma_aloha_listens_first_and_waits_a_frame_out(cell) -> None:
    net = cell(CsmaAloha(), PAIR, duration_s=30.0)
    net.offer([(1.0, Frame("data", 0, BROADCAST, 1000)), (1.2, Frame("data", 1, BROADCAST, 50))])
    net.pool.run()
    (_, first_s, first_end_s), (node, second_s, _) = sendings(net)
    assert 1.1 <= first_s <= 1.6
    assert node == 1
    if second_s > first_s + 0.5:  # it heard the other one, and listened anew once that was over
        assert first_end_s + 0.5 + 0.1 <= second_s <= first_end_s + 0.5 + 0.6 + 0.02 + 1e-9


def test_csma_aloha_does_not_start_in_chorus(cell) -> None:
    """Seven nodes wait for one long frame to end; a bare sense of the channel would send them all at once."""
    ring = [(0, 0, 10), *[(100 * np.cos(a), 100 * np.sin(a), 10.0) for a in np.linspace(0, 6, 7)]]
    net = cell(CsmaAloha(), ring, duration_s=30.0)
    net.offer([(1.0, Frame("data", 0, BROADCAST, 3000)), *[(2.0, Frame("data", node, 0, 40)) for node in range(1, 8)]])
    heard = net.pool.run()
    assert not net.drops
    assert sum(receiver == 0 for _, receiver in heard) >= 5


def test_an_exchange_takes_the_slots_it_should(cell) -> None:
    """RTS, CTS, data, ACK at the beginnings of slots 1, 2, 3 and 3 + k, with k = ceil((data + way + guard) / slot)."""
    for nbytes, slots in ((50, 2), (10, 1)):
        mac = Sfama(range_m=1500, short_nbytes=0)
        net = cell(mac, PAIR, duration_s=30.0)
        frames = net.offer([(0.3, Frame("data", 0, 1, nbytes))])
        net.pool.run()
        slot_s = CONTROL_BYTES * BYTE_S + 1.0 + 0.005
        assert mac.slot_s(net.interfaces[0]) == pytest.approx(slot_s)
        rows = net.pool.world.ledger.charges().query("kind == 'tx'").sort_values("t0_s")
        assert list(rows.phase) == ["rts", "cts", "data", "mac_ack"]
        assert rows.t0_s.to_numpy()[:3] / slot_s == pytest.approx([1, 2, 3])
        # half a second away, the data have been heard before slot 3 + k; the answer comes at the next slot
        assert rows.t0_s.to_numpy()[3] / slot_s == pytest.approx(4)
        assert frames[0].sent.value
        assert slots == np.ceil((nbytes * BYTE_S + 1.005) / slot_s)


@pytest.mark.parametrize("nbytes", [20, 200])
def test_sfama_gives_up_where_the_floor_does_not_become_free(cell, nbytes: int) -> None:
    """A neighbour talks for 24 s, some 20 slots. Who has patience for fewer sends nothing, with or without asking for the floor first."""
    for patience, given_up in ((3, 1), (60, 0)):
        net = cell(Sfama(patience_slots=patience, short_nbytes=24), PAIR, duration_s=60.0)
        net.offer([(0.5, Frame("data", 0, BROADCAST, 30_000)), (4.0, Frame("data", 1, 0, nbytes))])
        net.pool.run()
        assert [reason for _, reason in net.drops] == ["channel_busy"] * given_up
        begun = [begin for node, begin, _ in sendings(net) if node == 1]
        assert bool(begun) != bool(given_up)
        assert all(begin > 24.0 for begin in begun)


def test_hidden_senders_lose_no_data_under_sfama(cell) -> None:
    """A and C do not hear each other, both send to B: ALOHA loses data to collisions, S-FAMA none, and every frame arrives once."""
    line = [(0, 0, 10), (900, 0, 10), (1800, 0, 10)]
    rng = np.random.default_rng(8)
    times_s = np.cumsum(rng.exponential(12.0, 90))
    lost = {}
    for mac in (Aloha(queue_limit=500), Sfama(queue_limit=500)):
        net = cell(mac, line, duration_s=float(times_s[-1]) + 400.0, noise_db=26.0, detection_snr_db=6.0)
        assert net.pool.channel.snr_db[0, 2] < 6.0
        frames = net.offer([(float(t), Frame("data", int(2 * rng.integers(2)), 1, 3000)) for t in times_s])
        net.pool.run()
        rows = net.pool.world.ledger.charges()
        data = rows[(rows.kind == "rx") & (rows.phase == "data") & (rows.node == 1)]
        lost[type(mac)] = int((data.outcome == "collision").sum())
        if isinstance(mac, Sfama):
            assert all(frame.sent.value for frame in frames)
            arrived = [frame for _, node, frame, _ in net.pool.heard if node == 1 and frame.kind == "data"]
            assert sorted(map(id, arrived)) == sorted(map(id, frames))
            assert not any(frame.kind in {"rts", "cts", "mac_ack"} for _, _, frame, _ in net.pool.heard), "routing sees none of it"
    assert lost[Aloha] > 10
    assert lost[Sfama] == 0


def test_neighbours_keep_silent_during_an_exchange(cell) -> None:
    """Nobody in mutual range sends anything between another pair's CTS and the end of its data, but for its ACK."""
    rng = np.random.default_rng(5)
    net = cell(Sfama(queue_limit=500), rng.uniform(0, 600, (5, 3)).tolist(), duration_s=1500.0)
    net.offer(poisson(rng, 0.08, 1000.0, 5))
    net.pool.run()
    rows = net.pool.world.ledger.charges().query("kind == 'tx'").sort_values("t0_s")
    sent = list(zip(rows.phase, rows.node, rows.peer, rows.t0_s, strict=True))
    data = [(node, peer, t_s) for phase, node, peer, t_s in sent if phase == "data"]
    assert len(data) > 40
    for (phase, node, peer, _), following in itertools.pairwise(sent):
        if phase == "data":
            assert following[0] == "mac_ack"
            assert following[1:3] == (peer, node)


def test_nobody_answers(cell) -> None:
    net = cell(Sfama(attempts=3), PAIR, duration_s=100.0)
    net.pool.world.env.run(until=0.001)  # the MAC has taken its place at the modem; now node 1 goes deaf
    net.pool.medium.listen(1, lambda frame, snr_db: None)
    net.offer([(1.0, Frame("data", 0, 1, 60))])
    net.pool.run()
    assert [reason for _, reason in net.drops] == ["unanswered"]
    assert len(sendings(net)) == 3
