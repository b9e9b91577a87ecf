"""Laws of the medium: the speed of sound, half duplex, collisions at the receiver, capture, energy by state."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.acoustic.answer_time import AnswerTime
from toolkit.acoustic.mac.sfama import Sfama
from toolkit.acoustic.packets import Frame
from toolkit.acoustic.phy import kernel as phy
from toolkit.acoustic.prediction.persistence import Persistence
from toolkit.acoustic.routing.dbcar import ACK_BYTES, Dbcar
from toolkit.errors import CausalityError


def test_sound_needs_one_second_for_1500_m(pool) -> None:
    """Check 9 of section 9."""
    sea = pool([(0, 0, 10), (1500, 0, 10)])
    sea.send_at(1.0, 0)
    assert sea.run() == [(0, 1)]
    assert sea.heard[0][0] == pytest.approx(1.0 + 1.0 + 0.04)  # start + distance / c + 50 bytes at 10 kbit/s


def test_a_reply_takes_the_way_twice(pool) -> None:
    """Check 9 of section 9: who answers as soon as he has heard is heard after 2 d/c and both frames, to the last digits."""
    sea = pool([(0, 0, 10), (1050, 0, 10)])
    sea.medium.listen(1, lambda frame, snr_db: sea.medium.transmit(1, Frame("ack", 1, 0, 25)))
    sea.send_at(1.0, 0)
    assert sea.run() == [(1, 0)]
    assert sea.heard[0][0] == pytest.approx(1.0 + 2 * 0.7 + 0.04 + 0.02, abs=1e-12)


def test_timeouts_allow_for_the_way_both_ways(pool) -> None:
    """Check 9 of section 9: of an acknowledgement, and of an answer in slots."""
    modem = pool([(0, 0, 0)]).modem
    routing = Dbcar(prediction=Persistence(), range_m=1500, guard_s=0.1)
    unknown = type("Neighbour", (), {"answers": AnswerTime()})
    assert routing.timeout_s(modem, unknown) == pytest.approx(2.0 + modem.frame_s(ACK_BYTES) + 0.1)
    mac = type("Radio", (), {"airtime_s": lambda self, nbytes: modem.frame_s(nbytes)})()
    assert Sfama(range_m=1500).slot_s(mac) > 1.0 + modem.frame_s(10)


def test_measured_snr_is_the_link_budget(pool) -> None:
    sea = pool([(0, 0, 10), (1000, 0, 10)], noise_db=20.0)
    sea.send_at(0.0, 0)
    sea.run()
    assert sea.heard[0][3] == pytest.approx(136 - 60 - (20 + 40))


def test_hidden_terminals_lose_both_only_when_arrivals_overlap(pool) -> None:
    """A-B-C in a line, A and C out of each other's range: equal distances collide at B, unequal ones do not (check 10 of section 9)."""
    line = [(0, 0, 0), (900, 0, 0), (1800, 0, 0)]
    equal = pool(line, noise_db=26.0)
    assert equal.channel.snr_db[0, 2] < 8.0 < equal.channel.snr_db[0, 1]
    equal.send_at(0.0, 0)
    equal.send_at(0.0, 2)
    assert equal.run() == []
    unequal = pool([(0, 0, 0), (900, 0, 0), (1700, 0, 0)], noise_db=26.0)
    unequal.send_at(0.0, 0)
    unequal.send_at(0.0, 2)  # arrives 67 ms earlier, and is over after 40 ms
    assert unequal.run() == [(2, 1), (0, 1)]


def test_a_node_that_sends_hears_nothing(pool) -> None:
    sea = pool([(0, 0, 0), (150, 0, 0)])
    sea.send_at(0.0, 0)
    sea.send_at(0.12, 1)  # 0's frame is arriving at 1 from 0.1 to 0.14 s
    assert sea.run() == [(1, 0)]
    assert sea.medium.rx_s[1] == pytest.approx(0.02)  # it listened until it began to send


