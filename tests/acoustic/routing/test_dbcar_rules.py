"""DBCAR's options: rule C, deferral, no feedback, no retransmission."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acoustic.routing.conftest import finish
from toolkit.acoustic.prediction import Forecast
from toolkit.acoustic.report import summarise_run
from toolkit.acoustic.routing.dbcar import ACK_BYTES, DATA_BYTES
from toolkit.acoustic.routing.next_hop import Candidate
from toolkit.core.charges import Charges
from toolkit.core.work import Work

FRAME_BYTES = DATA_BYTES + 64


def dbcar(**settings: object) -> dict:
    return {"type": "dbcar", "prediction": "persistence", "beacon_s": 1800.0, "rule": "a", **settings}


def routes(rows) -> list[tuple[int, int]]:
    data = rows[(rows.kind == "tx") & (rows.phase == "data")]
    return list(zip(data.node, data.peer, strict=True))


def foresee(net, node: int, snr_db: Callable[[int, float], float]) -> None:
    """Let a node expect of its link to a neighbour, both ways, what *snr_db* (neighbour, time) says."""
    monitor = net.nodes[node].state.monitor
    monitor.forward = monitor.reverse = lambda neighbour, at_s: (Forecast(snr_db(neighbour.id, at_s), 0.0), Work())


def level_of(net, success: float) -> float:
    """The SNR in dB at which data and acknowledgement get through with this probability."""
    budget = net.nodes[0].state.monitor.budget
    low_db, high_db = -10.0, 30.0
    for _ in range(60):
        middle_db = (low_db + high_db) / 2
        forecast = Forecast(middle_db, 0.0)
        found = budget.success(forecast, 8 * FRAME_BYTES) * budget.success(forecast, 8 * ACK_BYTES)
        low_db, high_db = (middle_db, high_db) if found < success else (low_db, middle_db)
    return low_db


# Rule C

PLACES = [(0, 0, 1000), (0, 0, 900), (0, 0, 600), (900, 0, 580)]
FAR_SINK = [(0, 9000, 0)]


@pytest.mark.parametrize(
    ("rule", "successes", "chosen"),
    [
        ("a", {1: 0.99, 2: 0.85, 3: 0.85}, 3),  # the largest gain among those above 0.8
        ("a", {1: 0.99, 2: 0.75, 3: 0.6}, 1),  # none but node 1 is above
        ("a", {1: 0.3, 2: 0.7, 3: 0.6}, 2),  # none is: gain p is 30, 280, 252
        ("c_energy", {1: 0.99, 2: 0.75, 3: 0.6}, 2),  # gain p is 99, 300, 252, whatever p_min
        ("c_energy", {1: 0.99, 2: 0.3, 3: 0.6}, 3),
        ("c_delay", {1: 0.9, 2: 0.9, 3: 0.9}, 2),  # node 3 gains 20 m more, but is twice as far away
        ("c_delay", {1: 0.9, 2: 0.25, 3: 0.9}, 3),
    ],
)
def test_next_hops_by_rule(network, rule: str, successes: dict, chosen: int) -> None:
    net = network(PLACES, FAR_SINK, dbcar(rule=rule))
    levels = {other: level_of(net, success) for other, success in successes.items()}
    foresee(net, 0, lambda other, at_s: levels[other])
    net.nodes[0].state.neighbours[2].answers.mean_s, net.nodes[0].state.neighbours[3].answers.mean_s = 0.6, 1.35
    net.send(0, -1, 64, "data")
    assert routes(finish(net))[0] == (0, chosen)


def test_the_price_of_a_hop_under_rule_c(network) -> None:
    """T_hop ETX / gain: a frame, there and back, an acknowledgement and the guard; or the energy that both ends spend."""
    for rule in ("c_delay", "c_energy"):
        net = network(PLACES, FAR_SINK, dbcar(rule=rule, guard_s=0.1))
        router, modem = net.nodes[0].state, net.nodes[0].modem
        neighbour = router.neighbours[2]
        hop = Candidate(neighbour, 0.8)
        data_s, ack_s = (modem.preamble_s + 8 * nbytes / modem.rate_bps for nbytes in (FRAME_BYTES, ACK_BYTES))
        if rule == "c_energy":
            assert router.rules.cost(hop) == pytest.approx((data_s + ack_s) * (modem.tx_w + modem.rx_w) / 0.8 / 400)
            continue
        assert router.rules.cost(hop) == pytest.approx((data_s + ack_s + 2 * 1500 / 1500 + 0.1) / 0.8 / 400)
        neighbour.answers.mean_s = 0.7  # measured, it takes the place of the nominal range
        assert router.rules.cost(hop) == pytest.approx((data_s + 0.7 + 0.1) / 0.8 / 400)


def test_a_void_is_where_every_candidate_is_below(network) -> None:
    """Rule B takes the largest expected advance, although that candidate alone would be below `p_void`."""
    places = [(0, 0, 1000), (0, 0, 960), (0, 0, 300)]
    net = network(places, FAR_SINK, dbcar())
    levels = {1: level_of(net, 0.5), 2: level_of(net, 0.15)}  # gain p is 20 against 105
    foresee(net, 0, lambda other, at_s: levels[other])
    net.send(0, -1, 64, "data")
    assert routes(finish(net))[0] == (0, 2)
    net = network(places, FAR_SINK, dbcar(hold_s=200.0, void="hold", last_try=False))
    levels = {1: level_of(net, 0.1), 2: level_of(net, 0.15)}
    foresee(net, 0, lambda other, at_s: levels[other])
    net.send(0, -1, 64, "data")
    assert routes(finish(net)) == []


# Deferral


def deferred(network, snr_db: Callable[[object, float], float], *, duration_s: float = 3600.0, **settings: object):
    """One node under a sink that hears it perfectly, and a packet at t = 0; return (rows, metrics)."""
    net = network([(0, 0, 500)], [(0, 0, 0)], dbcar(lifetime_s=20_000.0, **settings), duration_s=duration_s)
    foresee(net, 0, lambda other, at_s: snr_db(net, at_s))
    net.send(0, -1, 64, "data")
    return finish(net), net.world.ledger.metrics()


def poor_until(t_s: float) -> Callable[[object, float], float]:
    return lambda net, at_s: level_of(net, 0.5) if at_s < t_s else 30.0


@pytest.mark.parametrize(("defer_s", "begin_s", "end_s"), [(0.0, 0.0, 0.0), (1800.0, 900.0, 1200.0), (600.0, 0.0, 0.0)])
def test_a_packet_waits_for_a_better_channel_if_one_is_foreseen_in_time(network, defer_s: float, begin_s: float, end_s: float) -> None:
    """From 1000 s on the channel is foreseen to be good. Who may wait so long does; who may not sends at once (rule B)."""
    rows, _ = deferred(network, poor_until(1000.0), defer_s=defer_s)
    sends = rows[rows.kind == "send"]
    assert sends.outcome.item() == "delivered"
    sent_s = rows[(rows.kind == "tx") & (rows.phase == "data")].t0_s.iloc[0]
    assert begin_s <= sent_s <= end_s
    assert sends.dur_s.item() >= sent_s, "waiting is part of the delay"


def test_waiting_ends(network) -> None:
    """A better channel that is always five minutes away is waited for no longer than `defer_s` in all."""
    seen: list[float] = []

    def mirage(net, at_s: float) -> float:
        now = net.world.now
        seen.append(now)
        return 30.0 if at_s > now + 200.0 else level_of(net, 0.5)

    rows, _ = deferred(network, mirage, defer_s=1000.0, way_up_p=0.0)  # beacons forecast nothing
    assert rows[rows.kind == "send"].outcome.item() == "delivered"
    assert rows[(rows.kind == "tx") & (rows.phase == "data")].t0_s.iloc[0] == pytest.approx(900.0)
    assert sorted(set(seen)) == [0.0, 300.0, 600.0, 900.0]


@pytest.mark.parametrize("lifetime_s", [20_000.0, 500.0])
def test_what_is_held_at_the_end_was_not_delivered(network, lifetime_s: float) -> None:
    """Check 19 of section 9: packets that wait when the run ends count as generated, and neither as delivered nor as lost."""
    net = network([(0, 0, 500)], [(0, 0, 0)], dbcar(lifetime_s=lifetime_s, defer_s=1800.0), duration_s=1500.0)
    foresee(net, 0, lambda other, at_s: level_of(net, 0.5) if at_s < 1700.0 else 30.0)
    for _ in range(3):
        net.send(0, -1, 64, "data")
    found = {name: value for name, _, value in summarise_run(Charges(rest=[finish(net)]), net.world.ledger.metrics(), 1500.0, 300.0)}
    if lifetime_s < 1500.0:  # such a packet may not wait so long, and is sent at once
        assert found["delivery_ratio"] == 1.0
    else:
        assert (found["generated"], found["delivered"], found["in_flight"], found["delivery_ratio"]) == (3.0, 0.0, 3.0, 0.0)


def test_a_good_neighbour_now_is_not_waited_for(network) -> None:
    rows, _ = deferred(network, lambda net, at_s: level_of(net, 0.9), defer_s=1800.0)
    assert rows[(rows.kind == "tx") & (rows.phase == "data")].t0_s.iloc[0] == pytest.approx(0.0)


# No feedback, no retransmission


def test_without_feedback_a_noisy_receiver_is_not_known(network) -> None:
    """The scene of check 15: what node 0 hears of node 1 says nothing of the noise there."""
    noise = [{"type": "surface_noise"},
             {"type": "daily_noise", "hours": [0, 24], "level_db": 70, "position_m": [-800, 0], "reference_m": 20, "spreading": 2}]
    modem = {"profile": "evologics_like", "source_level_db": 145}
    for feedback, expected in ((True, 2), (False, 1)):
        routing = dbcar(lifetime_s=60.0, feedback=feedback, beacon_s=60.0)
        net = network([(0, 0, 800), (-800, 0, 300), (800, 0, 400)], [(0, 2500, 0)], routing, modem=modem, sea={"noise": noise})
        net.world.env.run(until=200.0)
        net.send(0, -1, 64, "data")
        assert routes(finish(net))[0] == (0, expected)


@pytest.mark.parametrize("feedback", [True, False])
def test_a_silent_neighbour_is_marked_down_on_the_link_that_counts(network, feedback: bool) -> None:
    net = network([(0, 0, 500)], [(0, 0, 0)], dbcar(feedback=feedback, beacon_s=36_000.0), duration_s=100.0)
    net.medium.listen(1, lambda frame, snr_db: None)
    net.send(0, -1, 64, "data")
    net.world.env.run(until=40.0)
    neighbour = net.nodes[0].state.neighbours[1]
    link, other = (neighbour.forward, neighbour.reverse) if feedback else (neighbour.reverse, neighbour.forward)
    assert any(sample[2] for sample in link._pending)
    assert not any(sample[2] for sample in other._pending)
    assert neighbour.blacklist_until_s > 0


def test_without_retransmission_there_is_one_frame(network) -> None:
    net = network([(0, 0, 800), (0, 0, 400)], [(0, 0, 0)], dbcar(tries=1, offers=1), duration_s=900.0)
    for node in (1, 2):
        net.medium.listen(node, lambda frame, snr_db: None)
    net.send(0, -1, 64, "data")
    rows = finish(net)
    assert len(routes(rows)) == 1
    assert rows[rows.kind == "send"].phase.item() == "retries"
