"""DBCAR: the links it knows, its depth-greedy rule, its retries."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acoustic.routing.conftest import finish, routes, start_traffic
from toolkit.acoustic.phy.modem import Modem
from toolkit.acoustic.phy.modulation import expected_per
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.routing.dbcar import Dbcar
from toolkit.acoustic.routing.neighbours import SILENT, LinkBudget, Neighbour, decode_snr, encode_snr

COLUMN = [(0, 0, 900), (250, 60, 620), (60, 250, 380), (200, 120, 180), (400, 300, 500), (100, 420, 760)]
SINKS = [(120, 120, 0), (350, 250, 0)]


def dbcar(prediction: object = "persistence", **settings: object) -> dict:
    return {"type": "dbcar", "prediction": prediction, "beacon_s": 60.0, "rule": "a", **settings}


def test_feedback_bytes_keep_half_a_decibel() -> None:
    for snr_db in np.arange(-19.7, 100, 0.3):
        assert decode_snr(encode_snr(float(snr_db))) == pytest.approx(snr_db, abs=0.2501)
    assert encode_snr(None) == SILENT
    assert decode_snr(SILENT) is None


def test_success_is_the_expected_one_over_the_forecast() -> None:
    """Check 16 of section 9: the point value at 10 dB would be a loss of 0.002."""
    modem = Modem(bandwidth_hz=4800, rate_bps=4800, modulation="bpsk")
    budget = LinkBudget(modem)
    assert 1 - budget.success(Forecast(10.0, 2.0), 512) == pytest.approx(0.066, abs=0.003)
    assert 1 - budget.success(Forecast(10.0, 0.0), 512) == pytest.approx(0.002, abs=2e-4)
    for mean, std in ((3.0, 1.0), (8.0, 2.0), (12.0, 5.0)):
        assert 1 - budget.success(Forecast(mean, std), 512) == pytest.approx(expected_per(modem.success_table(), mean, std, 512), abs=1e-12)


def test_tries_follow_from_success() -> None:
    spec = Dbcar(prediction="persistence")
    assert [spec.tries_for(p) for p in (0.995, 0.9, 0.7, 0.5, 0.0)] == [1, 2, 4, 4, 4]


def test_rule_a_takes_the_largest_depth_gain_among_good_links(network) -> None:
    """Node 0 has a near good neighbour and a far one; both are good, so the far one is taken; with less power, the near one."""
    places = [(0, 0, 1500), (0, 0, 1200), (0, 0, 700)]
    for level_db, first_hop in ((150, 2), (132, 1)):
        net = network(places, [(0, 0, 0)], dbcar(hold_s=120.0), modem={"profile": "evologics_like", "source_level_db": level_db})
        net.send(0, -1, 64, "data")
        rows = finish(net)
        assert routes(rows)[0][1:] == ((0, 3) if level_db == 150 and net.channel.snr_db[0, 3] > 15 else (0, first_hop))
        assert rows.query("kind == 'send'").outcome.item() == "delivered"


def test_a_sink_in_good_reach_always_wins(network) -> None:
    net = network([(0, 0, 600), (0, 0, 100)], [(0, 0, 0)], dbcar())
    net.send(0, -1, 64, "data")
    assert routes(finish(net)) == [(0, 0, 2)]


def test_a_noisy_receiver_is_avoided_but_heard(network) -> None:
    """Check 15 of section 9: the forward link is judged by the noise at the far end, which only feedback can tell."""
    places = [(0, 0, 800), (-800, 0, 300), (800, 0, 400)]  # node 1 gains more depth, but sits in noise
    noise = [{"type": "surface_noise"},
             {"type": "daily_noise", "hours": [0, 24], "level_db": 70, "position_m": [-800, 0], "reference_m": 20, "spreading": 2}]
    modem = {"profile": "evologics_like", "source_level_db": 145}
    for sources, expected in ((noise[:1], 1), (noise, 2)):
        net = network(places, [(0, 2500, 0)], dbcar(lifetime_s=60.0), modem=modem, sea={"noise": sources})
        net.world.env.run(until=200.0)
        net.send(0, -1, 64, "data")
        rows = finish(net)
        assert routes(rows)[0][2] == expected
        heard = rows.query("kind == 'rx' and node == 0 and peer == 1 and outcome == 'delivered'")
        assert len(heard) > 0


def test_silence_is_remembered(network) -> None:
    """Check 18 of section 9: a neighbour that falls silent leaves censored samples, so the remembered SNR falls."""
    net = network([(0, 0, 600), (0, 0, 300)], [(0, 0, 0)], dbcar(), duration_s=7200.0)
    net.world.env.run(until=300.0)
    neighbour: Neighbour = net.nodes[0].state.neighbours[1]
    before = net.spec.routing.forecast(net.nodes[0], 1, 310.0)
    net.medium.listen(0, lambda frame, snr_db: None)  # node 0 goes deaf
    net.world.env.run(until=7190.0)
    neighbour.reverse.update(net.spec.routing.prediction)
    after = net.spec.routing.prediction.predict(neighbour.reverse.state, 7195.0)
    assert after.mean_db < before.mean_db - 3.0
    assert neighbour.reverse.state.censored.any()


def test_a_neighbour_heard_forwarding_acknowledges(network) -> None:
    """Implicit acks: without explicit ones a packet still gets on, as long as its forwarding is overheard."""
    net = network([(0, 0, 2400), (0, 0, 1300)], [(0, 0, 0)], dbcar(), modem={"profile": "evologics_like", "source_level_db": 140})
    assert net.channel.snr_db[0, 2] < 3.0
    relay = net.nodes[1]
    send_frame = relay.send_frame

    def without_acks(frame):
        if frame.kind == "ack":
            event = net.world.env.event()
            event.succeed(True)
            return event
        return send_frame(frame)

    relay.send_frame = without_acks
    net.send(0, -1, 64, "data")
    rows = finish(net)
    assert routes(rows) == [(0, 0, 1), (0, 1, 2)]


def test_retries_pay_energy_and_end(network) -> None:
    """A packet whose only way is dead is tried, held, and given up for a reason; nothing waits for ever."""
    net = network([(0, 0, 800), (0, 0, 400)], [(0, 0, 0)], dbcar(lifetime_s=200.0, hold_s=20.0), duration_s=900.0)
    for node in (1, 2):
        net.medium.listen(node, lambda frame, snr_db: None)
    net.send(0, -1, 64, "data")
    rows = finish(net)
    sends = rows.query("kind == 'send'")
    assert sends.outcome.item() == "lost"
    assert sends.phase.item() in {"retries", "void"}
    assert len(routes(rows)) > 2


def test_every_prediction_is_charged(network) -> None:
    net = network(COLUMN, SINKS, dbcar({"type": "knn", "window": 6, "k": 3}))
    start_traffic(net)
    rows = finish(net)
    computed = rows.query("kind == 'compute' and phase == 'prediction'")
    assert len(computed) > 20
    assert (computed.flops > 0).all()
    assert computed.energy_j.to_numpy() == pytest.approx((computed.dur_s * net.spec.device.busy_w).to_numpy())