def test_late_and_ten_decibels_stronger_captures(pool) -> None:
    for distance_m, expected in ((100, [(2, 1)]), (500, [])):
        sea = pool([(0, 0, 0), (600, 0, 0), (600 + distance_m, 0, 0)], noise_db=10.0)
        sea.send_at(0.0, 0)  # arrives at 0.4 s
        sea.send_at(0.42 - distance_m / 1500, 2)
        assert [pair for pair in sea.run() if pair[1] == 1] == expected


def test_a_receiver_that_is_taken_over_listens_to_one_frame_at_a_time(pool) -> None:
    """Check 17 of section 9: it pays for the first frame until the second begins, and for that to its end."""
    sea = pool([(0, 0, 0), (600, 0, 0), (700, 0, 0)], noise_db=10.0)
    sea.send_at(0.0, 0)  # arrives at 0.4 s
    sea.send_at(0.42 - 100 / 1500, 2)
    sea.run()
    rows = sea.world.ledger.charges().query("node == 1 and kind == 'rx'")
    assert rows[["t0_s", "dur_s"]].to_numpy() == pytest.approx(np.array([[0.40, 0.02], [0.42, 0.04]]))
    assert rows.outcome.tolist() == ["collision", "delivered"]


def test_who_overhears_pays(pool) -> None:
    """Check 17 of section 9: a frame for one of two neighbours costs both the same."""
    sea = pool([(0, 0, 0), (300, 0, 0), (0, 450, 0)])
    sea.medium.transmit(0, Frame("data", 0, 1, 50))
    sea.run()
    rows = sea.world.ledger.charges().query("kind == 'rx'")
    assert rows.node.tolist() == [1, 2]
    assert rows.energy_j.tolist() == pytest.approx([0.04 * sea.modem.rx_w] * 2)


def test_two_frames_at_once_are_a_bug(pool) -> None:
    sea = pool([(0, 0, 0), (100, 0, 0)])
    sea.medium.transmit(0, Frame("data", 0, -1, 50))
    with pytest.raises(CausalityError):
        sea.medium.transmit(0, Frame("data", 0, -1, 50))


@pytest.mark.parametrize("capture_db", [0, 3, 10])
def test_states_fill_the_run_and_do_not_overlap(pool, capture_db: float) -> None:
    """Check 17 of section 9, where receivers are often taken over, and where they are not."""
    sea = random_traffic(pool, capture_db=capture_db)
    sea.run()
    rows = sea.world.ledger.charges()
    for node in range(8):
        own = rows[rows.node == node]
        assert own.dur_s.sum() == pytest.approx(sea.world.duration_s, abs=1e-6)
        busy = own[own.kind.isin(["tx", "rx"]) & (own.dur_s > 0)].sort_values("t0_s")
        ends = (busy.t0_s + busy.dur_s).to_numpy()
        assert (busy.t0_s.to_numpy()[1:] >= ends[:-1] - 1e-9).all()
        assert own[own.kind == "idle"].dur_s.item() >= 0


def test_energy_is_power_times_time(pool) -> None:
    """Check 17 of section 9: so the same log of events is the same energy."""
    sea = random_traffic(pool)
    sea.run()
    rows = sea.world.ledger.charges()
    power = {"tx": sea.modem.tx_w, "rx": sea.modem.rx_w, "idle": sea.modem.idle_w}
    assert rows.energy_j.to_numpy() == pytest.approx((rows.dur_s * rows.kind.map(power)).to_numpy())


def random_traffic(pool, seed: int = 3, duration_s: float = 60.0, **settings):
    rng = np.random.default_rng(seed)
    sea = pool(rng.uniform(0, 1500, (8, 3)), duration_s=duration_s, noise_db=22.0, seed=seed, **settings)
    for node in range(8):
        times_s = np.cumsum(0.2 + rng.exponential(1.0, 40))
        for t_s in times_s[times_s < duration_s + 0.5]:
            sea.send_at(float(t_s), node, nbytes=int(rng.integers(10, 120)))
    return sea


def test_carrier_sense_hears_only_what_has_arrived(pool) -> None:
    sea = pool([(0, 0, 0), (1500, 0, 0)])
    sea.send_at(0.0, 0)
    sensed = []

    def listen():
        for t_s in (0.02, 0.99, 1.01, 1.03, 1.05):
            yield sea.world.env.timeout(t_s - sea.world.now)
            sensed.append((sea.medium.busy(0), sea.medium.busy(1)))

    sea.world.env.process(listen())
    sea.run()
    assert sensed == [(True, False), (False, False), (False, True), (False, True), (False, False)]


@pytest.mark.parametrize("form", ["plain", "compiled"])
def test_what_a_node_ignores_is_charged_and_not_told(pool, form: str) -> None:
    """Up to the time it said, for that packet alone; a MAC that looks at every frame goes on seeing all."""
    sea = pool([(0, 0, 0), (150, 0, 0), (0, 150, 0)])
    sea.medium.use(phy.PLAIN if form == "plain" else phy.compiled())
    packets = [sea.tracker.create(0, 50) for _ in range(2)]
    for packet in packets:
        sea.tracker.hold(packet)
    sea.medium.intercept(2, lambda frame: False)
    for node in (1, 2):
        sea.medium.ignore(node, packets[0].id, 3.0)
    for t_s, packet in ((1.0, packets[0]), (2.0, packets[1]), (2.5, packets[0]), (3.0, packets[0])):
        def send(t_s=t_s, packet=packet):
            yield sea.world.env.timeout(t_s)
            yield sea.medium.transmit(0, Frame("data", 0, -1, 50, packet=packet))

        sea.world.env.process(send())
    sea.run()
    assert [round(t_s) for t_s, node, _, _ in sea.heard if node == 1] == [2, 3]  # the last was sent at 3 s, and came later
    assert [round(t_s, 1) for t_s, node, _, _ in sea.heard if node == 2] == [1.1, 2.1, 2.6, 3.1]
    rows = sea.world.ledger.charges().query("kind == 'rx' and outcome == 'delivered'")
    assert rows.groupby("node").size().to_dict() == {1: 4, 2: 4}


@pytest.mark.parametrize(("noise_db", "decoded"), [(-100.0, 20), (80.0, 0)])
def test_beyond_its_ends_the_table_of_success_has_its_end_values(pool, noise_db: float, decoded: int) -> None:
    """Far louder than the table knows all is heard; far fainter, with a receiver that locks on it all the same, nothing."""
    sea = pool([(0, 0, 0), (1000, 0, 0)], noise_db=noise_db, duration_s=60.0, modulation="bpsk", detection_snr_db=-90.0)
    assert (sea.channel.snr_db[0, 1] < -30) == (decoded == 0)
    for second in range(20):
        sea.send_at(float(second), 0)
    assert len(sea.run()) == decoded
    rows = sea.world.ledger.charges().query("kind == 'rx'")
    assert len(rows) == 20


@pytest.mark.parametrize(("dst", "reason"), [(-1, "noise"), (1, "noise"), (2, ""), (5, "")])
def test_a_packet_is_lost_where_somebody_should_have_had_it(pool, dst: int, reason: str) -> None:
    """The only receiver in reach decodes nothing: that is why the packet is lost if the frame was for it or for all."""
    sea = pool([(0, 0, 0), (1000, 0, 0), (90_000, 0, 0)], noise_db=66.0, modulation="bpsk", detection_snr_db=-60.0)
    packet = sea.tracker.create(0, 50)

    def send():
        yield sea.medium.transmit(0, Frame("data", 0, dst, 50, packet=packet))

    sea.world.env.process(send())
    sea.run()
    (row,) = sea.world.ledger.charges().query("kind == 'send'").itertuples()
    assert (row.outcome, row.phase) == ("lost", reason)


def test_a_frame_that_nobody_can_hear_is_over_when_it_has_been_sent(pool) -> None:
    """And with it its packet, neither earlier nor later."""
    sea = pool([(0, 0, 0), (90_000, 0, 0)], noise_db=66.0)
    packet = sea.tracker.create(0, 50)

    def send():
        yield sea.world.env.timeout(5.0)
        yield sea.medium.transmit(0, Frame("data", 0, -1, 50, packet=packet))

    sea.world.env.process(send())
    sea.run()
    (row,) = sea.world.ledger.charges().query("kind == 'send'").itertuples()
    assert row.t0_s + row.dur_s == pytest.approx(5.04)
